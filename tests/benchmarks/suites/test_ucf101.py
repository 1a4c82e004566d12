import pytest

from benchmarks.suite import SuiteError
from benchmarks.suites.ucf101 import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import write
from zoo.data.records import ListError


def prepare(root):
    return SUITE.prepare(root, False)


def test_each_split_is_a_task_with_lists_of_its_own(tmp_path):
    official.ucf101(tmp_path)
    videos = prepare(tmp_path)
    assert [task.name for task in SUITE.tasks] == ["split1", "split2", "split3"]
    for number in (1, 2, 3):
        paths = [record.path.name for record in videos.records(f"split{number}", "train")]
        assert paths == [f"v_Class{label:03d}_g0{number}_c01.avi" for label in range(3)]
        assert [record.label for record in videos.records(f"split{number}", "test")] == [0, 1]
    assert "classInd.txt: accepted 101 line ends CRLF" in videos.notes


@pytest.mark.parametrize(
    ("file", "line", "field", "words"),
    [
        ("trainlist01.txt", "Class000/v.avi 2\n", "label", "is 2, but Class000 is number 1"),
        ("trainlist01.txt", "Class000/v.avi 0\n", "label", "0 is out of range"),
        ("testlist02.txt", "Other/v.avi\n", "path", "'Other' is no class of classInd.txt"),
        ("testlist02.txt", "../Class000/v.avi\n", "path", "leave root"),
        ("classInd.txt", "0 Class000\n", "number", "0 is out of range"),
    ],
)
def test_bad_lists_are_refused_with_line_and_column(tmp_path, file, line, field, words):
    official.ucf101(tmp_path)
    write(tmp_path / "ucfTrainTestlist" / file, line)
    with pytest.raises(ListError) as caught:
        prepare(tmp_path)
    assert (caught.value.line, caught.value.field) == (1, field)
    assert words in str(caught.value)


def test_the_list_of_classes_is_needed(tmp_path):
    official.ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist/classInd.txt").unlink()
    with pytest.raises(SuiteError, match=r"looked for classInd\.txt"):
        prepare(tmp_path)
