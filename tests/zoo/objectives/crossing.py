"""Small members of every kind of backbone, and every objective around any of them."""

from collections.abc import Callable

import torch

from backbones.contract import Backbone
from backbones.frames import FrameTeacher
from backbones.layers import Flavor
from zoo.batch import Batch
from zoo.decoder_masks import Budget, DecoderMasking
from zoo.objectives.contract import Objective
from zoo.objectives.lvmae import lvmae_for
from zoo.objectives.mae import mae_for
from zoo.objectives.matrix import mask_for
from zoo.objectives.self_distillation import self_distillation_for
from zoo.objectives.umt import umt_for
from zoo.objectives.vjepa import PredictorForm, vjepa_for
from zoo.registry import create_backbone
from zoo.tokenizers import create_tokenizer

SIDE, FRAMES, CLASSES = 16, 4, 3
SIZE = {"img_size": SIDE, "num_frames": FRAMES, "embed_dim": 32, "depth": 2}
# The columns of the cross table: our four trunks, and one network of each library that is adapted.
BACKBONES = (
    "vit_pico",
    "videomamba_pico",
    "timesformer_pico",
    "timesformer_joint_pico",
    "hf_videomae_pico",
    "timm_vit_pico",
)


def student(name: str, **options: object) -> Backbone:
    """A small member with weights from seed 0."""
    torch.manual_seed(0)
    return create_backbone(name, **{**SIZE, **options})


def still_teacher() -> FrameTeacher:
    torch.manual_seed(1)
    still = create_backbone("vit_still_pico", img_size=SIDE, embed_dim=16, depth=2)
    return FrameTeacher(still, num_layers=2)


def mae(backbone: Backbone, name: str) -> Objective:
    return mae_for(backbone, SIDE, FRAMES, mask_ratio=0.5, decoder_dim=16, decoder_depth=1, decoder_heads=2)


def lvmae(backbone: Backbone, name: str) -> Objective:
    tokenizer = create_tokenizer("lvmae_tokenizer_tiny", channels=4, time_strides=strides(backbone), keep_tokens=6)
    decoder = {"width": 16, "depth": 1, "num_heads": 2}
    masking = DecoderMasking(budget=Budget(total=0.8))
    return lvmae_for(backbone, tokenizer, SIDE, FRAMES, mask_ratio=0.5, masking=masking, decoder=decoder)


def strides(backbone: Backbone) -> tuple[int, ...]:
    """Steps in time of a tokenizer with one code per token."""
    return (1, 1, backbone.tubelet[0])


def umt(backbone: Backbone, name: str) -> Objective:
    mask = mask_for(backbone, "attention")
    return umt_for(backbone, still_teacher(), SIDE, FRAMES, mask=mask, mask_ratio=0.5)


def vjepa(backbone: Backbone, name: str) -> Objective:
    truncation = mask_for(backbone, "first")
    return vjepa_for(
        backbone,
        SIDE,
        FRAMES,
        steps=20,
        truncation=truncation,
        predictor=PredictorForm(width=16, depth=1, num_heads=2, flavor=Flavor(positions="vjepa", qkv_bias="qkv")),
    )


def self_distillation(backbone: Backbone, name: str) -> Objective:
    smaller = student(name, embed_dim=16)
    torch.manual_seed(2)
    return self_distillation_for(backbone, smaller, num_classes=CLASSES)


MAKERS: dict[str, Callable[[Backbone, str], Objective]] = {
    "mae": mae,
    "lvmae": lvmae,
    "umt": umt,
    "vjepa": vjepa,
    "self_distillation": self_distillation,
}


def objective(name: str, backbone: str, **options: object) -> Objective:
    """An objective around a small member."""
    made = student(backbone, **options)
    torch.manual_seed(3)
    return MAKERS[name](made, backbone)


def batch(count: int = 4) -> Batch:
    """Clips with something to learn: one pattern per class, drifting, with noise."""
    generator = torch.Generator().manual_seed(4)
    label = torch.arange(count) % CLASSES
    pattern = torch.randn(CLASSES, 3, 1, SIDE, SIDE, generator=generator)[label]
    drift = torch.cat([pattern.roll(step, dims=4) for step in range(FRAMES)], dim=2)
    return Batch(drift + 0.3 * torch.randn(drift.shape, generator=generator), label, torch.arange(count))
