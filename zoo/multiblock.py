"""V-JEPA's masks: cuboids to be predicted, what is left to be seen, and random tubes as the alternative.

Source: facebookresearch/jepa, src/masks/multiblock3d.py and random_tube.py; the options of the second version,
facebookresearch/vjepa2, src/masks/multiseq_multiblock3d.py.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from backbones.contract import Grid
from backbones.tokens import complement
from zoo.masks import keep_smallest, over_time

TRUNCATIONS = ("first", "random", "tube")
MAX_REDRAWS = 1000


class Split(NamedTuple):
    """What is seen of each clip, and what is predicted.

    Attributes:
        keep: raster indices of visible tokens, ascending.
        query: raster indices of the tokens to predict, ascending, none of them visible.
    """

    keep: Int64[Tensor, "batch kept"]
    query: Int64[Tensor, "batch query"]


@runtime_checkable
class Splitter(Protocol):
    """One of the masks that an objective predicts under."""

    def __call__(self, grid: Grid, batch: int, generator: torch.Generator, *, counter: int) -> Split:
        """Draw for a batch of clips.

        Args:
            grid: token counts of the clips.
            batch: number of clips.
            generator: source of what is drawn for each clip.
            counter: seed of what is drawn once for the whole batch.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Multiblock:
    """Several cuboids of one size at random places are predicted, the rest of the clip is seen.

    Size and shape of the cuboids are drawn once for a batch, from a generator of their own; in the authors' code it is
    seeded with a counter of batches, equal on all processes. So two masks drawn with the same counter share their
    draws, and differ in their ranges only. Places are drawn for each clip.

    All clips of a batch must see equally many tokens, and predict equally many: longer rows are truncated to the
    shortest. The published way keeps the first ids, and since these are in raster order it always leaves out the end of
    the clip, the more the larger the batch is (facebookresearch/jepa, issue 50).

    Attributes:
        num_blocks: cuboids, which may overlap.
        spatial_scale: range of the share of a frame's area that a cuboid covers.
        temporal_scale: range of the share of the clip's length.
        aspect_ratio: range of height over width, drawn uniformly.
        max_temporal_keep: share of the clip, from its beginning, of which anything is seen.
        max_keep: most tokens that are seen; None for no limit.
        truncation: which tokens of longer rows stay: "first" (published); "random", any; "tube", any positions of a
            frame, each at all times, for cuboids as long as the clip only: what divided attention needs.
        full_complement: predict everything that is not seen after truncation.
        pred_full_complement: see everything that is not predicted after truncation.
        inverse: swap what is seen and what is predicted (the authors' inv_block).

    Raises:
        ValueError: for an unknown truncation.
    """

    num_blocks: int
    spatial_scale: tuple[float, float]
    temporal_scale: tuple[float, float] = (1.0, 1.0)
    aspect_ratio: tuple[float, float] = (0.75, 1.5)
    max_temporal_keep: float = 1.0
    max_keep: int | None = None
    truncation: str = "first"
    full_complement: bool = False
    pred_full_complement: bool = False
    inverse: bool = False

    def __post_init__(self) -> None:
        if self.truncation not in TRUNCATIONS:
            raise ValueError(f"unknown truncation {self.truncation!r}; choose from {TRUNCATIONS}")

    def size(self, grid: Grid, counter: int) -> Grid:
        """Size of the cuboids of batch `counter`, in tokens; at least one."""
        draws = torch.rand(3, generator=torch.Generator().manual_seed(counter)).tolist()
        ranges = (self.temporal_scale, self.spatial_scale, self.aspect_ratio)
        time, area, aspect = (low + draw * (high - low) for draw, (low, high) in zip(draws, ranges, strict=True))
        area = int(grid.height * grid.width * area)
        return Grid(
            max(1, int(grid.time * time)),
            max(1, min(grid.height, round(math.sqrt(area * aspect)))),
            max(1, min(grid.width, round(math.sqrt(area / aspect)))),
        )

    def __call__(self, grid: Grid, batch: int, generator: torch.Generator, *, counter: int) -> Split:
        """Draw for a batch of clips; see `Splitter`.

        Raises:
            ValueError: when cuboids cover whole clips, and for "tube" when they are shorter than the clip.
        """
        visible = self.visible(grid, batch, generator, self.size(grid, counter))
        counts = visible.sum(1)
        num_keep = min(int(counts.min()), self.max_keep or grid.num_tokens)
        num_query = int((~visible).sum(1).min())
        if (
            self.truncation == "tube"
            and (visible.unflatten(1, (grid.time, -1)) != visible[:, None, : _area(grid)]).any()
        ):
            raise ValueError("truncation 'tube' needs cuboids as long as the clip; choose 'random'")
        keep = self.truncated(visible, num_keep, grid, generator)
        query = self.truncated(~visible, num_query, grid, generator)
        if self.full_complement:
            query = complement(keep, grid.num_tokens)
        elif self.pred_full_complement:
            keep = complement(query, grid.num_tokens)
        return Split(query, keep) if self.inverse else Split(keep, query)

    def visible(self, grid: Grid, batch: int, generator: torch.Generator, size: Grid) -> Bool[Tensor, "batch tokens"]:
        """What no cuboid covers; clips of which nothing is left are drawn again.

        Raises:
            ValueError: when something is left of hardly any draw.
        """
        visible = torch.zeros(batch, grid.num_tokens, dtype=torch.bool)
        for _ in range(MAX_REDRAWS):
            empty = (~visible.any(1)).nonzero()[:, 0]
            if not len(empty):
                return visible
            visible[empty] = self.once(grid, len(empty), generator, size)
        raise ValueError(
            f"{self.num_blocks} cuboids of {tuple(size)} tokens leave nothing to see of {tuple(grid)}; "
            "make spatial_scale or num_blocks smaller"
        )

    def once(self, grid: Grid, batch: int, generator: torch.Generator, size: Grid) -> Bool[Tensor, "batch tokens"]:
        """What cuboids at freshly drawn places leave."""
        covered = torch.ones(batch, self.num_blocks, 1, 1, 1, dtype=torch.bool)
        for axis, name in ((3, "height"), (4, "width"), (2, "time")):
            side, extent = getattr(grid, name), getattr(size, name)
            start = torch.randint(side - extent + 1, (batch, self.num_blocks), generator=generator)[..., None]
            place = torch.arange(side)
            inside = (place >= start) & (place < start + extent)
            shape = [batch, self.num_blocks, 1, 1, 1]
            shape[axis] = side
            covered = covered & inside.view(shape)
        visible = ~covered.any(1)
        if self.max_temporal_keep < 1:
            visible[:, max(1, int(grid.time * self.max_temporal_keep)) :] = False
        return visible.flatten(1)

    def truncated(
        self, wanted: Bool[Tensor, "batch tokens"], count: int, grid: Grid, generator: torch.Generator
    ) -> Int64[Tensor, "batch count"]:
        """Raster indices of `count` of the wanted tokens of each clip."""
        if self.truncation == "first":
            return keep_smallest((~wanted).float(), count)
        if self.truncation == "random":
            return keep_smallest(torch.rand(wanted.shape, generator=generator) + (~wanted).float(), count)
        positions = wanted[:, : _area(grid)]
        noise = torch.rand(positions.shape, generator=generator) + (~positions).float()
        return over_time(keep_smallest(noise, count // grid.time), grid)


@dataclass(frozen=True, kw_only=True)
class RandomTube:
    """Random positions of a frame are seen, the same at all times; all others are predicted.

    int(height * width * (1 - ratio)) positions are seen: 19 of 196 at 0.9, where VideoMAE's rounding gives 20.

    Attributes:
        ratio: fraction predicted.

    Raises:
        ValueError: when drawing, if nothing would be seen or predicted.
    """

    ratio: float = 0.9

    def __call__(self, grid: Grid, batch: int, generator: torch.Generator, *, counter: int) -> Split:
        """Draw for a batch of clips; see `Splitter`."""
        area = _area(grid)
        num_keep = int(area * (1 - self.ratio))
        if not 0 < num_keep < area:
            raise ValueError(f"a mask ratio of {self.ratio} shows {num_keep} of {area} positions; show some, not all")
        keep = over_time(keep_smallest(torch.rand(batch, area, generator=generator), num_keep), grid)
        return Split(keep, complement(keep, grid.num_tokens))


def _area(grid: Grid) -> int:
    return grid.height * grid.width


# configs/pretrain of both repositories.
SHORT_RANGE = Multiblock(num_blocks=8, spatial_scale=(0.15, 0.15))
LONG_RANGE = Multiblock(num_blocks=2, spatial_scale=(0.7, 0.7))
