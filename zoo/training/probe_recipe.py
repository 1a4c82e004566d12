"""How heads are trained on frozen features: one learning rate, several, or V-JEPA's grid with weight decays."""

from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import nn

from zoo.training.optim import CosineSchedule


class Trial(NamedTuple):
    """One head of a sweep."""

    lr: float
    weight_decay: float


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe:
    """How a head is trained on frozen features.

    Attributes:
        steps: optimiser steps.
        batch_size: views per step.
        lrs: learning rates to choose from.
        weight_decay: of matrices, AdamW.
        held_out: share of the training videos that choose the rate.
        warmup_steps: steps of linear warm-up.
    """

    steps: int
    batch_size: int
    lrs: tuple[float, ...]
    weight_decay: float
    held_out: float = 0.2
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        if not self.lrs:
            raise ValueError("lrs must name at least one learning rate")
        if len(self.trials()) > 1 and not 0 < self.held_out < 1:
            raise ValueError(f"choosing between rates needs held-out videos; held_out is {self.held_out}")

    def trials(self) -> list[Trial]:
        """What there is to choose from."""
        return [Trial(lr, self.weight_decay) for lr in self.lrs]

    def decay_of(self, trial: Trial, step: int) -> float:
        """Weight decay of a step, from 0."""
        return trial.weight_decay

    def groups(self, head: nn.Module, trial: Trial) -> list[dict[str, Any]]:
        """Parameters that decay, then those that do not."""
        return [
            {"params": [p for p in head.parameters() if p.ndim > 1], "weight_decay": trial.weight_decay},
            {"params": [p for p in head.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]

    def clip(self, head: nn.Module) -> None:
        """Limit the gradient of a head; here it is left as it is."""
        return


@dataclass(frozen=True, kw_only=True)
class SweepRecipe(ProbeRecipe):
    """V-JEPA's options on top: many weight decays, their schedule, what decays, a limit on the gradient.

    Attributes:
        weight_decays: to choose from, each with every learning rate; () for `weight_decay` alone.
        final_weight_decay: what half a cosine over the steps ends at (V-JEPA 1); None for the same throughout.
        decay_all: vectors and biases decay too (V-JEPA 2).
        gradient_clip: largest norm of the gradient of a head; None for no limit.
    """

    weight_decays: tuple[float, ...] = ()
    final_weight_decay: float | None = None
    decay_all: bool = False
    gradient_clip: float | None = None

    def trials(self) -> list[Trial]:
        """Every learning rate with every weight decay."""
        return [Trial(*pair) for pair in product(self.lrs, self.weight_decays or (self.weight_decay,))]

    def decay_of(self, trial: Trial, step: int) -> float:
        """Weight decay of a step, from 0."""
        if self.final_weight_decay is None:
            return trial.weight_decay
        return CosineSchedule(peak=trial.weight_decay, final=self.final_weight_decay, steps=self.steps)(step)

    def groups(self, head: nn.Module, trial: Trial) -> list[dict[str, Any]]:
        """Parameters that decay, then those that do not."""
        if not self.decay_all:
            return super().groups(head, trial)
        return [{"params": list(head.parameters()), "weight_decay": trial.weight_decay}]

    def clip(self, head: nn.Module) -> None:
        """Limit the gradient of a head."""
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(head.parameters(), self.gradient_clip)
