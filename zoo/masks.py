"""Which tokens stay visible. Every mask is `keep`: raster indices, ascending, equally many for each sample.

The mask ratio is the fraction dropped. How the count is rounded is part of each method's protocol and stated here.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from backbones.contract import Grid


def tube(grid: Grid, ratio: float, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch kept"]:
    """VideoMAE's tube mask: one random spatial mask per clip, repeated over time.

    int(ratio * height * width) positions of each frame are dropped (MCG-NJU/VideoMAE masking_generator.py): 176 of 196
    at ratio 0.9, so that 20 x 8 = 160 of 1568 tokens stay.

    Raises:
        ValueError: when nothing would stay visible, or nothing would be masked.
    """
    area = grid.height * grid.width
    num_keep = _checked(area - int(ratio * area), area, ratio)
    spatial = keep_smallest(torch.rand(batch, area, generator=generator), num_keep)
    return over_time(spatial, grid)


def random(
    grid: Grid, ratio: float, batch: int, generator: torch.Generator, *, rounding: Literal["keep", "drop"] = "keep"
) -> Int64[Tensor, "batch kept"]:
    """mae_st's space-time agnostic mask: any tokens of the clip.

    Args:
        grid: token counts of the clips.
        ratio: fraction dropped.
        batch: number of clips.
        generator: source of the draw.
        rounding: "keep" keeps int(N * (1 - ratio)) tokens (facebookresearch/mae_st models_mae.py, random_masking);
            "drop" drops int(ratio * N), the rounding of VideoMAE's and UMT's generators.

    Raises:
        ValueError: when nothing would stay visible, or nothing would be masked.
    """
    total = grid.num_tokens
    num_keep = int(total * (1 - ratio)) if rounding == "keep" else total - int(ratio * total)
    return keep_smallest(torch.rand(batch, total, generator=generator), _checked(num_keep, total, ratio))


def keep_smallest(noise: Float[Tensor, "batch tokens"], num_keep: int) -> Int64[Tensor, "batch kept"]:
    """Indices of the `num_keep` smallest values of each row, ascending: a mask replayed from its noise."""
    return noise.argsort(dim=1, stable=True)[:, :num_keep].sort(dim=1).values


def over_time(spatial: Int64[Tensor, "batch positions"], grid: Grid) -> Int64[Tensor, "batch kept"]:
    """The same positions of a frame, at every time."""
    starts = torch.arange(grid.time, device=spatial.device) * (grid.height * grid.width)
    return (starts[:, None] + spatial[:, None]).flatten(1)


def from_dropped(dropped: Bool[Tensor, "batch tokens"]) -> Int64[Tensor, "batch kept"]:
    """From the authors' boolean masks, where True is dropped.

    Raises:
        ValueError: when the samples do not keep equally many tokens.
    """
    counts = dropped.logical_not().sum(1)
    if counts.min() != counts.max():
        raise ValueError(f"samples keep different numbers of tokens: {counts.tolist()}; they must be equal")
    return keep_smallest(dropped.float(), int(counts[0]))


def _checked(num_keep: int, total: int, ratio: float) -> int:
    if not 0 < num_keep < total:
        raise ValueError(f"a mask ratio of {ratio} keeps {num_keep} of {total} positions; keep some and drop some")
    return num_keep
