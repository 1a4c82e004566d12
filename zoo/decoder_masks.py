"""Which tokens a decoder predicts. Every choice is `query`: raster indices, ascending, equally many for each sample.

The strategies that LVMAE compares (arXiv 2411.13683, Section 4.2), all with one budget:

| name | tokens |
|---|---|
| `none` | all that the encoder does not see; no budget |
| `random` | any of the clip |
| `uniform_frame` | all of every 7th slot at a budget of 15 % ("uniform" in the paper) |
| `uniform_grid` | the points of a lattice, as far from each other in time as in space |
| `running_cell` | positions that run through cells of 2 x 2 tokens, slot by slot (VideoMAE V2, arXiv 2303.16727) |
| `tube` | the same positions of every slot, and the rest at random |
| `flow`, `embed_diff`, `learned`, `precomputed` | those of the largest scores, and some at random |

Nothing here draws: a choice is a function of the noise that it is given, one row of numbers in 0-1 per sample. Equal
scores count in the order of their indices, so that a choice is the same on every device.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from backbones.contract import Grid
from backbones.tokens import complement
from zoo.masks import keep_smallest

RANKED = ("flow", "embed_diff", "learned", "precomputed")
ROUNDINGS = ("nearest", "paper")
Noise = Float[Tensor, "batch tokens"]
Ranks = Float[Tensor, "batch tokens"]


class Counts(NamedTuple):
    """How many tokens are chosen of a clip.

    Attributes:
        ranked: for their scores.
        random: at random among the others.
    """

    ranked: int
    random: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.ranked + self.random


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Share of a clip's tokens that are predicted.

    Attributes:
        total: share of all tokens (LVMAE: 15 %).
        random_share: share of these that are drawn at random, where a strategy has scores (LVMAE: 5 of 15 %).
        rounding: "nearest" rounds the total, then the random part, halves up; "paper" is the formula of LVMAE's Section
            3.2, both parts rounded down, at most one token less.

    Raises:
        ValueError: for shares that are none, and an unknown rounding.
    """

    total: float = 0.15
    random_share: float = 1 / 3
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        if not 0 < self.total <= 1:
            raise ValueError(f"a budget must lie in (0, 1], not {self.total}")
        if not 0 <= self.random_share <= 1:
            raise ValueError(f"random_share must lie in 0-1, not {self.random_share}")
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"unknown rounding {self.rounding!r}; choose from {ROUNDINGS}")

    def counts(self, num_tokens: int) -> Counts:
        """How many of a clip's tokens it is.

        Raises:
            ValueError: when it is none.
        """
        if self.rounding == "nearest":
            total = math.floor(self.total * num_tokens + 0.5)
            random = math.floor(total * self.random_share + 0.5)
            counts = Counts(total - random, random)
        else:
            # 0.15 x 2/3 of 1000 must be 100, whatever the last bit says.
            ranked = self.total * (1 - self.random_share) * num_tokens + 1e-6
            counts = Counts(math.floor(ranked), math.floor(self.total * self.random_share * num_tokens + 1e-6))
        if counts.total < 1:
            raise ValueError(f"a budget of {self.total} of {num_tokens} tokens is no token; raise it")
        return counts


class DecoderMask(NamedTuple):
    """What a decoder predicts of some clips.

    Attributes:
        query: raster indices of the tokens, ascending.
        ranked: whether each was chosen for its score.
    """

    query: Int64[Tensor, "batch query"]
    ranked: Bool[Tensor, "batch query"]


def noise_of(seeds: Sequence[int], num_tokens: int) -> Noise:
    """Numbers in 0-1, one row per seed, so that a sample's do not depend on its neighbours in a batch."""
    rows = [torch.rand(num_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def random(grid: Grid, noise: Noise, num: int) -> Ranks:
    """Any tokens of the clip."""
    return noise


def uniform_frame(grid: Grid, noise: Noise, num: int) -> Ranks:
    """All tokens of slots at an even distance, from the first; then others."""
    chosen = torch.zeros(grid, dtype=torch.bool)
    chosen[:: frame_step(grid, num)] = True
    return _first(chosen.flatten(), noise)


def frame_step(grid: Grid, num: int) -> int:
    """Slots from one that `uniform_frame` chooses to the next: 7 at 15 % (LVMAE, Section 4.2)."""
    return max(1, math.floor(grid.num_tokens / num + 0.5))


def uniform_grid(grid: Grid, noise: Noise, num: int) -> Ranks:
    """Points of a lattice that is moved at random: those where t/g + y/g^2 + x/g^3 is small modulo 1.

    g^4 = g + 1 gives the three-dimensional lattice of the R-sequence (M. Roberts 2018, "The unreasonable effectiveness
    of quasirandom sequences"), which is even for every number of points.
    """
    g = 1.2207440846057596
    steps = (torch.arange(size, dtype=torch.float64) / g**power for power, size in enumerate(grid, start=1))
    time, height, width = steps
    place = (time[:, None, None] + height[:, None] + width).flatten()
    return ((place + noise[:, :1].double()) % 1).to(noise.dtype)


def running_cell(grid: Grid, noise: Noise, num: int) -> Ranks:
    """One of every 2 x 2 tokens, from slot to slot the next in raster order; then the one after it, and so on.

    At a budget of 1/2 this is the decoder mask of VideoMAE V2 (OpenGVLab/VideoMAEv2 masking_generator.py,
    RunningCellMaskingGenerator).
    """
    time, height, width = (torch.arange(size) for size in grid)
    cell = height[:, None] % 2 * 2 + width % 2 + time[:, None, None]
    start = (noise[:, 0] * 4).long()
    return (3 - (cell.flatten() + start[:, None]) % 4) + noise


def tube(grid: Grid, noise: Noise, num: int) -> Ranks:
    """The same positions of every slot, as many as fit, the rest anywhere."""
    area = grid.height * grid.width
    # Positions by the last bits of the noise, which know nothing of the first, by which the rest is chosen.
    spatial = keep_smallest((noise[:, :area] * 4096) % 1, num // grid.time)
    chosen = torch.zeros(len(noise), area, dtype=torch.bool).scatter_(1, spatial, True)
    return _first(chosen.repeat(1, grid.time), noise)


BLIND: dict[str, Callable[[Grid, Tensor, int], Tensor]] = {
    "random": random,
    "uniform_frame": uniform_frame,
    "uniform_grid": uniform_grid,
    "running_cell": running_cell,
    "tube": tube,
}
STRATEGIES = ("none", *BLIND, *RANKED)


@dataclass(frozen=True, kw_only=True)
class DecoderMasking:
    """How the tokens that a decoder predicts are chosen.

    Attributes:
        strategy: one of `STRATEGIES`.
        budget: how many; `none` has no budget.
        disjoint: choose among the tokens that the encoder does not see. Otherwise tokens that it sees are decoded too,
            and no loss is taken there, as in VideoMAE V2 and LVMAE. A budget of 1 is then all that it does not see.
        exact: "uniform_frame" is trimmed or filled up to the budget at random; False keeps its whole slots, as in the
            paper, 15.6 % at 128 frames.

    Raises:
        ValueError: for an unknown strategy, and whole slots that are to be disjoint.
    """

    strategy: str = "learned"
    budget: Budget = Budget()
    disjoint: bool = False
    exact: bool = True

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"unknown strategy {self.strategy!r}; choose from {STRATEGIES}")
        if self.disjoint and self.whole_slots:
            raise ValueError("whole slots hold tokens that the encoder sees; take exact=True or disjoint=False")

    @property
    def whole_slots(self) -> bool:
        """Whether the budget gives way to whole slots."""
        return self.strategy == "uniform_frame" and not self.exact

    def num_query(self, grid: Grid, num_kept: int) -> int:
        """Tokens that are decoded of a clip.

        Args:
            grid: of the clip.
            num_kept: tokens that the encoder sees.

        Raises:
            ValueError: when there are not so many.
        """
        hidden = grid.num_tokens - num_kept
        if self.strategy == "none" or (self.disjoint and self.budget.total == 1):
            return hidden
        total = self.budget.counts(grid.num_tokens).total
        if self.whole_slots:
            return math.ceil(grid.time / frame_step(grid, total)) * grid.height * grid.width
        if self.disjoint and total > hidden:
            raise ValueError(
                f"the budget of {total} of {grid.num_tokens} tokens does not fit into the {hidden} that the encoder "
                f"does not see; lower it, or take disjoint=False"
            )
        return total

    def __call__(
        self,
        grid: Grid,
        noise: Noise,
        keep: Int64[Tensor, "batch kept"],
        scores: Float[Tensor, "batch tokens"] | None = None,
    ) -> DecoderMask:
        """The tokens to decode.

        Args:
            grid: of the clips.
            noise: in 0-1, see `noise_of`.
            keep: tokens that the encoder sees.
            scores: for the strategies in `RANKED`; larger is chosen earlier.

        Raises:
            ValueError: when a strategy that needs scores has none, or the budget does not fit.
        """
        num = self.num_query(grid, keep.shape[1])
        if self.strategy == "none":
            query = complement(keep, grid.num_tokens)
            return DecoderMask(query, torch.zeros_like(query, dtype=torch.bool))
        best = torch.zeros_like(noise, dtype=torch.bool)
        if self.strategy in BLIND:
            budget = self.budget.counts(grid.num_tokens).total
            order = BLIND[self.strategy](grid, noise, budget)
        else:
            best = self._best(grid, noise, keep, scores)
            order = _first(best, noise)
        if self.disjoint:
            order = order.scatter(1, keep, torch.inf)
        query = keep_smallest(order, num)
        return DecoderMask(query, best.gather(1, query))

    def _best(
        self, grid: Grid, noise: Noise, keep: Int64[Tensor, "batch kept"], scores: Tensor | None
    ) -> Bool[Tensor, "batch tokens"]:
        """Tokens of the largest scores."""
        if scores is None:
            raise ValueError(f"strategy {self.strategy!r} needs scores")
        scores = usable(scores, noise, self.strategy)
        if self.disjoint:
            scores = scores.scatter(1, keep, -torch.inf)
        num = min(self.budget.counts(grid.num_tokens).ranked, self.num_query(grid, keep.shape[1]))
        chosen = scores.argsort(dim=1, descending=True, stable=True)[:, :num]
        return torch.zeros_like(noise, dtype=torch.bool).scatter_(1, chosen, True)


def usable(scores: Float[Tensor, "batch tokens"], noise: Noise, name: str) -> Float[Tensor, "batch tokens"]:
    """The scores, and noise in place of those of a sample that say nothing: all equal, or not all finite.

    Ranking them would choose the first tokens of the clip. Warns, naming the strategy and the samples.
    """
    broken = ~scores.isfinite().all(1) | (scores.amax(1) == scores.amin(1))
    if broken.any():
        where = broken.nonzero().flatten().tolist()
        warnings.warn(
            f"scores of strategy {name!r} are constant or not finite in samples {where} of the batch; tokens are "
            f"chosen at random there",
            stacklevel=2,
        )
    return torch.where(broken[:, None], noise.to(scores.dtype), scores)


def _first(chosen: Bool[Tensor, "*batch tokens"], noise: Noise) -> Ranks:
    """The chosen tokens before all others, each part in the order of the noise."""
    return noise + (~chosen).to(noise.dtype)
