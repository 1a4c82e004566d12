import pytest
import torch

from benchmarks.protocols.outcome import Outcome, each_row_once
from zoo.batch import Unread


def outcome(rows, expected=3, probabilities=((0.9, 0.1), (0.2, 0.8), (0.6, 0.4))):
    count = len(rows)
    return Outcome(
        probabilities=torch.tensor(probabilities)[:count],
        labels=torch.tensor([0, 1, 1])[:count],
        rows=torch.tensor(rows),
        expected=expected,
        curves=[],
        seconds=1.0,
    )


def test_accuracy_counts_videos_and_failures_are_what_is_missing():
    found = outcome([0, 4, 7], expected=5)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.failed == 2


@pytest.mark.parametrize("rows", [[0, 0, 1], [2, 1, 3]])
def test_rows_must_ascend(rows):
    with pytest.raises(ValueError, match="each video once"):
        outcome(rows)


def test_more_videos_than_listed_are_refused():
    with pytest.raises(ValueError, match="3 videos were scored, but the test list has 2"):
        outcome([0, 1, 2], expected=2)


def test_a_row_that_lost_several_windows_failed_once_for_the_first_reason():
    failed = [Unread(0, "a", "no end"), Unread(0, "a", "torn"), Unread(2, "b", "gone")]
    assert each_row_once(failed) == [failed[0], failed[2]]
