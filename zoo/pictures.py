"""Pictures of what networks see and compute: visible patches, and features as colours."""

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from backbones.contract import Grid
from backbones.layers import patchify, unpatchify

Clips = Float[Tensor, "batch 3 frames height width"]
GRAY = 0.5
# Colours span this share of the projections, so that a single odd token does not turn all others gray.
SPAN = (0.02, 0.98)


def visible(clip: Clips, keep: Int64[Tensor, "batch kept"], tubelet: tuple[int, int, int]) -> Clips:
    """Clips with everything but the kept tubelets gray."""
    patches = patchify(clip, tubelet)
    seen = torch.full_like(patches, GRAY)
    lines = torch.arange(len(clip), device=keep.device)[:, None]
    seen[lines, keep] = patches[lines, keep]
    grid = Grid(*(side // size for side, size in zip(clip.shape[2:], tubelet, strict=True)))
    return unpatchify(seen, grid)


class Palette:
    """Turns features into colours: three principal components of reference features as red, green and blue.

    Components are those of the reference, so pictures made with one palette can be compared; their signs are fixed, so
    equal features give equal colours.

    Args:
        reference: features of any tokens; centred and decomposed together.
    """

    def __init__(self, reference: Float[Tensor, "batch tokens dim"]) -> None:
        rows = reference.detach().flatten(0, 1).double()
        self.center = rows.mean(0)
        centred = rows - self.center
        # The covariance is small where the list of tokens is long.
        _, vectors = torch.linalg.eigh(centred.mT @ centred)
        axes = vectors[:, -3:].flip(1)
        lead = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        self.axes = axes * lead.sign()
        shown = centred @ self.axes
        share = torch.tensor(SPAN, dtype=shown.dtype, device=shown.device)
        self.low, self.high = shown.quantile(share, dim=0)

    def __call__(self, features: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens 3"]:
        """A colour in 0-1 per token."""
        shown = (features.detach().double() - self.center) @ self.axes
        # Features that are all alike have no span; they come out gray.
        span = (self.high - self.low).clamp_min(1e-12)
        color = torch.where(self.high > self.low, (shown - self.low) / span, torch.full_like(shown, GRAY))
        return color.clamp(0, 1).float()


def paint(
    colors: Float[Tensor, "batch tokens 3"],
    grid: Grid,
    tubelet: tuple[int, int, int],
    keep: Int64[Tensor, "batch tokens"] | None = None,
) -> Clips:
    """Clips of one colour per tubelet; tubelets without a token are gray.

    Args:
        colors: in 0-1.
        grid: token counts of the clip.
        tubelet: pixels per token.
        keep: raster indices of the tokens; None for all.
    """
    if keep is not None:
        canvas = colors.new_full((len(colors), grid.num_tokens, 3), GRAY)
        colors = canvas.scatter(1, keep.unsqueeze(-1).expand(-1, -1, 3), colors)
    small = rearrange(colors, "b (t h w) c -> b c t h w", t=grid.time, h=grid.height, w=grid.width)
    for axis, size in enumerate(tubelet, start=2):
        small = small.repeat_interleave(size, dim=axis)
    return small
