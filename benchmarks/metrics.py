"""Accuracies with intervals, paired tests and confusion, from predictions per video.

Arrays of correctness have one row per training seed and one column per test video, in the same order for all systems.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Integer
from scipy import sparse, stats

from benchmarks.results import Interval

RESAMPLES = 4000
PERMUTATIONS = 20_000
CELLS = 1 << 24  # of a matrix of draws that is kept in memory
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


def over_repeats(values: Sequence[float]) -> Interval:
    """Mean of a share over repeats of an experiment, such as low-shot splits, with Student's 95 % interval.

    Args:
        values: the share in each repeat, 0-1; of a single one the interval is the value.
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, mean, mean)
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


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
    draws = _draws(len(sizes), resamples, seed)
    return _over_seeds(np.concatenate([counts @ sums.T / (counts @ sizes)[:, None] for counts in draws]), seed)


def _over_seeds(per_seed: Float[np.ndarray, "resamples seeds"], seed: int) -> Float[np.ndarray, "resamples"]:
    """Mean over training seeds, which are drawn with replacement too where there are several."""
    resamples, seeds = per_seed.shape
    if seeds == 1:
        return per_seed[:, 0]
    return (per_seed * _counts(seeds, resamples, seed, "seeds")).sum(1) / seeds


def _draws(num: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "some num"]]:
    """How often each video is drawn in each bootstrap sample, a part of the samples at a time for long lists."""
    if num * resamples <= CELLS:
        yield _counts(num, resamples, seed, "videos")
        return
    rng, left = np.random.default_rng([seed, num]), resamples
    while left:
        some = min(left, max(1, CELLS // num))
        yield np.stack([np.bincount(rng.integers(num, size=num), minlength=num) for _ in range(some)]).astype(
            np.float64
        )
        left -= some


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


def in_top(
    probabilities: Float[np.ndarray, "videos classes"], labels: Integer[np.ndarray, "videos"], k: int
) -> Bool[np.ndarray, "videos"]:
    """Whether the true class of each video is among the k most probable ones; of equal ones the first counts more."""
    own = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), 1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    return ((probabilities > own) | ((probabilities == own) & earlier)).sum(1) < k


def class_mean(
    hits: Bool[np.ndarray, "seeds videos"],
    labels: Integer[np.ndarray, "videos"],
    *,
    scenes: Integer[np.ndarray, "videos"] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Share of right answers of each class that occurs, averaged over these classes and over seeds.

    torchmetrics' macro averages also count classes without any video, as 0, once one is predicted. With answers of
    `in_top(..., k=5)` this is V-JEPA 2's class-mean recall at 5.

    Args:
        hits: right answers.
        labels: true classes.
        scenes: which scene each video shows; None where every video is its own.
        seed: of the resampling; a class that a sample lacks is left out of its mean.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: without any video.
    """
    if not hits.size:
        raise ValueError("no video was scored, so there is no accuracy")
    distribution = np.stack(
        [
            np.concatenate([np.nanmean(part, 1) for part in _class_ratios(one, labels, scenes, seed, resamples)])
            for one in hits
        ],
        1,
    )
    low, high = np.quantile(_over_seeds(distribution, seed), _TAILS)
    return Interval(_mean_of_classes(hits, labels), float(low), float(high))


def _mean_of_classes(hits: Bool[np.ndarray, "seeds videos"], labels: Integer[np.ndarray, "videos"]) -> float:
    return float(np.mean([hits[:, labels == label].mean() for label in np.unique(labels)]))


def per_class(
    hits: Bool[np.ndarray, "videos"],
    labels: Integer[np.ndarray, "videos"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES // 4,
) -> dict[int, Interval]:
    """Share of right answers of each class that occurs, with a 95 % bootstrap interval.

    Args:
        hits: right answers.
        labels: true classes.
        seed: of the resampling.
        resamples: number of bootstrap samples; classes are small, and a quarter of the usual number is enough.
    """
    classes = np.unique(labels)
    samples = np.concatenate(list(_class_ratios(hits, labels, None, seed, resamples)))
    found = {}
    for place, label in enumerate(classes):
        column = samples[:, place]
        low, high = np.quantile(column[~np.isnan(column)], _TAILS)
        found[int(label)] = Interval(float(hits[labels == label].mean()), float(low), float(high))
    return found


def _class_ratios(
    hits: Bool[np.ndarray, "videos"],
    labels: Integer[np.ndarray, "videos"],
    scenes: Integer[np.ndarray, "videos"] | None,
    seed: int,
    resamples: int,
) -> Iterator[Float[np.ndarray, "some classes"]]:
    """Share of right answers per class that occurs, in each bootstrap sample; NaN where a sample lacks the class."""
    _, columns = np.unique(labels, return_inverse=True)
    units = np.arange(len(labels)) if scenes is None else np.unique(scenes, return_inverse=True)[1]
    shape = (int(units.max()) + 1, int(columns.max()) + 1)
    right = sparse.csr_matrix((hits.astype(np.float64), (units, columns)), shape)
    size = sparse.csr_matrix((np.ones(len(labels)), (units, columns)), shape)
    for counts in _draws(shape[0], resamples, seed):
        drawn = counts @ size
        yield np.divide(counts @ right, drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)


def squared_error(
    values: Float[np.ndarray, "seeds videos"],
    targets: Float[np.ndarray, "videos"],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean squared error, averaged over seeds, with a 95 % bootstrap interval over videos and seeds.

    Raises:
        ValueError: without any video.
    """
    errors = (values.astype(np.float64) - targets) ** 2
    low, high = np.quantile(_resampled(errors, None, seed, resamples), _TAILS)
    return Interval(float(errors.mean()), float(low), float(high))


def headline(
    metric: str,
    hits: Bool[np.ndarray, "seeds videos"],
    labels: Integer[np.ndarray, "videos"],
    *,
    scenes: Integer[np.ndarray, "videos"] | None = None,
) -> Interval:
    """The metric that a task of classes is about, averaged over seeds.

    Args:
        metric: "top1", "mean_class" or "recall5".
        hits: answers that count as right, see `hits_of`.
        labels: true classes.
        scenes: which scene each video shows.
    """
    return accuracy(hits, scenes=scenes) if metric == "top1" else class_mean(hits, labels, scenes=scenes)


def estimate(metric: str, hits: Bool[np.ndarray, "seeds videos"], labels: Integer[np.ndarray, "videos"]) -> float:
    """The value of `headline` without its interval."""
    return float(hits.mean()) if metric == "top1" else _mean_of_classes(hits, labels)


def hits_of(
    metric: str, probabilities: Float[np.ndarray, "videos classes"], labels: Integer[np.ndarray, "videos"]
) -> Bool[np.ndarray, "videos"]:
    """Which answers a task's metric counts as right: the most probable class, or one of the five for "recall5"."""
    return in_top(probabilities, labels, 5) if metric == "recall5" else correct(probabilities, labels)


def of_classes(
    probabilities: Float[np.ndarray, "videos classes"],
    labels: Integer[np.ndarray, "videos"],
    *,
    headline: str = "top1",
    scenes: Integer[np.ndarray, "videos"] | None = None,
) -> dict[str, Interval]:
    """All metrics of a classification, the headline first.

    They are "top1" and "top5" over videos, "mean_class" and "recall5" over classes. Those among the five most probable
    classes are left out where there are no more than five.
    """
    first = correct(probabilities, labels)[None]
    found = {
        "top1": accuracy(first, scenes=scenes),
        "mean_class": class_mean(first, labels, scenes=scenes),
    }
    if probabilities.shape[1] > 5:
        five = in_top(probabilities, labels, 5)[None]
        found |= {"top5": accuracy(five, scenes=scenes), "recall5": class_mean(five, labels, scenes=scenes)}
    return {name: found[name] for name in sorted(found, key=lambda name: name != headline)}
