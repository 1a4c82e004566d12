"""Changes of shape that loading makes when asked: image kernels to video kernels, position tables to other clips."""

import math
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from backbones.positions import resize_spatial_table, resize_temporal_table

Inflation = Literal["center", "mean"]


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
