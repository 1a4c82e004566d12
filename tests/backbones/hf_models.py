"""Tiny networks of transformers, with weights that are not trivial."""

from typing import Any

import torch
import transformers as hf

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
CLIPS = {"image_size": 16, "num_frames": 4, "patch_size": 8}
KINDS = ("vjepa2", "timesformer", "vivit", "clip_vision_model", "dinov2", "videomae")
# Rotary positions over three axes need heads of a width that three divides into even parts.
_VJEPA2 = {
    **SMALL, "hidden_size": 48, "patch_size": 8, "crop_size": 16, "frames_per_clip": 4, "pred_hidden_size": 24,
    "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "num_pooler_layers": 1, "mlp_ratio": 2.0,
}  # fmt: skip
_CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "vjepa2": (hf.VJEPA2Config, _VJEPA2),
    "timesformer": (hf.TimesformerConfig, {**SMALL, **CLIPS}),
    "vivit": (hf.VivitConfig, {**SMALL, **CLIPS, "tubelet_size": [2, 8, 8]}),
    "clip_vision_model": (hf.CLIPVisionConfig, {**SMALL, "image_size": 16, "patch_size": 8}),
    "dinov2": (hf.Dinov2Config, {**SMALL, "image_size": 16, "patch_size": 8, "mlp_ratio": 2}),
    "videomae": (hf.VideoMAEConfig, {**SMALL, **CLIPS, "use_mean_pooling": False}),
}


def config(kind: str, **changes: Any) -> Any:
    """A tiny configuration."""
    build, sizes = _CONFIGS[kind]
    return build(**{**sizes, **changes})


def roughened(model: torch.nn.Module) -> Any:
    """The model in evaluation mode with the same weights in every call, none of them zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            about = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(about + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def model(kind: str, **changes: Any) -> Any:
    """A tiny network."""
    made = hf.CLIPVisionModel if kind == "clip_vision_model" else hf.AutoModel.from_config
    return roughened(made(config(kind, **changes)))


def classifier(kind: str, labels: list[str], **changes: Any) -> Any:
    """A tiny network with a linear classifier."""
    names = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": {}}
    return roughened(hf.AutoModelForVideoClassification.from_config(config(kind, **names, **changes)))
