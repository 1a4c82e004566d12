"""Which result belongs to a row of a paper's table, and what it says."""

from dataclasses import asdict, replace

import pytest

from benchmarks.budgets import budget
from benchmarks.measured import DIFFERS, INCOMPLETE, OUTSIDE, WITHIN, measured, request_of
from benchmarks.plan import plain
from benchmarks.results import Interval
from benchmarks.session import RequestError
from tests.benchmarks.made_up_results import CARD, VIDEOS, result, row, table


def test_a_printed_number_in_our_interval_is_within_and_another_is_outside():
    line = row()
    page = table(line)
    told = measured(line, page, [result(line, page, top1=(0.765, 0.76, 0.77))])
    assert (told.verdict, told.metric, told.reported, told.n_scored) == (WITHIN, "top1", 76.9, VIDEOS)
    assert told.value == pytest.approx((76.5, 76.0, 77.0))
    assert told.difference == pytest.approx(-0.4)
    assert told.why == "list of official lists"
    other = replace(line, values={"top1": 77.1})
    assert measured(other, page, [told.result]).verdict == OUTSIDE


def test_a_number_that_we_or_they_lack_is_told_as_such():
    line = row()
    page = table(line)
    told = measured(line, page, [result(line, page)], "top5")
    assert (told.verdict, told.value, told.why) == (INCOMPLETE, None, "the result has no top-5")
    nobody = replace(line, values={"top1": None})
    told = measured(nobody, page, [result(line, page)])
    assert (told.verdict, told.why) == (INCOMPLETE, "the printed number is not available")
    assert (told.reported, told.difference) == (None, None)
    assert told.value is not None


@pytest.mark.parametrize(
    ("sizes", "expected", "why"),
    [
        ({"scored": 100}, VIDEOS, "100 of 19907 videos were scored"),
        ({"listed": 6}, VIDEOS, "the list has 6 videos; lists in use have 19907 (official lists)"),
        ({"listed": 19796, "scored": 5}, 19796, "5 of 19796 videos were scored"),
    ],
)
def test_a_part_of_the_list_is_incomplete(sizes, expected, why):
    line = row()
    page = table(line)
    told = measured(line, page, [result(line, page, **sizes)])
    assert (told.verdict, told.n_expected) == (INCOMPLETE, expected)
    assert told.why.startswith(why)
    assert told.value.value == pytest.approx(76.9)


def test_a_list_of_a_length_that_nobody_uses_is_remarked():
    line = row()
    page = table(line)
    told = measured(line, page, [result(line, page, listed=19800)])
    assert (told.verdict, told.n_expected) == (WITHIN, 19800)
    assert told.why.startswith("the list has 19800 videos, as none in use")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"clips": 1}, "clips 1, not 4"),
        ({"crops": 1}, "crops 1, not 3"),
        ({"sampling": "dense"}, "sampling dense, not uniform"),
        ({"num_frames": 16}, "num_frames 16, not 8"),
        ({"merge": "mean of logits"}, "merge rule mean of logits, not mean of softmax"),
        ({"split": "test"}, "split test, not val"),
        ({"weights": "0123"}, "weights that are not known to be the released ones"),
        ({"weights": "random", "init": "random"}, "random weights"),
        ({"protocol": {}}, ""),
    ],
)
def test_what_was_measured_otherwise_says_in_what(changes, why):
    line = row()
    page = table(line)
    told = measured(line, page, [result(line, page, **changes)])
    assert told.verdict == (DIFFERS if why else WITHIN)
    assert told.why == (why or "list of official lists")


def test_a_training_of_another_length_is_another_protocol():
    line = row()
    page = table(line, protocol="linear")
    assert measured(line, page, [result(line, page)]).verdict == WITHIN
    short = {**plain(asdict(budget("full").evaluate["linear"])), "recipe": {"steps": 15}}
    told = measured(line, page, [result(line, page, protocol=short)])
    assert (told.verdict, told.why) == (DIFFERS, "trained otherwise than by --budget full")
    as_it_is = table(line)
    assert measured(line, as_it_is, [result(line, page)]).why == "protocol linear, not as_is"


@pytest.mark.parametrize("who", [{"system": "videomamba_tiny"}, {"suite": "k600"}, {"task": "x"}, {"kind": "control"}])
def test_a_result_of_something_else_is_none_of_the_row(who):
    line = row()
    page = table(line)
    assert measured(line, page, [result(line, page, **who)]) is None


def test_the_best_fitting_result_counts_and_of_several_the_newest():
    line = row()
    page = table(line)
    good = [result(line, page, created=day, top1=(value, 0.7, 0.8)) for day, value in (("2", 0.77), ("1", 0.76))]
    others = [result(line, page, created="4", clips=1), result(line, page, created="3", scored=5)]
    assert measured(line, page, [*others, *good]).value.value == pytest.approx(77.0)
    assert measured(line, page, others).verdict == INCOMPLETE


def test_a_row_without_weights_is_not_measured_and_says_why():
    line = row(card="")
    assert measured(line, table(line), []) is None
    with pytest.raises(RequestError, match="no weights of it were released"):
        request_of(line, table(line))
    with pytest.raises(RequestError, match="no text encoder"):
        request_of(line, table(line, suite="msrvtt"))


def test_a_request_asks_for_the_views_of_the_row():
    asked = request_of(row(views="2x1"), table())
    assert (asked.clips, asked.crops, asked.pretrained, asked.task) == (2, 1, True, "action")
    assert request_of(row(), table(views="")).clips is None


def test_low_shot_rows_are_compared_over_the_splits_of_their_share():
    line = row(card="vjepa_large_16_224.videomix2m", values={"top1": 67.0})
    page = table(line, protocol="low_shot", share=0.05, views="8x3")
    assert request_of(line, page).share == "5%"
    found = replace(result(line, replace(page, protocol="attentive"), protocol={"share": 0.05}))
    found = replace(found, identity=replace(found.identity, protocol="low_shot"))
    found = replace(found, metrics={"top1_over_splits": Interval(0.66, 0.65, 0.68), **found.metrics})
    told = measured(line, page, [found])
    assert (told.verdict, told.value.value, told.difference) == (WITHIN, 66.0, -1.0)
    other = measured(line, replace(page, share=0.1), [found])
    assert (other.verdict, other.why) == (DIFFERS, "share 5%, not 10%")


@pytest.mark.parametrize(
    ("made_by", "clip", "verdict", "why"),
    [
        (CARD, {}, OUTSIDE, f"list of official lists; trained by {CARD}"),
        (CARD, {"img_size": 32}, DIFFERS, f"img_size 32, not 224; trained by {CARD}"),
        (f"{CARD} (other recipe.base_lr)", {}, DIFFERS, f"trained by {CARD} (other recipe.base_lr)"),
        ("videomamba_tiny.k400_f16_res224", {}, None, ""),
    ],
)
@pytest.mark.parametrize("card", [CARD, ""])
def test_what_the_training_behind_a_row_left_here_measures_it_too(made_by, clip, verdict, why, card):
    released = row(values={"top1": 70.0})
    line = replace(released, card=card, recipe=CARD)
    page = table(line)
    own = result(released, page, system="videomamba_tiny", weights="0123", **clip)
    told = measured(line, page, [replace(own, details={**own.details, "made_by": made_by})])
    assert (told and told.verdict, told.why if told else "") == (verdict, why)


def test_a_row_on_other_clips_than_those_of_its_training_is_never_within():
    line = row(recipe=CARD, frames=16)
    page = table(line)
    own = result(row(), page, system="videomamba_tiny", weights="0123")
    told = measured(line, page, [replace(own, details={**own.details, "made_by": CARD})])
    assert told.verdict == DIFFERS
    assert told.why.startswith("the row prints 16 frames, and its clips have 8; list of")
