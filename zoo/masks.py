"""Which tokens stay visible. Every mask is `keep`: raster indices, ascending, equally many for each sample.

The mask ratio is the fraction dropped. How the count is rounded is part of each method's protocol and stated here.

| here | option of UMT's and VideoMamba's code | name in the VideoMamba paper |
|---|---|---|
| `tube` | `tube` | tube |
| `random` with rounding="drop" | `random` | random |
| `frame_row` | `tube_row` | frame-row |
| `clip_row` | `random_row` | clip-row |
| `attention` | `attention` | attention; "semantic" in the UMT paper |
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


def frame_row(grid: Grid, ratio: float, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch kept"]:
    """VideoMamba's frame-row mask, `tube_row` in its code: whole rows, drawn in every frame independently.

    int(ratio * height) rows of each frame are dropped (OpenGVLab/VideoMamba video_sm, masking_generator.py): 11 of 14
    at ratio 0.8, so that 3 x 14 = 42 tokens of each frame stay.

    Raises:
        ValueError: when nothing would stay visible, or nothing would be masked.
    """
    num_keep = _checked(grid.height - int(ratio * grid.height), grid.height, ratio)
    noise = torch.rand(batch * grid.time, grid.height, generator=generator)
    rows = keep_smallest(noise, num_keep).unflatten(0, (batch, grid.time))
    return _whole_rows((rows + torch.arange(grid.time)[:, None] * grid.height).flatten(1), grid)


def clip_row(grid: Grid, ratio: float, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch kept"]:
    """VideoMamba's clip-row mask, `random_row` in its code: whole rows, drawn from all rows of the clip.

    time * int(ratio * height) of the time * height rows are dropped (OpenGVLab/VideoMamba video_sm,
    masking_generator.py); a frame may lose all of its rows, or none.

    Raises:
        ValueError: when nothing would stay visible, or nothing would be masked.
    """
    num_keep = grid.time * _checked(grid.height - int(ratio * grid.height), grid.height, ratio)
    noise = torch.rand(batch, grid.time * grid.height, generator=generator)
    return _whole_rows(keep_smallest(noise, num_keep), grid)


def attention(
    grid: Grid, ratio: float, saliency: Float[Tensor, "batch time positions"], generator: torch.Generator
) -> Int64[Tensor, "batch kept"]:
    """UMT's semantic mask, `attention` in its code: each frame keeps positions drawn in proportion to its saliency.

    height * width - int(height * width * ratio) positions of each frame stay, drawn without replacement
    (OpenGVLab/unmasked_teacher single_modality engine_for_pretraining_umt.py): 40 of 196 at ratio 0.8.

    Args:
        grid: token counts of the clips.
        ratio: fraction dropped.
        saliency: weights of the positions of each frame; they need not sum to one.
        generator: source of the draw.

    Raises:
        ValueError: when nothing would stay visible or be masked, and for saliency of another grid.
    """
    area = grid.height * grid.width
    if saliency.shape[1:] != (grid.time, area):
        raise ValueError(
            f"saliency of {saliency.shape[1]} frames x {saliency.shape[2]} positions does not fit a grid of "
            f"{grid.time} x {grid.height} x {grid.width} tokens"
        )
    num_keep = _checked(area - int(area * ratio), area, ratio)
    # Attention in half precision can round to zero, and nothing of weight zero can be drawn.
    weights = saliency.detach().float().cpu().clamp_min(1e-30)
    drawn = torch.multinomial(weights.flatten(0, 1), num_keep, generator=generator).sort(dim=1).values
    starts = torch.arange(grid.time)[:, None] * area
    return (drawn.unflatten(0, saliency.shape[:2]) + starts).flatten(1)


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


def _whole_rows(rows: Int64[Tensor, "batch rows"], grid: Grid) -> Int64[Tensor, "batch kept"]:
    """All tokens of the given rows of the clip, counted through all frames."""
    return (rows[..., None] * grid.width + torch.arange(grid.width)).flatten(1)


def _checked(num_keep: int, total: int, ratio: float) -> int:
    if not 0 < num_keep < total:
        raise ValueError(f"a mask ratio of {ratio} keeps {num_keep} of {total} positions; keep some and drop some")
    return num_keep
