"""Position tables: VideoMAE's sin-cos table, learned tables, and their interpolation to other clips.

A table is `[1, positions, dim]`. Grid tables are in raster order, time slowest.
"""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid

Positions = Literal["sincos", "separable", "joint"]


def sincos_1d(num_positions: int, dim: int) -> Float[Tensor, "1 positions dim"]:
    """VideoMAE's and UMT's fixed table: sines on even channels, cosines on odd ones, over the flattened raster index.

    Channel j at position p has the angle p / 10000 ** (2 * floor(j / 2) / dim), computed in float64 and rounded to
    float32 (MCG-NJU/VideoMAE modeling_finetune.py, get_sinusoid_encoding_table).
    """
    channel = torch.arange(dim, dtype=torch.float64)
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    angle = position / 10000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()[None]


def resize_spatial_table(
    table: Float[Tensor, "slices positions dim"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "slices new_positions dim"]:
    """Bicubic resize (align_corners false, no antialiasing) of each slice from `old` to `new` (height, width)."""
    if old == new:
        return table
    maps = rearrange(table, "slices (height width) dim -> slices dim height width", height=old[0], width=old[1])
    maps = F.interpolate(_at_least_float32(maps), size=new, mode="bicubic", align_corners=False)
    return rearrange(maps, "slices dim height width -> slices (height width) dim").to(table.dtype)


def resize_temporal_table(
    table: Float[Tensor, "slices time dim"], new_time: int
) -> Float[Tensor, "slices new_time dim"]:
    """Linear resize (align_corners false) of each slice along time."""
    if table.shape[1] == new_time:
        return table
    lines = F.interpolate(_at_least_float32(table.transpose(1, 2)), size=new_time, mode="linear", align_corners=False)
    return lines.transpose(1, 2).to(table.dtype)


def resize_grid_table(table: Float[Tensor, "1 positions dim"], old: Grid, new: Grid) -> Float[Tensor, "1 tokens dim"]:
    """First space, time slice by time slice, then time, position by position, as UMT's fine-tuning class does it.

    Source: OpenGVLab/unmasked_teacher single_modality/models/modeling_finetune.py.
    """
    if old == new:
        return table
    slices = rearrange(table, "1 (time space) dim -> time space dim", time=old.time)
    slices = resize_spatial_table(slices, (old.height, old.width), (new.height, new.width))
    lines = resize_temporal_table(slices.transpose(0, 1), new.time)
    return rearrange(lines, "space time dim -> 1 (time space) dim")


def register_positions(module: nn.Module, kind: Positions, grid: Grid, dim: int) -> None:
    """Give `module` its tables: `pos_embed`, and `temporal_pos_embed` (None where there is none).

    Args:
        module: a backbone or a decoder.
        kind: "sincos" is VideoMAE's fixed table, a buffer outside the state dict; "separable" one learned table over
            space and one over time, summed (mae_st's sep_pos_embed); "joint" one learned table over all tokens.
        grid: grid of the clips the tables are for; others are interpolated.
        dim: width of the tokens.

    Raises:
        ValueError: for an unknown kind.
    """
    module.register_parameter("temporal_pos_embed", None)
    if kind == "sincos":
        module.register_buffer("pos_embed", sincos_1d(grid.num_tokens, dim), persistent=False)
    elif kind == "joint":
        module.register_parameter("pos_embed", _learned(grid.num_tokens, dim))
    elif kind == "separable":
        module.register_parameter("pos_embed", _learned(grid.height * grid.width, dim))
        module.register_parameter("temporal_pos_embed", _learned(grid.time, dim))
    else:
        raise ValueError(f"unknown kind of positions {kind!r}; choose from 'sincos', 'separable', 'joint'")


def grid_positions(
    pos_embed: Float[Tensor, "1 positions dim"],
    temporal_pos_embed: Float[Tensor, "1 time dim"] | None,
    old: Grid,
    new: Grid,
) -> Float[Tensor, "1 tokens dim"]:
    """Positions of every token of a clip with grid `new`, from tables made for grid `old`."""
    if temporal_pos_embed is None:
        return resize_grid_table(pos_embed, old, new)
    spatial = resize_spatial_table(pos_embed, (old.height, old.width), (new.height, new.width))
    temporal = resize_temporal_table(temporal_pos_embed, new.time)
    return (temporal[:, :, None] + spatial[:, None]).flatten(1, 2)


def _learned(num_positions: int, dim: int) -> nn.Parameter:
    """A table with mae_st's initial values: truncated normal of standard deviation 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, num_positions, dim), std=0.02))


def _at_least_float32(table: Tensor) -> Tensor:
    """Interpolation weights do not survive half precision."""
    return table.to(torch.promote_types(table.dtype, torch.float32))
