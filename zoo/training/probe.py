"""Train a head on features in memory, at the learning rate that held-out training videos prefer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.seeds import seed_of
from zoo.training.features import FeatureBank
from zoo.training.log import OnStep, Row
from zoo.training.module import NonFiniteError
from zoo.training.optim import CosineSchedule
from zoo.training.predictions import Predictions, merge_views

Head = TypeVar("Head", bound=nn.Module)


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
        if len(self.lrs) > 1 and not 0 < self.held_out < 1:
            raise ValueError(f"choosing between rates needs held-out videos; held_out is {self.held_out}")


@dataclass(frozen=True, kw_only=True)
class Probe(Generic[Head]):
    """A trained head.

    Attributes:
        head: the head, in evaluation mode.
        lr: chosen learning rate.
        held_out_accuracy: per rate, share of held-out videos that were right; empty when there was no choice.
        curves: loss of each step of the final training.
    """

    head: Head
    lr: float
    held_out_accuracy: dict[float, float]
    curves: list[Row]

    def details(self) -> dict[str, float | int | str]:
        """What was chosen, and why, as plain values."""
        tried = {f"held_out_accuracy_lr_{lr:g}": accuracy for lr, accuracy in self.held_out_accuracy.items()}
        return {"lr": self.lr, "steps": len(self.curves), **tried}


def split(bank: FeatureBank, held_out: float, seed: int) -> tuple[FeatureBank, FeatureBank]:
    """Two banks with different videos; all views of a video are on one side.

    Args:
        bank: features of the training list.
        held_out: share of the videos in the second bank.
        seed: of the choice.

    Raises:
        ValueError: when a side would be empty.
    """
    videos = bank.rows.unique()
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(seed_of(seed, "held out")))
    count = round(held_out * len(videos))
    if not 0 < count < len(videos):
        raise ValueError(f"holding out {held_out:g} of {len(videos)} videos leaves a side empty")
    held = torch.isin(bank.rows, videos[order[:count]])
    return bank.select((~held).nonzero()[:, 0]), bank.select(held.nonzero()[:, 0])


def train_head(
    head: nn.Module, bank: FeatureBank, recipe: ProbeRecipe, *, lr: float, seed: int, on_step: OnStep | None = None
) -> list[Row]:
    """Train a head with cross entropy; returns the loss of each step.

    Raises:
        NonFiniteError: when the loss is not finite.
    """
    device = next(head.parameters()).device.type
    schedule = CosineSchedule(peak=lr, steps=recipe.steps, warmup_steps=recipe.warmup_steps)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in head.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in head.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=device in ("cpu", "cuda"))
    curves: list[Row] = []
    head.train()
    for step, views in enumerate(batches_of(len(bank), recipe, seed)):
        for group in optimizer.param_groups:
            group["lr"] = schedule(step)
        loss = F.cross_entropy(head(bank.features(views, device)), bank.labels[views].to(device))
        if not torch.isfinite(loss):
            raise NonFiniteError(step + 1, ["loss"], bank.rows[views].tolist())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curves.append({"step": step + 1, "loss": loss.item(), "lr": schedule(step)})
        if on_step is not None:
            on_step(step + 1, curves[-1])
    head.eval()
    return curves


def batches_of(count: int, recipe: ProbeRecipe, seed: int) -> Sequence[Tensor]:
    """Views of each step: one permutation of all views after the other, cut into batches."""
    generator = torch.Generator().manual_seed(seed_of(seed, "order"))
    wanted, order = recipe.steps * recipe.batch_size, torch.empty(0, dtype=torch.int64)
    while len(order) < wanted:
        order = torch.cat([order, torch.randperm(count, generator=generator)])
    return order[:wanted].split(recipe.batch_size)


@torch.no_grad()
def predict(head: nn.Module, bank: FeatureBank, *, batch_size: int, num_views: int | None = None) -> Predictions:
    """Probabilities per video, the mean over its views."""
    device = next((p.device.type for p in head.parameters()), bank.tokens.device.type)
    parts = torch.arange(len(bank)).split(batch_size)
    scores = torch.cat([head(bank.features(views, device)).float().softmax(1).cpu() for views in parts])
    return merge_views(scores, bank.labels, bank.rows, num_views=num_views)


def probe(
    make_head: Callable[[], Head], bank: FeatureBank, recipe: ProbeRecipe, *, seed: int, on_step: OnStep | None = None
) -> Probe[Head]:
    """Choose the learning rate on held-out training videos, then train on all of them.

    Args:
        make_head: builds an untrained head; called after torch's global generator was seeded.
        bank: features of the training list.
        recipe: every number.
        seed: of weights, order and the held-out videos.
        on_step: called with the step and its values, during the final training.
    """
    accuracy: dict[float, float] = {}
    loss: dict[float, float] = {}
    with torch.random.fork_rng():
        if len(recipe.lrs) > 1:
            inner, held = split(bank, recipe.held_out, seed)
            for lr in recipe.lrs:
                head = seeded(make_head, seed)
                train_head(head, inner, recipe, lr=lr, seed=seed)
                found = predict(head, held, batch_size=recipe.batch_size)
                accuracy[lr] = (found.probabilities.argmax(1) == found.labels).float().mean().item()
                loss[lr] = F.nll_loss(found.probabilities.clamp(min=1e-12).log(), found.labels).item()
        # Held-out sets are small and accuracies often equal; the surer answers decide then.
        best = max(recipe.lrs, key=lambda lr: (accuracy.get(lr, 0.0), -loss.get(lr, 0.0)))
        head = seeded(make_head, seed)
        curves = train_head(head, bank, recipe, lr=best, seed=seed, on_step=on_step)
    return Probe(head=head, lr=best, held_out_accuracy=accuracy, curves=curves)


@torch.no_grad()
def fold_standardization(linear: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Let a linear layer that was trained on (x - mean) / std give the same answers for x."""
    weight = linear.get_parameter("weight").div_(std)
    linear.get_parameter("bias").sub_(weight @ mean)


def seeded(make_head: Callable[[], Head], seed: int) -> Head:
    """A new head with the weights of a seed."""
    torch.default_generator.manual_seed(seed_of(seed, "head"))
    return make_head()
