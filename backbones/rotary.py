"""Rotary position embedding over time, height and width: V-JEPA 2's, as released and as it was meant.

A rotation is `[rows, tokens, 2, head_dim]`: factors of each channel and of its neighbour. Rows is 1 where all samples
share it.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from backbones.contract import Grid
from backbones.tokens import take

BASE = 10000


def rotation_table(
    grid: Grid, head_dim: int, *, interleaved: bool, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "1 tokens 2 head_dim"]:
    """Rotations at every token of a clip, in raster order.

    Time, height and width, in this order, turn 2 * (head_dim // 3 // 2) channels each; the rest stays as it is.
    Neighbouring channels 2j and 2j + 1 make a pair: (a, b) becomes (a cos - b sin, b cos + a sin). A segment of d
    channels has the frequencies 10000 ** (-k / (d / 2)), k < d / 2 (facebookresearch/vjepa2,
    src/models/utils/modules.py, rotate_queries_or_keys).

    Args:
        grid: token counts of the clip.
        head_dim: channels of a head.
        interleaved: give both channels of a pair the same angle, as V-JEPA 2.1 does. The released V-JEPA 2 lays its
            angles out in two copies instead, one after the other, so that the channels of a pair get different ones;
            the authors know, and their weights depend on it (facebookresearch/vjepa2, issue 15).
        dtype: of the angles. The authors' code computes them in that of queries and keys, bfloat16 under autocast.
        device: where to compute.

    Raises:
        ValueError: when a head is too narrow to turn any channel, or has an odd number of them.
    """
    width = head_dim // 3 // 2
    if not width or head_dim % 2:
        raise ValueError(f"rotary positions need heads of an even number of channels from 6, not {head_dim}")
    frequency = 1 / BASE ** (torch.arange(width, dtype=dtype, device=device) / width)
    token = torch.arange(grid.num_tokens, device=device)
    places = (token // (grid.height * grid.width), token // grid.width % grid.height, token % grid.width)
    angles = []
    for place in places:
        angle = place.to(dtype)[:, None] * frequency
        angles.append(angle.repeat_interleave(2, 1) if interleaved else angle.repeat(1, 2))
    angle = F.pad(torch.cat(angles, 1), (0, head_dim - 6 * width))
    # The sign of a pair's first member is here, so that turning needs no negation.
    sign = torch.ones(head_dim, dtype=dtype, device=device)
    sign[::2] = -1
    return torch.stack([angle.cos(), angle.sin() * sign], 1)[None]


def rotation_at(
    table: Float[Tensor, "1 tokens 2 head_dim"], ids: Int64[Tensor, "batch kept"] | None, num_prefix: int
) -> Float[Tensor, "rows sequence 2 head_dim"]:
    """Rotations of a sequence: `num_prefix` tokens that have no position, then the tokens `ids`; None for all."""
    rotation = take(table, ids)
    if not num_prefix:
        return rotation
    still = torch.zeros_like(rotation[:, :1])
    still[:, :, 0] = 1
    return torch.cat([still.expand(-1, num_prefix, -1, -1), rotation], 1)


def rotate(
    heads: Float[Tensor, "*rows batch heads tokens head_dim"],
    rotation: Float[Tensor, "_ tokens 2 head_dim"],
) -> Float[Tensor, "*rows batch heads tokens head_dim"]:
    """Queries or keys, turned by the rotations of their positions."""
    own, other = rotation.to(heads.dtype)[:, None].unbind(-2)
    swapped = heads.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    return heads * own + swapped * other
