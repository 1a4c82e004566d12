"""Pretraining with adversarial objectives, whose parts are trained against each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from zoo.batch import Batch
from zoo.objectives.contract import Loss, Objective
from zoo.recipes.recipe import Recipe
from zoo.training.optim import adamw
from zoo.training.pretrain import Pretrain


class PretrainParts(Pretrain):
    """Trains an objective of several parts, each on every batch.

    All losses and gradients of a batch are computed before any part is stepped, so that a step which meets NaN leaves
    all weights good. Learning rate, decay and clipping are the recipe's for every part.

    Args:
        objective: has `parts`.
        recipe: every number of the run. One batch per step; no averaged weights, because the objective keeps the
            average of the part that is exported; and no float16, whose scaled gradients would be those of a penalty on
            gradients too (bfloat16 is fine).
        seed: of all random draws of the run.

    Raises:
        ValueError: for an objective without parts, a part that is no submodule, a recipe of the excluded kinds, and
            trained parameters that are in no part or in two.
    """

    takes_parts = True

    def __init__(self, objective: Objective, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__(objective, recipe, seed=seed)
        self.automatic_optimization = False
        if not objective.parts:
            raise ValueError(f"{type(objective).__name__} has no parts; Pretrain trains it")
        refused = {
            f"accumulate={recipe.accumulate}": recipe.accumulate != 1,
            f"ema_decay={recipe.ema_decay}": recipe.ema_decay is not None,
            f"precision={recipe.precision!r}": recipe.precision == "16-mixed",
        }
        if wrong := [words for words, is_so in refused.items() if is_so]:
            raise ValueError(f"an objective of several parts is not trained with {', '.join(wrong)}")
        self.own = {part: self._parameters_of(part) for part in objective.parts}
        owned = sorted(id(parameter) for own in self.own.values() for parameter in own)
        if owned != sorted(id(parameter) for parameter in objective.parameters() if parameter.requires_grad):
            raise ValueError(f"each trained parameter must be in exactly one of the parts {objective.parts}")

    def _parameters_of(self, part: str) -> list[torch.nn.Parameter]:
        module = getattr(self.objective, part, None)
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"part {part!r} is no submodule of {type(self.objective).__name__}")
        return [parameter for parameter in module.parameters() if parameter.requires_grad]

    def identity(self) -> dict[str, Any]:
        """Also the frozen networks where there are none: a run goes on with the same losses only."""
        return {**super().identity(), "outside": self.outside, "parts": list(self.own)}

    def on_fit_start(self) -> None:
        """Refuse what would train wrongly.

        Raises:
            ValueError: over several processes, each of which would step on gradients of its own.
        """
        if self.trainer.world_size > 1:
            raise ValueError(
                f"an objective of several parts is trained by one process, not by {self.trainer.world_size}"
            )

    def configure_optimizers(self) -> Any:
        """AdamW for each part, over the recipe's groups."""
        placed = self.placements()
        chosen = [{id(parameter) for parameter in own} for own in self.own.values()]
        return [adamw([it for it in placed if id(it.parameter) in ids], self.recipe) for ids in chosen]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Step every part; gives the loss of the first.

        Raises:
            NonFiniteError: when a loss or a gradient is NaN or infinite, before any part is stepped.
        """
        self.begin(batch, batch_idx)
        step, optimizers, logs = self.global_step, self._optimizers(), dict[str, Tensor]()
        self.pending.append({})  # where each norm is put
        for part, optimizer in zip(self.own, optimizers, strict=True):
            logs |= self._differentiate(part, optimizer, batch)
        self.pending[-1] = logs
        rates = [self.set_rates(optimizer.optimizer) for optimizer in optimizers]
        for at, optimizer in enumerate(optimizers):
            # Lightning counts what is stepped through its own wrapper; the steps of one batch count once.
            (optimizer.optimizer if at else optimizer).step()
        self.after_step(step + 1)
        self.keep_logs(rates[0])
        return logs["loss"]

    def _optimizers(self) -> list[LightningOptimizer]:
        made = self.optimizers()
        return made if isinstance(made, list) else [made]

    def _differentiate(self, part: str, optimizer: LightningOptimizer, batch: Batch) -> dict[str, Tensor]:
        """Gradients of one part, clipped; what is to be logged of it, under its name but for the first part."""
        first = part == self.objective.parts[0]
        optimizer.zero_grad()
        with self._alone(part):
            loss: Loss = self.objective(batch, part=part)
            total = loss.total.detach()
            self.require_finite({"loss": total, **loss.logs}, batch)
            self.manual_backward(loss.total)
        self.configure_gradient_clipping(optimizer.optimizer)
        norm = self.pending[-1].pop("grad_norm")
        names = ("loss", "grad_norm") if first else (f"{part}_loss", f"{part}_grad_norm")
        return {names[0]: total, **loss.logs, names[1]: norm}

    @contextmanager
    def _alone(self, part: str) -> Iterator[None]:
        """Let gradients reach one part only."""
        others = [parameter for name, own in self.own.items() if name != part for parameter in own]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)


def pretrainer(objective: Objective, recipe: Recipe, *, seed: int = 0) -> Pretrain:
    """What trains an objective, with parts or without."""
    return (PretrainParts if objective.parts else Pretrain)(objective, recipe, seed=seed)
