import pytest

from benchmarks.suites import hmdb51, ucf101
from benchmarks.suites.three_splits import QUIRK


@pytest.mark.parametrize(("suite", "classes"), [(ucf101.SUITE, 101), (hmdb51.SUITE, 51)])
def test_each_split_is_a_task_that_leaves_the_clips_to_the_network(suite, classes):
    assert [task.name for task in suite.tasks] == ["split1", "split2", "split3"]
    assert {task.num_classes for task in suite.tasks} == {classes}
    assert [task.question for task in suite.tasks][1] == (
        f"Which of {classes} actions does the clip show? Split 2 of 3."
    )
    assert {(task.sampling, task.clips, task.crops) for task in suite.tasks} == {(None, None, None)}
    assert suite.quirks[0] == QUIRK
