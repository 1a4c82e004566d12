"""What an objective is: a plain nn.Module that turns a batch into a loss."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Backbone
from zoo.batch import Batch


class Loss(NamedTuple):
    """A scalar to minimise and the scalars worth logging (detached)."""

    total: Float[Tensor, ""]
    logs: dict[str, Tensor]


class Objective(nn.Module, ABC):
    """What a student learns from a batch of clips.

    Masks are drawn inside, from the grid, with `generator`, so the data module is the same for every objective. The
    training module seeds the generator before every batch from (seed, step, process), so a resumed run draws what the
    uninterrupted one would have drawn; an objective keeps no other source of randomness.

    Attributes:
        student: the backbone that is trained and exported.
        generator: source of all random draws; lives on the CPU.
    """

    student: Backbone

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """Loss of one batch."""

    def after_step(self, step: int) -> None:
        """Called after optimiser step `step` (from 1): EMA targets and temperatures move here."""
