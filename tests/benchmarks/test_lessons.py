from benchmarks.lessons import Lessons
from benchmarks.objectives import EVERYTHING, STILLS
from tests.benchmarks.tiny_suite import SUITE, VIDEOS, TinyVideos


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
