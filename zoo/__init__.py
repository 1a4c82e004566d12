"""The zoo: whole systems, that is networks, released weights, objectives, data and training.

The public front door:

    import zoo
    zoo.list_models("videomae_*")
    model = zoo.create_model("videomae_base", num_classes=10, img_size=112)
    print(zoo.load_checkpoint(model, "videomae_base_k400.pth"))

Names are looked up when they are first used, so that `import zoo` costs nothing by itself.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.card import Architecture, Card, Classifier, ClipSpec
    from zoo.checkpoints import load_checkpoint, save_checkpoint
    from zoo.load_report import LoadReport
    from zoo.model import VideoModel
    from zoo.registry import (
        create_backbone,
        create_model,
        get_architecture,
        get_card,
        is_model,
        list_models,
        list_pretrained,
        register,
    )
    from zoo.tokenizers import create_tokenizer, list_tokenizers, load_tokenizer, save_tokenizer
    from zoo.weight_files import CheckpointError

__all__ = [
    "Architecture",
    "Card",
    "CheckpointError",
    "Classifier",
    "ClipSpec",
    "LoadReport",
    "VideoModel",
    "create_backbone",
    "create_model",
    "create_tokenizer",
    "get_architecture",
    "get_card",
    "is_model",
    "list_models",
    "list_pretrained",
    "list_tokenizers",
    "load_checkpoint",
    "load_tokenizer",
    "register",
    "save_checkpoint",
    "save_tokenizer",
]
_HOMES = {
    "zoo.card": ("Architecture", "Card", "Classifier", "ClipSpec"),
    "zoo.checkpoints": ("load_checkpoint", "save_checkpoint"),
    "zoo.load_report": ("LoadReport",),
    "zoo.model": ("VideoModel",),
    "zoo.registry": (
        "create_backbone",
        "create_model",
        "get_architecture",
        "get_card",
        "is_model",
        "list_models",
        "list_pretrained",
        "register",
    ),
    "zoo.tokenizers": ("create_tokenizer", "list_tokenizers", "load_tokenizer", "save_tokenizer"),
    "zoo.weight_files": ("CheckpointError",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
