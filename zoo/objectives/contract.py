"""What an objective is: a plain nn.Module that turns a batch into a loss."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Backbone
from zoo.batch import Batch


class Loss(NamedTuple):
    """A scalar to minimise and the scalars worth logging (detached).

    Every objective logs `blank_loss`: what its best guess without looking at the clip would give on this batch. One
    minus `loss / blank_loss` then says how much of what is predicted the network explains.
    """

    total: Float[Tensor, ""]
    logs: dict[str, Tensor]


def backbone_of(network: nn.Module, role: str) -> Backbone:
    """The network, if it is a backbone.

    Args:
        network: what somebody passed.
        role: what it was to be, "student" or "teacher".

    Raises:
        TypeError: for anything else, such as a whole model.
    """
    if not isinstance(network, Backbone):
        hint = "; give its .backbone" if hasattr(network, "backbone") else ""
        raise TypeError(f"the {role} is a {type(network).__name__}, not a backbone{hint}")
    return network


def checked_ratio(mask_ratio: float) -> float:
    """A fraction of tokens to drop.

    Raises:
        ValueError: when it does not lie between 0 and 1.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f"mask_ratio must lie between 0 and 1, not {mask_ratio}")
    return mask_ratio


class Picture(NamedTuple):
    """What an objective shows its student on some clips, and what comes out.

    Attributes:
        panels: name -> clips `[B, 3, T, H, W]` with pixels in 0-1, in the order to look at them.
        note: what they are, in a sentence or two, for a caption.
    """

    panels: dict[str, Tensor]
    note: str


class Steps(nn.Module):
    """Number of optimiser steps taken, for schedules inside an objective; part of its checkpoints.

    Attributes:
        taken: equal on all processes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def get_extra_state(self) -> Tensor:
        """The number, for the state dict."""
        return torch.tensor(self.taken)

    def set_extra_state(self, state: Any) -> None:
        """Inverse of `get_extra_state`."""
        self.taken = int(state)


class Objective(nn.Module, ABC):
    """What a student learns from a batch of clips.

    Masks are drawn inside, from the grid, with `generator`, so the data module is the same for every objective. The
    training module seeds the generator before every batch from (seed, step, process), so a resumed run draws what the
    uninterrupted one would have drawn; an objective keeps no other source of randomness.

    Attributes:
        student: the backbone that is trained and exported.
        generator: source of all random draws; lives on the CPU.
        outside: frozen networks (teachers, tokenizers) by name. They follow the objective from device to device, and
            are part of neither its parameters nor its state dict: optimiser, averaged weights and checkpoints never
            see them.
        parts: names of the submodules that are trained against each other, each by an optimiser of its own; `forward`
            then takes `part=` and gives the loss of that one. Empty for all objectives but adversarial ones.
    """

    student: Backbone
    parts: tuple[str, ...] = ()

    def __init__(self, outside: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        self.generator = torch.Generator()
        # In a dictionary of its own, so that Module does not register its values.
        self.outside = {name: part.eval().requires_grad_(False) for name, part in (outside or {}).items()}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for part in self.outside.values():
            part._apply(fn)
        return super()._apply(fn, recurse)

    @abstractmethod
    def forward(self, batch: Batch) -> Loss:
        """Loss of one batch."""

    @abstractmethod
    def picture(self, batch: Batch, pixels: Float[Tensor, "batch 3 frames height width"]) -> Picture:
        """What the student is shown of some clips and what is made of them.

        Args:
            batch: normalised clips. Masks are drawn with `generator`.
            pixels: the same clips in 0-1.
        """

    def after_step(self, step: int) -> None:
        """Called after optimiser step `step` (from 1): EMA targets and temperatures move here."""
