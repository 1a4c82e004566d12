import numpy as np
import pytest
import torch
from scipy import stats
from torchmetrics.classification import MulticlassAccuracy, MulticlassRecall

from benchmarks import metrics
from benchmarks.metrics import accuracy, compare, confusion, correct, corrected, exact_mcnemar, holm


def hits(text: str) -> np.ndarray:
    return np.array([[letter == "x" for letter in row] for row in text.split()])


def test_accuracy_is_the_share_of_most_probable_classes_that_are_true():
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.1, 0.9]])
    np.testing.assert_array_equal(correct(probabilities, np.array([0, 0, 1])), [True, False, True])
    assert accuracy(hits("xx.x")).value == 0.75


def test_the_interval_covers_the_true_accuracy_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        sample = rng.random((1, 150)) < 0.7
        interval = accuracy(sample, seed=trial, resamples=400)
        covered += interval.low <= 0.7 <= interval.high
    # 95 % of 200 within three standard errors; a percentile bootstrap on 150 videos falls a little short of 95 %.
    assert 0.90 <= covered / 200 <= 0.98


def test_the_interval_agrees_with_the_binomial_one_for_one_seed():
    sample = np.arange(1000)[None] < 600
    interval = accuracy(sample)
    expected = stats.binomtest(600, 1000).proportion_ci(0.95, method="wilson")
    assert interval.low == pytest.approx(expected.low, abs=0.004)
    assert interval.high == pytest.approx(expected.high, abs=0.004)


def test_the_interval_repeats_itself_and_follows_its_seed():
    sample = hits("xxx..xx.x.x..xxxx.x.")
    assert accuracy(sample, seed=1) == accuracy(sample, seed=1)
    assert accuracy(np.repeat(sample, 20, 1), seed=1) != accuracy(np.repeat(sample, 20, 1), seed=2)


def test_seeds_that_disagree_widen_the_interval():
    agreeing = np.tile(np.arange(200) < 100, (3, 1))
    disagreeing = np.stack([np.arange(200) < share for share in (40, 100, 160)])
    assert accuracy(agreeing).value == accuracy(disagreeing).value == 0.5
    width = [accuracy(sample).high - accuracy(sample).low for sample in (agreeing, disagreeing)]
    assert width[1] > 2 * width[0]


def test_videos_of_one_scene_are_one_sample():
    rng = np.random.default_rng(5)
    per_scene = rng.random((1, 80)) < 0.6
    alike = np.repeat(per_scene, 6, axis=1)  # six videos per scene, all right or all wrong
    scenes = np.arange(480) // 6
    together, scene_level = accuracy(alike, scenes=scenes), accuracy(per_scene)
    assert together == pytest.approx(scene_level)
    naive = accuracy(alike)
    assert together.high - together.low > 2 * (naive.high - naive.low)


def test_scenes_of_unequal_size_keep_the_mean_over_videos():
    sample, scenes = hits("xxxx......"), np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6])
    assert accuracy(sample, scenes=scenes).value == 0.4


def test_exactly_one_right_of_every_pair_leaves_no_doubt():
    pairs = np.tile([True, False], 100)[None]
    assert accuracy(pairs, scenes=np.arange(200) // 2) == (0.5, 0.5, 0.5)


def test_paired_tests_do_not_count_the_videos_of_one_scene_as_many():
    first = np.repeat(hits("x" * 9 + "." * 3 + "x" * 28), 6, axis=1)
    second = np.repeat(hits("." * 9 + "x" * 3 + "x" * 28), 6, axis=1)
    scenes = np.arange(240) // 6
    honest = compare(first, second, scenes=scenes)
    assert honest.test == "sign flips"
    assert honest.p_value == pytest.approx(exact_mcnemar(9, 3), abs=0.01)
    assert compare(first, second).p_value < 1e-4


def test_no_video_is_an_error():
    with pytest.raises(ValueError, match="no video"):
        accuracy(np.zeros((1, 0), dtype=bool))


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 9), (9, 3), (15, 15), (1, 0), (40, 12)])
def test_exact_mcnemar_is_the_binomial_test_written_out(first, second):
    total = first + second
    tail = sum(float(stats.binom.pmf(k, total, 0.5)) for k in range(min(first, second) + 1))
    assert exact_mcnemar(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_exact_mcnemar_equals_the_textbook_example():
    # 2 x 2 table of Agresti, Categorical Data Analysis, with 150 and 86 discordant pairs: clearly significant.
    assert exact_mcnemar(86, 150) == pytest.approx(stats.binomtest(86, 236).pvalue)
    assert exact_mcnemar(86, 150) < 1e-4


def test_sign_flips_with_one_seed_agree_with_mcnemar():
    first, second = hits("x" * 18 + "." * 7 + "x" * 60), hits("." * 18 + "x" * 7 + "x" * 60)
    exact = compare(first, second)
    assert (exact.test, exact.first_only, exact.second_only) == ("exact McNemar", 18, 7)
    # The same videos under two identical seeds: the unit stays the video, so the p-value must not shrink.
    twice = compare(np.repeat(first, 2, 0), np.repeat(second, 2, 0))
    assert twice.test == "sign flips"
    assert twice.p_value == pytest.approx(exact.p_value, abs=0.01)


def test_the_paired_interval_is_narrower_than_two_separate_ones():
    rng = np.random.default_rng(0)
    base = rng.random((1, 400)) < 0.6
    better = base | (rng.random((1, 400)) < 0.1)
    paired = compare(better, base).difference
    assert paired.low > 0
    assert paired.high - paired.low < accuracy(base).high - accuracy(base).low


def test_systems_scored_on_other_videos_are_refused():
    with pytest.raises(ValueError, match="same seeds and videos"):
        compare(hits("xx."), hits("xx"))


def test_holm_matches_a_hand_computed_example():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_corrected_comparisons_keep_their_keys_and_differences():
    one = compare(hits("x" * 9 + "." * 11), hits("." * 20))
    other = compare(hits("x.x."), hits(".x.x"))
    both = corrected({"one": one, "other": other})
    assert both["one"] == one._replace(p_value=2 * one.p_value)
    assert both["other"] == other


def test_confusion_has_true_classes_in_rows():
    counts = confusion(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), 3)
    np.testing.assert_array_equal(counts, [[1, 0, 0], [0, 1, 0], [0, 1, 1]])


def answers(videos=300, classes=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes - 1, size=videos)  # the last class has no video
    scores = rng.random((videos, classes))
    scores[np.arange(videos), labels] += 0.4 * rng.random(videos)
    return scores / scores.sum(1, keepdims=True), labels


@pytest.mark.parametrize("k", [1, 5])
def test_the_true_class_among_the_first_is_as_torchmetrics_counts_it(k):
    probabilities, labels = answers()
    metric = MulticlassAccuracy(num_classes=8, average="micro", top_k=k)
    wanted = metric(torch.from_numpy(probabilities), torch.from_numpy(labels)).item()
    hits = metrics.in_top(probabilities, labels, k)
    assert hits.mean() == pytest.approx(wanted)
    if k == 1:
        assert (hits == metrics.correct(probabilities, labels)).all()


def test_among_equal_probabilities_the_first_counts():
    probabilities = np.full((3, 4), 0.25)
    assert metrics.in_top(probabilities, np.array([0, 1, 3]), 2).tolist() == [True, True, False]


@pytest.mark.parametrize("k", [1, 5])
def test_class_means_are_torchmetrics_recall_over_the_classes_that_occur(k):
    probabilities, labels = answers()
    each = MulticlassRecall(num_classes=8, average="none", top_k=k)
    recall = each(torch.from_numpy(probabilities), torch.from_numpy(labels)).numpy()
    found = metrics.class_mean(metrics.in_top(probabilities, labels, k)[None], labels)
    assert found.value == pytest.approx(recall[:7].mean())
    assert found.low < found.value < found.high


def test_rare_classes_weigh_as_much_as_frequent_ones():
    labels = np.array([0] * 98 + [1] * 2)
    hits = (labels == 0)[None]
    assert metrics.accuracy(hits).value == 0.98
    assert metrics.class_mean(hits, labels).value == 0.5


def test_the_interval_of_a_class_mean_widens_with_scenes_and_covers_several_seeds():
    rng = np.random.default_rng(1)
    scenes = np.arange(200) // 4
    labels = np.repeat(rng.integers(4, size=50), 4)
    hits = np.repeat(rng.random((2, 50)) < 0.6, 4, axis=1)
    alone, grouped = metrics.class_mean(hits, labels), metrics.class_mean(hits, labels, scenes=scenes)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)


def test_every_class_that_occurs_has_an_interval():
    probabilities, labels = answers()
    hits = metrics.correct(probabilities, labels)
    found = metrics.per_class(hits, labels)
    assert sorted(found) == list(range(7))
    for label, interval in found.items():
        assert interval.value == hits[labels == label].mean()
        assert interval.low <= interval.value <= interval.high


def test_squared_errors_are_averaged():
    values, targets = np.array([[1.0, 2.0, 4.0], [1.0, 2.0, 2.0]]), np.array([1.0, 1.0, 1.0])
    assert metrics.squared_error(values, targets).value == pytest.approx((0 + 1 + 9 + 0 + 1 + 1) / 6)
    alone = metrics.squared_error(np.random.default_rng(0).normal(size=(1, 400)), np.zeros(400))
    assert alone.low < alone.value < alone.high
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * np.sqrt(2 / 400), rel=0.25)


def test_five_classes_have_no_metric_of_five():
    probabilities, labels = answers(classes=5)
    assert list(metrics.of_classes(probabilities, labels)) == ["top1", "mean_class"]
    assert set(metrics.of_classes(*answers())) == {"top1", "mean_class", "top5", "recall5"}


def test_long_lists_are_resampled_in_parts_with_the_same_spread(monkeypatch):
    hits = (np.random.default_rng(0).random(500) < 0.7)[None]
    whole = metrics.accuracy(hits)
    monkeypatch.setattr(metrics, "CELLS", 500 * 300)
    parts = metrics.accuracy(hits)
    assert parts.value == whole.value
    assert parts.low == pytest.approx(whole.low, abs=0.006)
    assert parts.high == pytest.approx(whole.high, abs=0.006)


def test_the_headline_is_the_metric_of_the_task():
    labels = np.array([0, 0, 0, 1])
    probabilities = np.eye(7)[[0, 0, 0, 6]] + np.linspace(0.6, 0, 7)  # class 1 is the third most probable of the last
    per_video, per_class = (metrics.hits_of(name, probabilities, labels)[None] for name in ("top1", "mean_class"))
    assert metrics.headline("top1", per_video, labels).value == metrics.estimate("top1", per_video, labels) == 0.75
    found = metrics.headline("mean_class", per_class, labels)
    assert found.value == metrics.estimate("mean_class", per_class, labels) == 0.5
    among_five = metrics.hits_of("recall5", probabilities, labels)[None]
    assert metrics.estimate("recall5", among_five, labels) == 1.0
    assert next(iter(metrics.of_classes(probabilities, labels, headline="mean_class"))) == "mean_class"


def test_the_mean_over_repeats_has_students_interval():
    found = metrics.over_repeats([0.4, 0.5, 0.6])
    # 4.303 is the 97.5 % quantile of Student's distribution with two degrees of freedom.
    half = 4.303 * 0.1 / 3**0.5
    assert tuple(found) == pytest.approx((0.5, 0.5 - half, 0.5 + half), rel=1e-3)
    assert tuple(metrics.over_repeats([0.7])) == (0.7, 0.7, 0.7)
    assert metrics.over_repeats([0.0, 0.1, 0.4]).low == 0.0
    assert metrics.over_repeats([1.0, 0.9, 0.6]).high == 1.0


def test_a_class_that_a_sample_lacks_is_left_out_of_its_mean():
    right, labels = np.ones((1, 2), dtype=bool), np.array([0, 1])
    assert metrics.class_mean(right, labels, resamples=200) == (1.0, 1.0, 1.0)
    assert metrics.per_class(right[0], labels, resamples=200) == {0: (1.0, 1.0, 1.0), 1: (1.0, 1.0, 1.0)}


def test_a_p_value_from_random_signs_is_never_zero():
    first, scenes = np.ones((1, 120), dtype=bool), np.arange(120) // 2
    assert compare(first, ~first, scenes=scenes).p_value == 1 / (metrics.PERMUTATIONS + 1)


def test_metrics_of_five_look_at_five_and_recall_weighs_classes():
    ranks = {0: 4, 1: 5}  # how many classes are more probable than the true one
    labels = np.array([0, 0, 0, 1])
    probabilities = np.tile(np.linspace(0, 0.1, 8), (4, 1))
    for row, label in enumerate(labels):
        probabilities[row, label] = np.sort(np.delete(probabilities[row], label))[::-1][ranks[int(label)] - 1] - 1e-6
    found = metrics.of_classes(probabilities, labels)
    assert {name: one.value for name, one in found.items()} == {
        "top1": 0,
        "mean_class": 0,
        "top5": 0.75,
        "recall5": 0.5,
    }


def test_scenes_of_unequal_size_do_not_widen_what_is_certain():
    assert accuracy(np.ones((1, 6), dtype=bool), scenes=np.array([0, 0, 0, 0, 1, 2])) == (1.0, 1.0, 1.0)


def test_draws_in_parts_are_as_many_as_asked_for(monkeypatch):
    monkeypatch.setattr(metrics, "CELLS", 70)
    parts = [part.shape for part in metrics._draws(10, 24, 0)]
    assert parts == [(7, 10), (7, 10), (7, 10), (3, 10)]


def test_every_interval_draws_scenes_and_not_their_videos():
    probabilities, labels = answers(videos=60)
    # Three videos of one answer per scene say no more than one; numbers of scenes may have gaps.
    scenes = 5 * np.arange(60).repeat(3)
    together = metrics.of_classes(probabilities.repeat(3, 0), labels.repeat(3), scenes=scenes)
    for name, alone in metrics.of_classes(probabilities, labels).items():
        assert together[name] == pytest.approx(alone)
    for name in ("top1", "mean_class", "recall5"):
        hits = metrics.hits_of(name, probabilities, labels)[None]
        found = metrics.headline(name, hits.repeat(3, 1), labels.repeat(3), scenes=scenes)
        assert found == pytest.approx(metrics.headline(name, hits, labels))
        assert found == pytest.approx(together[name])
        assert found.value == metrics.estimate(name, hits, labels)
