"""Pretraining with any objective."""

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
    """

    def __init__(self, objective: Objective, recipe: Recipe, *, seed: int = 0) -> None:
        super().__init__(recipe, seed=seed)
        self.objective = objective
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
