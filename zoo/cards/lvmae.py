"""LVMAE (arXiv 2411.13683): architectures and pretraining decoders. No code and no weights were ever released.

The paper's text says: a plain joint-attention ViT as VideoMAE has it, tubelets of 2 x 16 x 16 px, 128 frames of 224 px,
a decoder of 4 blocks. Its Table 11 with the widths could not be read; those of the decoders below are VideoMAE's.
"""

from collections.abc import Mapping
from typing import Any

from backbones import vit
from zoo.card import Architecture, Card, Classifier, ClipSpec
from zoo.cards.vit import MEAN_POOL, SHRINK

# As arguments of `heads.masked_decoder.MaskedDecoder` and of `zoo.objectives.lvmae.lvmae_for`.
DECODERS: Mapping[str, Mapping[str, Any]] = {
    "lvmae_small": {"width": 192, "depth": 4, "num_heads": 3},
    "lvmae_base": {"width": 384, "depth": 4, "num_heads": 6},
    "lvmae_large": {"width": 512, "depth": 4, "num_heads": 8},
}
# Frames side by side are our choice: the strides stand in the table that could not be read. Evaluated with one crop.
CLIP = ClipSpec(num_frames=128, sampling="dense", img_size=224)
# The paper's L has one class-attention layer in place of mean pooling; ours is a query's cross-attention with its MLP.
CLASS_ATTENTION = Classifier(pool="mean", kind="attentive", num_heads=16)
_NOTES = (
    "the authors released neither code nor weights: what is trained here is no LVMAE checkpoint",
    "frame stride and widths of the decoder stand in tables that could not be read; VideoMAE's are used",
)


def _lvmae(name: str, parameters: int, classifier: Classifier, *notes: str) -> Architecture:
    return Architecture(
        name=name,
        family="lvmae",
        build=getattr(vit, name),
        parameters=parameters,
        clip=CLIP,
        classifier=classifier,
        objective="lvmae",
        source="arXiv 2411.13683",
        shrink=SHRINK,
        notes=(*_NOTES, *notes),
    )


ARCHITECTURES = (
    _lvmae("lvmae_small", 21_879_168, MEAN_POOL),
    _lvmae("lvmae_base", 86_225_664, MEAN_POOL),
    _lvmae("lvmae_large", 303_860_736, CLASS_ATTENTION, "classified by one layer of class attention"),
)
CARDS: tuple[Card, ...] = ()
