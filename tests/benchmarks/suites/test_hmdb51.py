import pytest

from benchmarks.suite import SuiteError
from benchmarks.suites.hmdb51 import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import write
from zoo.data.records import ListError

FOLDER = "testTrainMulti_7030_splits"


def prepare(root):
    return SUITE.prepare(root, False)


def test_videos_marked_1_are_trained_on_2_tested_on_and_0_neither(tmp_path):
    official.hmdb51(tmp_path)
    videos = prepare(tmp_path)
    for number in (1, 2, 3):
        names = {
            split: [record.path.name for record in videos.records(f"split{number}", split)]
            for split in ("train", "test")
        }
        assert names == {
            "train": [f"1_{number}_0.avi", f"1_{number}_1.avi"],
            "test": [f"2_{number}_0.avi", f"2_{number}_1.avi"],
        }


@pytest.mark.parametrize(
    ("content", "line", "field", "words"),
    [
        ("a.avi 1\nb.avi 3\n", 2, "id", "'3' is not among 0, 1, 2"),
        ("a.avi 1\na.avi 2\n", 2, "video", "'a.avi' is listed again (line 1)"),
        ("a.avi\n", 1, "line", "has 1 field"),
        ("../a.avi 1\n", 1, "video", "leave root"),
    ],
)
def test_bad_lists_are_refused_with_line_and_column(tmp_path, content, line, field, words):
    official.hmdb51(tmp_path)
    write(tmp_path / FOLDER / "class_00_test_split1.txt", content)
    with pytest.raises(ListError) as caught:
        prepare(tmp_path)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)


def test_a_class_without_a_file_would_shift_the_numbers_and_is_refused(tmp_path):
    official.hmdb51(tmp_path)
    (tmp_path / FOLDER / "class_07_test_split2.txt").unlink()
    with pytest.raises(SuiteError, match="50 classes have a file of split 2, expected 51"):
        prepare(tmp_path)
