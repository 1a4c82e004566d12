from pathlib import Path

import pytest

from benchmarks.lessons import Lessons
from benchmarks.listed import ListedVideos
from benchmarks.objectives import EVERYTHING, STILLS
from tests.benchmarks.tiny_suite import SUITE, VIDEOS, TinyVideos
from zoo.data.records import Record


def splits(shade, drift):
    """Videos of two tasks, whose train and test lists hold the named files."""
    given = {"shade": shade, "drift": drift}
    lists = {
        (task, split): [Record(Path(name), row % 2, row) for row, name in enumerate(names)]
        for task, both in given.items()
        for split, names in zip(("train", "test"), both, strict=True)
    }
    return Lessons(SUITE, ListedVideos(folder=Path(), lists=lists, names={}))


def test_nothing_that_serves_all_tasks_learns_from_a_test_video_of_any_task():
    lessons = splits(shade=("abc", "de"), drift=("cde", "ab"))
    assert [(record.path.name, record.row) for record in lessons.unlabelled()] == [("c", 0)]
    assert [(record.path.name, record.label) for record in lessons.of("train", EVERYTHING)] == [("c", 0), ("c", 2)]
    assert [record.path.name for record in lessons.of("train", STILLS)] == ["c"]
    assert [record.path.name for record in lessons.of("test", EVERYTHING)] == list("deab")
    assert lessons.note().startswith("4 training videos are also in a test list")


def test_lists_without_a_common_video_are_taken_whole():
    lessons = splits(shade=("abc", "d"), drift=("ab", "e"))
    assert [record.path.name for record in lessons.unlabelled()] == list("abc")
    assert len(lessons.of("train", EVERYTHING)) == 5
    assert not lessons.note()


def test_tasks_that_test_on_all_training_videos_of_each_other_are_refused():
    with pytest.raises(ValueError, match="every training video is also in a test list"):
        splits(shade=("ab", "cd"), drift=("cd", "ab")).unlabelled()


def test_stills_are_of_the_first_task_alone(tmp_path):
    found = Lessons(SUITE, TinyVideos(tmp_path)).of("test", STILLS)
    assert [record.label for record in found] == [0, 1] * (VIDEOS["test"] // 2)
    assert {record.path.parent.name for record in found} == {"shade"}


def test_everything_is_every_task_with_classes_of_its_own_and_rows_counted_on(tmp_path):
    found = Lessons(SUITE, TinyVideos(tmp_path)).of("train", EVERYTHING)
    assert [record.row for record in found] == list(range(2 * VIDEOS["train"]))
    labels = {record.path.parent.name: set() for record in found}
    for record in found:
        labels[record.path.parent.name].add(record.label)
    assert labels == {"shade": {0, 1}, "drift": {2, 3}}
