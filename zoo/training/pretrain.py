"""Pretraining with any objective."""

import hashlib
from typing import Any

import torch
from torch import nn

from backbones.contract import Backbone
from zoo.batch import Batch
from zoo.objectives.contract import Loss, Objective
from zoo.recipes.recipe import Recipe
from zoo.training.module import TrainingModule


class Pretrain(TrainingModule):
    """Trains an objective; `objective.student` is what is exported.

    Args:
        objective: what is learned. Its generator is seeded before every batch.
        recipe: every number of the run.
        seed: of all random draws of the run.

    Attributes:
        takes_parts: whether the objective may have several parts.

    Raises:
        ValueError: for an objective of several parts; `zoo.training.parts` trains those.
    """

    takes_parts = False

    def __init__(self, objective: Objective, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__(recipe, seed=seed)
        if objective.parts and not self.takes_parts:
            raise ValueError(
                f"the objective has the parts {objective.parts}; train it by pretrainer(objective, recipe)"
            )
        self.objective = objective
        self.outside = {name: fingerprint(part) for name, part in objective.outside.items()}
        self.backbone.set_grad_checkpointing(recipe.checkpointed_blocks)

    @property
    def backbone(self) -> Backbone:
        """The student."""
        return self.objective.student

    def reseed(self, seed: int) -> None:
        """Seed the objective's generator, from which masks are drawn."""
        self.objective.generator.manual_seed(seed)

    def loss(self, batch: Batch) -> Loss:
        """The objective's loss."""
        loss: Loss = self.objective(batch)
        return loss

    def after_step(self, step: int) -> None:
        """Let the objective move its averaged copies and temperatures."""
        self.objective.after_step(step)

    def identity(self) -> dict[str, Any]:
        """Recipe, seed, and which frozen networks the objective looks at: a run goes on with the same teacher only."""
        return {**super().identity(), **({"outside": self.outside} if self.outside else {})}


def fingerprint(part: nn.Module) -> str:
    """Class of a frozen network, and the start of the SHA-256 of its weights."""
    total = hashlib.sha256()
    tensors = {name: it for name, it in part.state_dict().items() if isinstance(it, torch.Tensor)}
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return f"{type(part).__name__} {total.hexdigest()[:16]}"
