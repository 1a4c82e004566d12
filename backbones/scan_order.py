"""Orders in which the blocks of a state space model read the tokens of a clip.

Li et al., "VideoMamba" (arXiv 2403.06977), Figure 7a, compare them on Something-Something V2 with the tiny model (top-1
in %): spatial-first 65.1, temporal-first 62.4, spatiotemporal v1 63.9 and v2 64.2, first half of the layers spatial and
the second temporal 64.0, the reverse 64.1, alternating layers 65.1. Code and weights exist for the first one only; of
the others the authors say that they permute the token axis (OpenGVLab/VideoMamba, issues 63, 80, 92 and 105). What
follows is our reading of the figure.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from backbones.contract import Grid
from backbones.tokens import take

SPATIAL, TEMPORAL = False, True
SCAN_ORDERS = (
    "spatial",
    "temporal",
    "spatiotemporal_v1",
    "spatiotemporal_v2",
    "spatial_then_temporal",
    "temporal_then_spatial",
    "alternating",
)
# How a mixer uses a second order, see `backbones.mamba_mixer.MambaMixer`.
SECOND_ORDER = {"spatiotemporal_v1": "backward", "spatiotemporal_v2": "both"}


class Reordering(NamedTuple):
    """A permutation of the token axis and its inverse.

    Attributes:
        there: place, in the old order, of each token in the new one; a row per sample where samples differ.
        back: the inverse.
    """

    there: Int64[Tensor, "*batch length"]
    back: Int64[Tensor, "*batch length"]

    def apply(self, x: Shaped[Tensor, "batch length dim"]) -> Shaped[Tensor, "batch length dim"]:
        """Tokens in the new order."""
        return _permute(x, self.there)

    def undo(self, x: Shaped[Tensor, "batch length dim"]) -> Shaped[Tensor, "batch length dim"]:
        """Tokens in the old order again."""
        return _permute(x, self.back)


def _permute(x: Tensor, order: Tensor) -> Tensor:
    return x.index_select(1, order) if order.ndim == 1 else take(x, order)


def temporal_first(
    grid: Grid, keep: Int64[Tensor, "batch kept"] | None, num_prefix: int, *, device: torch.device
) -> Reordering:
    """From raster order to position by position, the frames of a position one after the other; prefix tokens stay.

    Args:
        grid: grid of the whole clip.
        keep: raster indices of the tokens in the sequence; None for all.
        num_prefix: tokens in front of the patch tokens.
        device: where the indices are needed.
    """
    area = grid.height * grid.width
    raster = torch.arange(grid.num_tokens, device=device) if keep is None else keep
    there = (raster % area * grid.time + raster // area).argsort(dim=-1)
    prefix = torch.arange(num_prefix, device=device).expand(*there.shape[:-1], -1)
    there = torch.cat([prefix, there + num_prefix], -1)
    return Reordering(there, there.argsort(dim=-1))


def order_of_blocks(scan_order: str, depth: int) -> list[bool]:
    """Which blocks get their tokens in temporal order (`TEMPORAL`); the halves of an odd depth differ by one block.

    Args:
        scan_order: one of `SCAN_ORDERS`.
        depth: number of blocks.

    Raises:
        ValueError: for an unknown order.
    """
    half = depth // 2
    if scan_order not in SCAN_ORDERS:
        raise ValueError(f"unknown scan_order {scan_order!r}; choose from {SCAN_ORDERS}")
    if scan_order == "spatial_then_temporal":
        return [SPATIAL] * half + [TEMPORAL] * (depth - half)
    if scan_order == "temporal_then_spatial":
        return [TEMPORAL] * half + [SPATIAL] * (depth - half)
    if scan_order == "alternating":
        return [bool(index % 2) for index in range(depth)]
    return [scan_order == "temporal"] * depth
