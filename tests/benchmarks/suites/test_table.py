import pytest

from benchmarks.suite import Suite
from benchmarks.suites.table import SUITES, get_suite


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.name)
def test_a_suite_has_a_source_a_licence_quirks_and_tasks_of_distinct_names(suite: Suite):
    assert all((suite.source, suite.licence, suite.quirks))
    assert suite.test_split in suite.splits
    assert suite.train_split in suite.splits
    assert len({task.name for task in suite.tasks}) == len(suite.tasks) > 0


def test_a_misspelt_suite_gets_the_closest_one():
    assert get_suite("digits").name == "digits"
    with pytest.raises(KeyError, match="did you mean 'digits'"):
        get_suite("digist")
