"""Heads that learn side by side from one pass over features, classes by cross entropy, values by squared error."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Features
from zoo.seeds import seed_of
from zoo.training.features import FeatureBank
from zoo.training.log import OnStep, Row
from zoo.training.module import NonFiniteError
from zoo.training.optim import CosineSchedule
from zoo.training.probe_recipe import ProbeRecipe, Trial


class Learner:
    """A head in training with its optimiser.

    Args:
        head: the head.
        recipe: of all heads.
        trial: learning rate and weight decay of this one.
        device: where it is.

    Attributes:
        curves: values of every step so far.
    """

    def __init__(self, head: nn.Module, recipe: ProbeRecipe, trial: Trial, device: str) -> None:
        self.head, self.recipe, self.trial = head.train(), recipe, trial
        self.schedule = CosineSchedule(peak=trial.lr, steps=recipe.steps, warmup_steps=recipe.warmup_steps)
        groups = recipe.groups(head, trial)
        self.optimizer = torch.optim.AdamW(groups, lr=trial.lr, fused=device in ("cpu", "cuda"))
        self.curves: list[Row] = []

    def step(self, step: int, features: Features, answers: Tensor) -> bool:
        """One optimiser step, counted from 0; False, and no step, when the loss is not finite.

        Args:
            step: its number.
            features: of some views.
            answers: classes, or values for a head with one output.
        """
        lr, decay = self.schedule(step), self.recipe.decay_of(self.trial, step)
        for place, group in enumerate(self.optimizer.param_groups):
            group["lr"] = lr
            group["weight_decay"] = decay if place == 0 else 0.0
        loss = loss_of(self.head(features), answers)
        if not torch.isfinite(loss):
            return False
        self.optimizer.zero_grad()
        loss.backward()
        self.recipe.clip(self.head)
        self.optimizer.step()
        self.curves.append({"step": step + 1, "loss": loss.item(), "lr": lr})
        return True


def loss_of(scores: Float[Tensor, "views outputs"], answers: Tensor) -> Float[Tensor, ""]:
    """Cross entropy of classes, mean squared error of values."""
    return F.mse_loss(scores[:, 0], answers) if answers.is_floating_point() else F.cross_entropy(scores, answers)


def train_head(
    head: nn.Module, bank: FeatureBank, recipe: ProbeRecipe, *, lr: float, seed: int, on_step: OnStep | None = None
) -> list[Row]:
    """Train a head at the recipe's weight decay; returns the loss of each step.

    Raises:
        NonFiniteError: when the loss is not finite.
    """
    trial = Trial(lr, recipe.weight_decay)
    return train_heads([head], bank, recipe, trials=[trial], seed=seed, on_step=on_step)[0]


def train_heads(
    heads: Sequence[nn.Module],
    bank: FeatureBank,
    recipe: ProbeRecipe,
    *,
    trials: Sequence[Trial],
    seed: int,
    on_step: OnStep | None = None,
) -> list[list[Row]]:
    """Train several heads in one pass over the features; each ends as if it were alone.

    A head whose loss is not finite is left behind; its curve is shorter than the others.

    Args:
        heads: untrained heads.
        bank: what all of them learn from.
        recipe: every other number.
        trials: learning rate and weight decay of each head.
        seed: of the order of the views.
        on_step: called with the step and the values of the first head that is left.

    Returns:
        The loss of each step, for each head.

    Raises:
        NonFiniteError: when no head is left.
    """
    device = next(heads[0].parameters()).device.type
    answers = bank.labels if bank.targets is None else bank.targets
    learners = [Learner(head, recipe, trial, device) for head, trial in zip(heads, trials, strict=True)]
    for step, views in enumerate(batches_of(len(bank), recipe, seed)):
        features, wanted = bank.features(views, device), answers[views].to(device)
        learning = [learner for learner in learners if len(learner.curves) == step]
        alive = [learner for learner in learning if learner.step(step, features, wanted)]
        if not alive:
            raise NonFiniteError(step + 1, ["loss"], bank.rows[views].tolist())
        if on_step is not None:
            on_step(step + 1, alive[0].curves[-1])
    for head in heads:
        head.eval()
    return [learner.curves for learner in learners]


def batches_of(count: int, recipe: ProbeRecipe, seed: int) -> Sequence[Tensor]:
    """Views of each step: one permutation of all views after the other, cut into batches."""
    generator = torch.Generator().manual_seed(seed_of(seed, "order"))
    wanted, order = recipe.steps * recipe.batch_size, torch.empty(0, dtype=torch.int64)
    while len(order) < wanted:
        order = torch.cat([order, torch.randperm(count, generator=generator)])
    return order[:wanted].split(recipe.batch_size)
