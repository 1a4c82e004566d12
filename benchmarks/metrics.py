"""Accuracies with intervals, paired tests and confusion, from predictions per video.

Arrays of correctness have one row per training seed and one column per test video, in the same order for all systems.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import stats

from benchmarks.results import Interval

RESAMPLES = 4000
PERMUTATIONS = 20_000
CONFIDENCE = 0.95


def correct(
    probabilities: Float[np.ndarray, "videos classes"], labels: Integer[np.ndarray, "videos"]
) -> Bool[np.ndarray, "videos"]:
    """Whether the most probable class of each video is the true one."""
    return probabilities.argmax(1) == labels


def accuracy(
    hits: Bool[np.ndarray, "seeds videos"],
    *,
    scenes: Integer[np.ndarray, "videos"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Share of right answers, averaged over seeds, with a 95 % bootstrap interval.

    Videos are drawn with replacement, those of one scene together, because they are not independent samples. With
    several training seeds these are drawn with replacement too (independently of the videos), so the interval then
    covers both the choice of test videos and the training run. With one seed it says nothing about another training
    run.

    Args:
        hits: right answers.
        scenes: which scene each video shows; None where every video is its own.
        seed: of the resampling.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: without any video.
    """
    low, high = np.quantile(_resampled(hits.astype(np.float64), scenes, seed, resamples), _TAILS)
    return Interval(float(hits.mean()), float(low), float(high))


_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


def _by_scene(
    values: Float[np.ndarray, "seeds videos"], scenes: Integer[np.ndarray, "videos"] | None
) -> tuple[Float[np.ndarray, "seeds scenes"], Float[np.ndarray, "scenes"]]:
    """Sum of the values of each scene, and its number of videos."""
    if scenes is None:
        return values, np.ones(values.shape[1])
    _, index = np.unique(scenes, return_inverse=True)
    member = np.zeros((values.shape[1], index.max(initial=-1) + 1))
    member[np.arange(values.shape[1]), index] = 1.0
    return values @ member, member.sum(0)


def _resampled(
    values: Float[np.ndarray, "seeds videos"], scenes: Integer[np.ndarray, "videos"] | None, seed: int, resamples: int
) -> Float[np.ndarray, "resamples"]:
    """Bootstrap distribution of the mean over seeds and videos."""
    if not values.size:
        raise ValueError("no video was scored, so there is no accuracy")
    sums, sizes = _by_scene(values, scenes)
    # Counts instead of indices: one matrix product gives every resampled mean.
    counts = _counts(len(sizes), resamples, seed, "videos")
    per_seed = counts @ sums.T / (counts @ sizes)[:, None]
    if len(values) == 1:
        return per_seed[:, 0]
    return (per_seed * _counts(len(values), resamples, seed, "seeds")).sum(1) / len(values)


@lru_cache(maxsize=8)
def _counts(num: int, resamples: int, seed: int, what: str) -> Float[np.ndarray, "resamples num"]:
    """How often each of `num` things is drawn in each bootstrap sample; every system sees the same draws."""
    rng = np.random.default_rng([seed, len(what)])
    return rng.multinomial(num, np.full(num, 1 / num), size=resamples).astype(np.float64)


class Comparison(NamedTuple):
    """Paired comparison of two systems on the same videos.

    Attributes:
        difference: accuracy of the first minus the second, with its 95 % paired bootstrap interval.
        p_value: two-sided.
        test: how the p-value was found: "exact McNemar" (one seed, one video per scene) or "sign flips".
        first_only: answers that only the first got right, over all seeds.
        second_only: likewise.
    """

    difference: Interval
    p_value: float
    test: str
    first_only: int
    second_only: int


def compare(
    first: Bool[np.ndarray, "seeds videos"],
    second: Bool[np.ndarray, "_ _"],
    *,
    scenes: Integer[np.ndarray, "videos"] | None = None,
    seed: int = 0,
) -> Comparison:
    """Paired test of two systems.

    With one seed and one video per scene: McNemar's exact test, binomial on the videos that one of the two gets right.
    Otherwise answers to one scene are not independent, so the scene is the unit: a random sign-flip test on the
    difference of right answers per scene, which is McNemar's exact test when each scene has one answer.

    Args:
        first: right answers of one system.
        second: of the other, on the same videos under the same seeds.
        scenes: which scene each video shows; None where every video is its own.
        seed: of the resampling.

    Raises:
        ValueError: when the two were not scored on equally many seeds and videos.
    """
    if first.shape != second.shape:
        raise ValueError(f"paired systems need the same seeds and videos, not {first.shape} and {second.shape}")
    difference = first.astype(np.float64) - second.astype(np.float64)
    low, high = np.quantile(_resampled(difference, scenes, seed, RESAMPLES), _TAILS)
    first_only, second_only = int((difference > 0).sum()), int((difference < 0).sum())
    per_scene, sizes = _by_scene(difference, scenes)
    if len(first) == 1 and sizes.max(initial=0) == 1:
        p_value, test = exact_mcnemar(first_only, second_only), "exact McNemar"
    else:
        p_value, test = _sign_flips(per_scene.sum(0), seed), "sign flips"
    return Comparison(
        Interval(float(difference.mean()), float(low), float(high)), p_value, test, first_only, second_only
    )


def exact_mcnemar(first_only: int, second_only: int) -> float:
    """Two-sided exact p-value from the two counts of discordant videos."""
    if first_only + second_only == 0:
        return 1.0
    return float(stats.binomtest(first_only, first_only + second_only, 0.5).pvalue)


def _sign_flips(difference: Float[np.ndarray, "scenes"], seed: int) -> float:
    """Share of random sign patterns at least as far from zero, the observed one counted: never exactly 0."""
    nonzero = difference[difference != 0]
    if not len(nonzero):
        return 1.0
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), size=(PERMUTATIONS, len(nonzero)))
    extreme = np.abs(signs @ nonzero) >= abs(nonzero.sum()) - 1e-9
    return float((extreme.sum() + 1) / (PERMUTATIONS + 1))


Key = TypeVar("Key")


def corrected(comparisons: Mapping[Key, Comparison]) -> dict[Key, Comparison]:
    """The same comparisons with p-values corrected for their number by Holm's method."""
    p_values = holm([comparison.p_value for comparison in comparisons.values()])
    return {key: one._replace(p_value=p) for (key, one), p in zip(comparisons.items(), p_values, strict=True)}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: reject in order of p, multiply by the number of tests that are left."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[int(index)] = largest
    return corrected


def confusion(
    predicted: Integer[np.ndarray, "answers"], labels: Integer[np.ndarray, "answers"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Counts of answers, rows true class, columns predicted class."""
    counts = np.bincount(labels.astype(np.int64) * num_classes + predicted, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)
