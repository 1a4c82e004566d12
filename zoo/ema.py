"""A target: the copy of a network that follows it slowly."""

import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class LinearMomentum:
    """Share of the target that stays at each step, growing linearly.

    V-JEPA's runs end before it reaches `final`: their schedules are stretched by a quarter and cut off
    (facebookresearch/jepa, app/vjepa/train.py).

    Attributes:
        start: of the first step.
        final: would be reached one step after `steps`.
        steps: length of the schedule, in optimiser steps.

    Raises:
        ValueError: for a share outside [0, 1], and for less than a step.
    """

    start: float
    final: float
    steps: int

    def __post_init__(self) -> None:
        if not (0 <= self.start <= 1 and 0 <= self.final <= 1):
            raise ValueError(f"momentum must lie in [0, 1], not {self.start} to {self.final}")
        if self.steps < 1:
            raise ValueError(f"a schedule of {self.steps} steps: it needs at least 1")

    def __call__(self, step: int) -> float:
        """Share that stays at a step, counted from 1."""
        return self.start + min(step - 1, self.steps) * (self.final - self.start) / self.steps


class Target(nn.Module, Generic[Network]):
    """Exponential moving average of a network: without gradients, always in evaluation mode.

    Being a submodule, it is part of the objective's state dict and of its checkpoints; being without gradients, it is
    not part of the optimiser.

    Args:
        network: what is followed; the copy starts equal to it.

    Attributes:
        network: the copy.
    """

    network: Network

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> "Target[Network]":
        """Stay in evaluation mode, whatever is asked for."""
        super().train(False)
        return self

    @torch.no_grad()
    def follow(self, network: Network, momentum: float) -> None:
        """Move to `momentum * target + (1 - momentum) * network`; buffers are copied as they are."""
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        # All tensors at once: a loop spends its time on starting small kernels.
        torch._foreach_mul_(mine, momentum)
        torch._foreach_add_(mine, theirs, alpha=1 - momentum)
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(other)
