"""V-JEPA's schedules: counted from 1, made for more steps than are taken, and cut off.

Source: facebookresearch/jepa, src/utils/schedulers.py and app/vjepa/utils.py; facebookresearch/vjepa2 likewise.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Schedule(Protocol):
    """A value per optimiser step, counted from 0; `peak` is where it starts after a warm-up."""

    @property
    def peak(self) -> float:
        """Value after the warm-up."""

    def __call__(self, step: int) -> float:
        """Value at a step, counted from 0."""
        ...


@dataclass(frozen=True, kw_only=True)
class StretchedCosine:
    """Linear warm-up, then half a cosine from `peak` to `final`; either may be the larger one.

    The authors' scheduler advances before the step is taken, so the first step, number 1, has left `start` already.
    `peak` is the value of step `warmup_steps`, `final` that of step `horizon`, and stays.

    Attributes:
        peak: value after the warm-up.
        final: value at the horizon.
        horizon: step, from 1, at which `final` is reached; a run may be shorter.
        warmup_steps: steps of warm-up.
        start: value that the warm-up leaves.
    """

    peak: float
    final: float
    horizon: int
    warmup_steps: int = 0
    start: float = 0.0

    def __call__(self, step: int) -> float:
        """Value at a step, counted from 0 as everywhere here."""
        number = step + 1
        if number < self.warmup_steps:
            return self.start + number / self.warmup_steps * (self.peak - self.start)
        progress = min(1.0, (number - self.warmup_steps) / max(1, self.horizon - self.warmup_steps))
        return self.final + (self.peak - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class StretchedLine:
    """V-JEPA 2's cool-down: a line from `peak`, left by the first step, to `final` at step `horizon`.

    Attributes:
        peak: value that the first step leaves.
        final: value at the horizon.
        horizon: step, from 1, at which `final` is reached; a run may be shorter.
    """

    peak: float
    final: float
    horizon: int

    def __call__(self, step: int) -> float:
        """Value at a step, counted from 0."""
        return self.peak + min(1.0, (step + 1) / self.horizon) * (self.final - self.peak)
