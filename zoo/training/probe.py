"""Train a head on features in memory, at the learning rate and weight decay that held-out training videos prefer."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.seeds import seed_of
from zoo.training.features import FeatureBank
from zoo.training.learners import batches_of, train_head, train_heads
from zoo.training.log import OnStep, Row, steps_shown
from zoo.training.module import NonFiniteError
from zoo.training.predictions import MEAN, SOFTMAX, Predictions, ViewScores, count_views, merge
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

EPSILON = 1e-6  # deviation below which targets count as constant

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
        judged_by: what these numbers are: "accuracy", or "mse" for a regression, where less is better.
    """

    head: Head
    lr: float
    held_out_accuracy: dict[float, float]
    curves: list[Row]
    weight_decay: float
    tried: dict[Trial, float]
    judged_by: str = "accuracy"

    def details(self) -> dict[str, float | int | str]:
        """What was chosen, and why, as plain values."""
        chosen: dict[str, float | int | str] = {"lr": self.lr, "steps": len(self.curves)}
        name = f"held_out_{self.judged_by}"
        if len({trial.weight_decay for trial in self.tried}) < 2:
            return chosen | {f"{name}_lr_{lr:g}": value for lr, value in self.held_out_accuracy.items()}
        chosen["weight_decay"] = self.weight_decay
        return chosen | {
            f"{name}_lr_{trial.lr:g}_wd_{trial.weight_decay:g}": value for trial, value in self.tried.items()
        }


class FewVideosError(ValueError):
    """A training list that is too short to hold anything out; the message says what would be right."""


def split(bank: FeatureBank, held_out: float, seed: int) -> tuple[FeatureBank, FeatureBank]:
    """Two banks with different videos; all views of a video are on one side.

    Args:
        bank: features of the training list.
        held_out: share of the videos in the second bank.
        seed: of the choice.

    Raises:
        FewVideosError: when a side would be empty.
    """
    videos = bank.rows.unique()
    order = torch.randperm(len(videos), generator=torch.Generator().manual_seed(seed_of(seed, "held out")))
    count = round(held_out * len(videos))
    if not 0 < count < len(videos):
        raise FewVideosError(
            f"holding out {held_out:g} of {len(videos)} videos leaves a side empty; with one learning rate and one "
            "weight decay there is nothing to choose, and nothing is held out"
        )
    held = torch.isin(bank.rows, videos[order[:count]])
    return bank.select((~held).nonzero()[:, 0]), bank.select(held.nonzero()[:, 0])


@torch.no_grad()
def score(head: nn.Module, bank: FeatureBank, *, batch_size: int) -> ViewScores:
    """Scores of every view, before softmax."""
    weights = itertools.chain(head.parameters(), head.buffers())
    device = next((it.device.type for it in weights), bank.tokens.device.type)
    parts = torch.arange(len(bank)).split(batch_size)
    scores = torch.cat([head(bank.features(views, device)).float().cpu() for views in parts])
    views = count_views(bank.rows) if bank.views is None else bank.views
    return ViewScores(scores, bank.labels, bank.rows, views, bank.targets, bank.failed)


def predict(head: nn.Module, bank: FeatureBank, *, batch_size: int) -> Predictions:
    """Probabilities or values per video, the mean over its views; windows of long videos need not be equally many."""
    counts, rule = Counter(bank.rows.tolist()), SOFTMAX if bank.targets is None else MEAN
    return merge(score(head, bank, batch_size=batch_size), rule=rule, num_views=1, windows=counts)


def probe(
    make_head: Callable[[], Head],
    bank: FeatureBank,
    recipe: ProbeRecipe,
    *,
    seed: int,
    on_step: OnStep | None = None,
    progress: bool = False,
    device: str = "cpu",
) -> Probe[Head]:
    """Choose learning rate and weight decay on held-out training videos, then train on all of them.

    All candidates are trained in one pass over the features. V-JEPA 2 reports the head that is best on the evaluation
    set itself, which flatters it; here that set is not looked at.

    A bank with targets is a regression: heads have one output, in a layer called `linear`, and learn targets of mean 0
    and deviation 1; the layer is changed afterwards to give the values themselves.

    Args:
        make_head: builds an untrained head; called after torch's global generator was seeded.
        bank: features of the training list; of several segments or levels, see `FeatureBank.across_segments` and
            `zoo.training.features.extract`.
        recipe: every number.
        seed: of weights, order and the held-out videos.
        on_step: called with the step and its values, during the final training.
        progress: show bars.
        device: where heads learn, and where the trained one is left; features stay where they are until their turn.

    Raises:
        NonFiniteError: when no candidate, or not the chosen one, stays finite.
    """
    scale = _Scale.of(bank)
    bank = scale.applied(bank)
    with torch.random.fork_rng():
        best, scores = _choose(make_head, bank, recipe, seed=seed, progress=progress, device=device)
        head = seeded(make_head, seed).to(device)
        with steps_shown("training the head", recipe.steps, show=progress) as shown:
            told = shown if on_step is None else on_step
            (final,) = train_heads([head], bank, recipe, trials=[best], seed=seed, on_step=told)
    scale.undo(head)
    tried = {trial: scale.told(score) for trial, score in scores.items()}
    return Probe(
        head=head,
        lr=best.lr,
        weight_decay=best.weight_decay,
        held_out_accuracy=per_rate(tried, least=scale.std is not None),
        tried=tried,
        curves=final,
        judged_by="accuracy" if scale.std is None else "mse",
    )


def _choose(
    make_head: Callable[[], nn.Module],
    bank: FeatureBank,
    recipe: ProbeRecipe,
    *,
    seed: int,
    progress: bool,
    device: str,
) -> tuple[Trial, dict[Trial, "Score"]]:
    """The best of a recipe's candidates, and how each did on held-out videos; nothing where there is no choice.

    Raises:
        NonFiniteError: when no candidate stays finite.
    """
    trials = recipe.trials()
    if len(trials) == 1:
        return trials[0], {}
    inner, held = split(bank, recipe.held_out, seed)
    heads = [seeded(make_head, seed).to(device) for _ in trials]
    with steps_shown(f"trying {len(trials)} heads", recipe.steps, show=progress) as shown:
        curves = train_heads(heads, inner, recipe, trials=trials, seed=seed, on_step=shown)
    scores = {
        trial: judge(head, held, recipe.batch_size) if len(curve) == recipe.steps else FAILED
        for trial, head, curve in zip(trials, heads, curves, strict=True)
    }
    finished = {trial: score for trial, score in scores.items() if math.isfinite(score.loss)}
    if not finished:
        raise NonFiniteError(recipe.steps, ["loss of every candidate"], held.rows.tolist())
    # Held-out sets are small and accuracies often equal; the surer answers decide then.
    return max(finished, key=lambda trial: (finished[trial].accuracy, -finished[trial].loss)), scores


class Score(NamedTuple):
    """How a head did on held-out videos.

    Attributes:
        accuracy: share of right answers; 0 for a regression.
        loss: log loss, or mean squared error of scaled values.
    """

    accuracy: float
    loss: float


class _Scale(NamedTuple):
    """Mean and deviation of the targets of a regression; None for classes."""

    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def of(cls, bank: FeatureBank) -> "_Scale":
        """The scale of a bank."""
        if bank.targets is None:
            return cls()
        return cls(bank.targets.mean(), bank.targets.std(correction=0).clamp(min=EPSILON))

    def applied(self, bank: FeatureBank) -> FeatureBank:
        """A bank with scaled targets."""
        if bank.targets is None or self.mean is None or self.std is None:
            return bank
        return replace(bank, targets=(bank.targets - self.mean) / self.std)

    def told(self, score: Score) -> float:
        """The accuracy; for a regression the squared error of the values as they are."""
        return score.accuracy if self.std is None else score.loss * self.std.item() ** 2

    @torch.no_grad()
    def undo(self, head: nn.Module) -> None:
        """Let a head that learned scaled values give the values themselves."""
        if self.mean is None or self.std is None:
            return
        head.get_parameter("linear.weight").mul_(self.std)
        head.get_parameter("linear.bias").mul_(self.std).add_(self.mean)


FAILED = Score(math.nan, math.nan)


def judge(head: nn.Module, held: FeatureBank, batch_size: int) -> Score:
    """Accuracy and log loss of the videos' mean probabilities; squared error of their mean values."""
    found = predict(head, held, batch_size=batch_size)
    if found.targets is not None:
        return Score(0.0, F.mse_loss(found.probabilities[:, 0], found.targets).item())
    accuracy = (found.probabilities.argmax(1) == found.labels).float().mean().item()
    return Score(accuracy, F.nll_loss(found.probabilities.clamp(min=1e-12).log(), found.labels).item())


def per_rate(tried: dict[Trial, float], *, least: bool = False) -> dict[float, float]:
    """The best accuracy of each learning rate, or the least error; NaN only where nothing else is known."""
    best: dict[float, float] = {}
    for trial, value in tried.items():
        known, better = best.get(trial.lr, math.nan), min if least else max
        best[trial.lr] = value if math.isnan(known) else known if math.isnan(value) else better(known, value)
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
