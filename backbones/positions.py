"""Position tables: VideoMAE's and V-JEPA's sin-cos tables, learned tables, and their interpolation to other clips.

A table is `[1, positions, dim]`. Grid tables are in raster order, time slowest.
"""

from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid

Positions = Literal[
    "sincos",
    "separable",
    "joint",
    "vjepa",
    "vjepa_split",
    "vjepa_image",
    "vjepa_prefix",
    "rotary",
    "rotary_interleaved",
]
# Kinds whose tables are fixed but stand in the released files, and kinds that have no table; see `backbones.rotary`.
VJEPA: tuple[str, ...] = ("vjepa", "vjepa_split", "vjepa_image", "vjepa_prefix")
ROTARY: tuple[str, ...] = ("rotary", "rotary_interleaved")


def sincos_1d(num_positions: int, dim: int) -> Float[Tensor, "1 positions dim"]:
    """VideoMAE's and UMT's fixed table: sines on even channels, cosines on odd ones, over the flattened raster index.

    Channel j at position p has the angle p / 10000 ** (2 * floor(j / 2) / dim), computed in float64 and rounded to
    float32 (MCG-NJU/VideoMAE modeling_finetune.py, get_sinusoid_encoding_table).
    """
    channel = torch.arange(dim, dtype=torch.float64)
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    angle = position / 10000 ** (2 * (channel // 2) / dim)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()[None]


def sincos_axes(grid: Grid, dim: int, *, kind: str = "vjepa") -> Float[Tensor, "1 tokens dim"]:
    """V-JEPA's fixed table: channels for time, then height, then width; in each first all sines, then all cosines.

    An axis of d channels has the frequencies 10000 ** (-k / (d / 2)), k < d / 2, computed in float64 and rounded to
    float32 (facebookresearch/jepa, src/models/utils/pos_embs.py).

    Args:
        grid: token counts of the clip.
        dim: width of the tokens.
        kind: "vjepa" and "vjepa_prefix": 2 * ceil(dim / 6) channels per axis, cut to `dim` at the end (the authors'
            uniform_power, on in all published models); "vjepa_split": half for time, a quarter each for height and
            width (off, the authors' default); "vjepa_image": half each for height and width.

    Raises:
        ValueError: when an axis would get an odd number of channels.
    """
    uniform = 2 * -(-dim // 6)
    widths = {"vjepa_split": (dim // 2, dim // 4, dim // 4), "vjepa_image": (0, dim // 2, dim // 2)}
    axes = widths.get(kind, (uniform, uniform, uniform))
    if any(width % 2 for width in axes) or sum(axes) < dim:
        raise ValueError(f"a width of {dim} cannot be shared among the axes of positions {kind!r}: {axes} channels")
    places = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in grid), indexing="ij")
    parts = []
    for place, width in zip(places, axes, strict=True):
        frequency = 10000 ** (-torch.arange(width // 2, dtype=torch.float64) / max(1, width // 2))
        angle = place.flatten()[:, None] * frequency
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, 1)[None, :, :dim].float()


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


def resize_axes_table(
    table: Float[Tensor, "1 positions dim"], old: Grid, new: Grid, *, kind: str
) -> Float[Tensor, "1 tokens dim"]:
    """V-JEPA's resize: trilinear, for images bicubic, both with align_corners false.

    The authors pass factors instead of sizes (facebookresearch/jepa, src/models/vision_transformer.py), which gives the
    same up to rounding, but may lose a row to it, and takes the factor of an image from its number of tokens, which is
    right for squares only. With "vjepa_prefix", V-JEPA 2's rule for its tables, shorter clips of the same size use the
    first positions as they are (facebookresearch/vjepa2).
    """
    if old == new:
        return table
    if kind == "vjepa_prefix" and new.time <= old.time and (new.height, new.width) == (old.height, old.width):
        return table[:, : new.num_tokens]
    if kind == "vjepa_image":
        return resize_spatial_table(table, (old.height, old.width), (new.height, new.width))
    maps = rearrange(table, "1 (t h w) dim -> 1 dim t h w", t=old.time, h=old.height, w=old.width)
    size = (new.time, new.height, new.width)
    maps = F.interpolate(_at_least_float32(maps), size=size, mode="trilinear", align_corners=False)
    return rearrange(maps, "1 dim t h w -> 1 (t h w) dim").to(table.dtype)


def register_positions(module: nn.Module, kind: Positions, grid: Grid, dim: int) -> None:
    """Give `module` its tables: `pos_embed`, and `temporal_pos_embed` (None where there is none).

    Args:
        module: a backbone or a decoder.
        kind: "sincos" is VideoMAE's fixed table, a buffer outside the state dict; "separable" one learned table over
            space and one over time, summed (mae_st's sep_pos_embed); "joint" one learned table over all tokens; the
            kinds of `sincos_axes` are fixed too, but part of the state dict, as in V-JEPA's files; the rotary kinds
            have no table: `pos_embed` is None, and attention turns queries and keys (see `backbones.rotary`).
        grid: grid of the clips the tables are for; others are interpolated.
        dim: width of the tokens.

    Raises:
        ValueError: for an unknown kind.
    """
    module.register_parameter("temporal_pos_embed", None)
    if kind == "sincos":
        module.register_buffer("pos_embed", sincos_1d(grid.num_tokens, dim), persistent=False)
    elif kind in VJEPA:
        module.register_buffer("pos_embed", sincos_axes(grid, dim, kind=kind))
    elif kind in ROTARY:
        module.register_buffer("pos_embed", None)
    elif kind == "joint":
        module.register_parameter("pos_embed", _learned(grid.num_tokens, dim))
    elif kind == "separable":
        module.register_parameter("pos_embed", _learned(grid.height * grid.width, dim))
        module.register_parameter("temporal_pos_embed", _learned(grid.time, dim))
    else:
        raise ValueError(f"unknown kind of positions {kind!r}; choose from {get_args(Positions)}")


def grid_positions(
    pos_embed: Float[Tensor, "1 positions dim"],
    temporal_pos_embed: Float[Tensor, "1 time dim"] | None,
    old: Grid,
    new: Grid,
    *,
    kind: str = "sincos",
) -> Float[Tensor, "1 tokens dim"]:
    """Positions of every token of a clip with grid `new`, from tables made for grid `old`."""
    if kind in VJEPA:
        return resize_axes_table(pos_embed, old, new, kind=kind)
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
