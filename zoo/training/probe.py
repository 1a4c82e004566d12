"""Train a head on features in memory, at the learning rate and weight decay that held-out training videos prefer."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.seeds import seed_of
from zoo.training.features import FeatureBank
from zoo.training.learners import batches_of, train_head, train_heads
from zoo.training.log import OnStep, Row
from zoo.training.module import NonFiniteError
from zoo.training.predictions import Predictions, ViewScores, count_views, merge
from zoo.training.probe_recipe import ProbeRecipe, SweepRecipe, Trial

__all__ = [
    "Probe",
    "ProbeRecipe",
    "SweepRecipe",
    "Trial",
    "batches_of",
    "fold_standardization",
    "predict",
    "probe",
    "score",
    "split",
    "train_head",
    "train_heads",
]

Head = TypeVar("Head", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Probe(Generic[Head]):
    """A trained head.

    Attributes:
        head: the head, in evaluation mode.
        lr: chosen learning rate.
        held_out_accuracy: per rate, share of held-out videos that were right, with the best weight decay; empty when
            there was no choice, NaN for a rate at which no training stayed finite.
        curves: loss of each step of the final training.
        weight_decay: chosen weight decay.
        tried: the same for each pair of rate and weight decay.
    """

    head: Head
    lr: float
    held_out_accuracy: dict[float, float]
    curves: list[Row]
    weight_decay: float
    tried: dict[Trial, float]

    def details(self) -> dict[str, float | int | str]:
        """What was chosen, and why, as plain values."""
        chosen: dict[str, float | int | str] = {"lr": self.lr, "steps": len(self.curves)}
        if len({trial.weight_decay for trial in self.tried}) < 2:
            return chosen | {f"held_out_accuracy_lr_{lr:g}": value for lr, value in self.held_out_accuracy.items()}
        chosen["weight_decay"] = self.weight_decay
        return chosen | {
            f"held_out_accuracy_lr_{trial.lr:g}_wd_{trial.weight_decay:g}": value for trial, value in self.tried.items()
        }


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


@torch.no_grad()
def score(head: nn.Module, bank: FeatureBank, *, batch_size: int) -> ViewScores:
    """Scores of every view, before softmax."""
    device = next((p.device.type for p in head.parameters()), bank.tokens.device.type)
    parts = torch.arange(len(bank)).split(batch_size)
    scores = torch.cat([head(bank.features(views, device)).float().cpu() for views in parts])
    views = count_views(bank.rows) if bank.views is None else bank.views
    return ViewScores(scores, bank.labels, bank.rows, views, failed=bank.failed)


def predict(head: nn.Module, bank: FeatureBank, *, batch_size: int) -> Predictions:
    """Probabilities per video, the mean over its views; windows of long videos need not be equally many."""
    counts = Counter(bank.rows.tolist())
    return merge(score(head, bank, batch_size=batch_size), num_views=1, windows=counts)


def probe(
    make_head: Callable[[], Head], bank: FeatureBank, recipe: ProbeRecipe, *, seed: int, on_step: OnStep | None = None
) -> Probe[Head]:
    """Choose learning rate and weight decay on held-out training videos, then train on all of them.

    All candidates are trained in one pass over the features. V-JEPA 2 reports the head that is best on the evaluation
    set itself, which flatters it; here that set is not looked at.

    Args:
        make_head: builds an untrained head; called after torch's global generator was seeded.
        bank: features of the training list; of several segments or levels, see `FeatureBank.across_segments` and
            `zoo.training.features.extract`.
        recipe: every number.
        seed: of weights, order and the held-out videos.
        on_step: called with the step and its values, during the final training.

    Raises:
        NonFiniteError: when no candidate, or not the chosen one, stays finite.
    """
    trials, tried = recipe.trials(), dict[Trial, float]()
    best = trials[0]
    with torch.random.fork_rng():
        if len(trials) > 1:
            inner, held = split(bank, recipe.held_out, seed)
            heads = [seeded(make_head, seed) for _ in trials]
            curves = train_heads(heads, inner, recipe, trials=trials, seed=seed)
            scores = [
                judge(head, held, recipe.batch_size) if len(curve) == recipe.steps else FAILED
                for head, curve in zip(heads, curves, strict=True)
            ]
            tried = {trial: score.accuracy for trial, score in zip(trials, scores, strict=True)}
            # Held-out sets are small and accuracies often equal; the surer answers decide then.
            finished = [pair for pair in zip(trials, scores, strict=True) if math.isfinite(pair[1].loss)]
            if not finished:
                raise NonFiniteError(recipe.steps, ["loss of every candidate"], held.rows.tolist())
            best = max(finished, key=lambda pair: (pair[1].accuracy, -pair[1].loss))[0]
        head = seeded(make_head, seed)
        (final,) = train_heads([head], bank, recipe, trials=[best], seed=seed, on_step=on_step)
    return Probe(
        head=head,
        lr=best.lr,
        weight_decay=best.weight_decay,
        held_out_accuracy=per_rate(tried),
        tried=tried,
        curves=final,
    )


class Score(NamedTuple):
    """How a head did on held-out videos."""

    accuracy: float
    loss: float


FAILED = Score(math.nan, math.nan)


def judge(head: nn.Module, held: FeatureBank, batch_size: int) -> Score:
    """Accuracy and log loss of the videos' mean probabilities."""
    found = predict(head, held, batch_size=batch_size)
    accuracy = (found.probabilities.argmax(1) == found.labels).float().mean().item()
    return Score(accuracy, F.nll_loss(found.probabilities.clamp(min=1e-12).log(), found.labels).item())


def per_rate(tried: dict[Trial, float]) -> dict[float, float]:
    """The best accuracy of each learning rate; NaN only where nothing else is known."""
    best: dict[float, float] = {}
    for trial, accuracy in tried.items():
        known = best.get(trial.lr, math.nan)
        best[trial.lr] = accuracy if math.isnan(known) else known if math.isnan(accuracy) else max(known, accuracy)
    return best


@torch.no_grad()
def fold_standardization(linear: nn.Module, mean: Tensor, std: Tensor) -> None:
    """Let a linear layer that was trained on (x - mean) / std give the same answers for x."""
    weight = linear.get_parameter("weight").div_(std)
    linear.get_parameter("bias").sub_(weight @ mean)


def seeded(make_head: Callable[[], Head], seed: int) -> Head:
    """A new head with the weights of a seed."""
    torch.default_generator.manual_seed(seed_of(seed, "head"))
    return make_head()
