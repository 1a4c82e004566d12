"""Changes of shape that loading makes when asked: image kernels to video kernels, position tables to other clips."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from backbones.positions import resize_spatial_table, resize_temporal_table

Inflation = Literal["center", "mean"]


def as_inflation(value: str | None) -> Inflation | None:
    """The way to inflate that a caller names.

    Raises:
        ValueError: when there is none of that name.
    """
    known: dict[str | None, Inflation | None] = {"center": "center", "mean": "mean", None: None}
    if value not in known:
        raise ValueError(f"unknown way to inflate {value!r}; choose 'center', 'mean' or None")
    return known[value]


def inflate_kernel(
    kernel: Float[Tensor, "dim channels 1 height width"], frames: int, mode: Inflation
) -> Float[Tensor, "dim channels frames height width"]:
    """An image kernel as a kernel over `frames` frames.

    "center" puts it at frame `frames // 2` of a kernel of zeros, "mean" spreads it evenly, so that a still clip gives
    what the image gave. VideoMamba starts from ImageNet weights with "center" (OpenGVLab/VideoMamba, video_sm).

    Raises:
        ValueError: for an unknown mode.
    """
    if mode == "mean":
        return kernel.expand(-1, -1, frames, -1, -1) / frames
    if mode != "center":
        raise ValueError(f"unknown inflation {mode!r}; choose 'center' or 'mean'")
    inflated = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[3:])
    inflated[:, :, frames // 2] = kernel[:, :, 0]
    return inflated


def resize_positions(name: str, table: Float[Tensor, "1 old dim"], positions: int) -> Float[Tensor, "1 new dim"]:
    """A learned table for another grid: `temporal_pos_embed` linearly, `pos_embed` bicubically between squares.

    The file does not say the height and width of its grid; the authors' loaders take square roots too.

    Raises:
        ValueError: when a spatial table is not for a square grid.
    """
    if name.endswith("temporal_pos_embed"):
        return resize_temporal_table(table, positions)
    old, new = math.isqrt(table.shape[1]), math.isqrt(positions)
    if (old * old, new * new) != (table.shape[1], positions):
        raise ValueError(f"cannot resize {name} from {table.shape[1]} to {positions} positions: not both are squares")
    return resize_spatial_table(table, (old, old), (new, new))


def select_classes(state: Mapping[str, Tensor], classes: Sequence[int]) -> dict[str, Tensor]:
    """The tensors with only these rows of the classifier, in this order.

    UMT and VideoMamba start from classifiers of K710, the union of three data sets: `range(400)` are the rows of
    Kinetics-400; those of Kinetics-600 and 700 are listed in the authors' label_mixto600.json and label_mixto700.json
    (OpenGVLab/unmasked_teacher single_modality run_class_finetuning.py).

    Args:
        state: tensors under our names.
        classes: rows to take.

    Raises:
        ValueError: when there is no classifier, or a row does not exist.
    """
    names = [name for name in state if name.startswith("head.linear.")]
    if not names:
        raise ValueError("classes were chosen, but there is no classifier to choose from")
    rows = min(len(state[name]) for name in names)
    if wrong := [index for index in classes if not isinstance(index, int)]:
        raise ValueError(f"classes are numbers of rows, not {wrong[0]!r}")
    if wrong := [index for index in classes if not 0 <= index < rows]:
        raise ValueError(f"there is no class {wrong[0]} in a classifier of {rows} classes (0 to {rows - 1})")
    picked = torch.tensor(list(classes), dtype=torch.int64)
    return {name: it[picked.to(it.device)] if name in names else it for name, it in state.items()}
