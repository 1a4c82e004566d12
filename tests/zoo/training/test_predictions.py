import json

import pytest
import torch

from tests.support import find
from zoo.batch import Unread
from zoo.suggest import UnknownNameError
from zoo.training.predictions import ViewScores, as_rule, count_views, join, merge


def views(rows, labels=None, *, numbers=None, targets=None, failed=(), scores=None):
    rows = torch.tensor(rows, dtype=torch.int64)
    torch.manual_seed(len(rows))
    return ViewScores(
        torch.randn(len(rows), 3) if scores is None else scores,
        torch.zeros_like(rows) if labels is None else torch.tensor(labels),
        rows,
        count_views(rows) if numbers is None else torch.tensor(numbers),
        targets,
        tuple(failed),
    )


def test_merging_equals_videomambas_evaluation():
    given = json.loads(find("videomamba/pipeline.json").read_text())["merge_views"]
    logits = torch.tensor(given["logits"])
    videos, per_video = logits.shape[:2]
    rows = torch.arange(videos).repeat_interleave(per_video)
    labels = torch.tensor(given["labels"]).repeat_interleave(per_video)
    order = torch.randperm(videos * per_video)
    scores = ViewScores(logits.flatten(0, 1)[order], labels[order], rows[order], count_views(rows)[order])
    merged = merge(scores, num_views=per_video)
    torch.testing.assert_close(merged.probabilities, torch.tensor(given["probs"]))
    assert merged.probabilities.argmax(1).tolist() == given["pred"] != given["pred_if_logits_were_averaged"]
    assert merged.rows.tolist() == list(range(videos))
    assert merged.labels.tolist() == given["labels"]
    averaged = merge(scores, rule="mean of logits", num_views=per_video)
    assert averaged.probabilities.argmax(1).tolist() == given["pred_if_logits_were_averaged"]


def test_logits_are_averaged_before_the_softmax():
    given = views([4, 4, 4])
    merged = merge(given, rule="mean of logits")
    torch.testing.assert_close(merged.probabilities[0], given.scores.mean(0).softmax(0))


def test_values_are_averaged_and_keep_their_target():
    given = views([4, 4, 6], targets=torch.tensor([1.5, 1.5, 0.0]), scores=torch.tensor([[1.0], [2.0], [5.0]]))
    merged = merge(given, rule="mean", num_views=1, windows={4: 2, 6: 1})
    assert merged.probabilities.tolist() == [[1.5], [5.0]]
    assert merged.targets.tolist() == [1.5, 0.0]


def test_rules_fit_their_kind_of_answer():
    with pytest.raises(ValueError, match="scores of classes are not merged by 'mean'; use 'mean of softmax'"):
        merge(views([0]), rule="mean")
    with pytest.raises(ValueError, match="values of a regression are not merged by 'mean of softmax'; use 'mean'"):
        merge(views([0], targets=torch.zeros(1)))


def test_rules_are_known_by_their_words():
    assert as_rule("mean-of_logits") == "mean of logits"
    with pytest.raises(UnknownNameError, match="mean of softmax"):
        as_rule("mean of softmaxes")


def test_missing_and_extra_views_are_named():
    with pytest.raises(ValueError, match=r"every video must have 2 views; row: number of views found: \{8: 1\}"):
        merge(views([3, 3, 8, 9, 9]))
    with pytest.raises(ValueError, match=r"must have 1 views; .*\{3: 2, 9: 2\}"):
        merge(views([3, 3, 8, 9, 9]), num_views=1)


def test_exactly_the_views_of_the_list_must_have_come():
    windows = {3: 2, 8: 1}
    whole = views([3, 3, 3, 3, 8, 8])
    assert merge(whole, num_views=2, windows=windows).rows.tolist() == [3, 8]
    with pytest.raises(ValueError, match=r"views are missing or too many; .*\{8: \(1, 2\)\}"):
        merge(views([3, 3, 3, 3, 8]), num_views=2, windows=windows)
    with pytest.raises(ValueError, match=r"\{8: \(0, 2\)\}"):
        merge(views([3, 3, 3, 3]), num_views=2, windows=windows)
    with pytest.raises(ValueError, match=r"\{9: \(2, 0\)\}"):
        merge(views([3, 3, 3, 3, 8, 8, 9, 9]), num_views=2, windows=windows)


def test_a_view_that_came_twice_in_place_of_another_is_noticed():
    with pytest.raises(ValueError, match=r"rows \[5\] have views doubled while others are missing"):
        merge(views([5, 5, 6, 6], numbers=[0, 0, 0, 1]), num_views=2, windows={5: 1, 6: 1})


def test_a_row_that_lost_a_window_has_no_prediction():
    failed = [Unread(3, "b.mp4", "damaged")]
    merged = merge(views([3, 8, 8], numbers=[1, 0, 1], failed=failed), num_views=1, windows={3: 2, 8: 2})
    assert merged.rows.tolist() == [8]
    assert merged.failed == tuple(failed)


def test_scores_are_the_same_whatever_order_they_came_in():
    given = views([2, 0, 2, 0, 1, 1])
    order = torch.tensor([3, 5, 0, 2, 1, 4])
    shuffled = ViewScores(*(column[order] for column in given[:4]))
    halves = [ViewScores(*(column[half] for column in shuffled[:4])) for half in (slice(4, None), slice(4))]
    assert all(torch.equal(a, b) for a, b in zip(join(halves)[:4], join([given])[:4], strict=True))
    assert join([given]).rows.tolist() == [0, 0, 1, 1, 2, 2]


def test_scores_without_parts_or_with_targets_for_some_cannot_be_joined():
    with pytest.raises(ValueError, match="no scores"):
        join([])
    with pytest.raises(ValueError, match="some have none"):
        join([views([0]), views([1], targets=torch.zeros(1))])


def test_views_of_one_video_must_agree_on_its_label_and_target():
    with pytest.raises(ValueError, match=r"different labels in rows \[7\]"):
        merge(views([2, 2, 7, 7], [0, 0, 0, 1]))
    with pytest.raises(ValueError, match=r"different targets in rows \[7\]"):
        merge(views([7, 7], targets=torch.tensor([0.0, 1.0])), rule="mean")


def test_a_process_without_any_view_still_hands_on_its_failures():
    lost = Unread(3, "c.mp4", "broken")
    parts = [views([0, 1]), views([], failed=(lost,), scores=torch.zeros(0, 3))]
    assert join(parts).failed == join(parts[::-1]).failed == (lost,)


def test_views_are_counted_anew_as_soon_as_one_has_no_number():
    assert join([views([0, 0], numbers=[0, 1]), views([0], numbers=[-1])]).views.tolist() == [0, 1, 2]


@pytest.mark.parametrize("rule", ["mean of softmax", "mean of logits"])
def test_scores_that_are_no_numbers_are_no_answer(rule):
    scores = torch.zeros(3, 3)
    scores[1, 2] = float("nan")
    with pytest.raises(ValueError, match=r"scores of 1 videos are no finite numbers, in rows \[7\]"):
        merge(views([5, 7, 9], scores=scores), rule=rule)
