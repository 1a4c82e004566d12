import pytest

from benchmarks.suites.finegym288 import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import write
from zoo.data.records import ListError


def prepare(root):
    return SUITE.prepare(root, False)


def test_without_the_list_of_categories_classes_have_no_names_and_it_is_said(tmp_path):
    official.finegym288(tmp_path)
    assert prepare(tmp_path).notes == ()
    (tmp_path / "gym288_categories.txt").unlink()
    videos = prepare(tmp_path)
    assert videos.classes("element") == ()
    assert videos.notes == ("the lists name no classes; gym288_categories.txt beside them would",)


@pytest.mark.parametrize(
    ("file", "content", "line", "words"),
    [
        ("gym288_val_element.txt", "a 0\nb 288\n", 2, "label: 288 is out of range"),
        ("gym288_val_element.txt", "a 0\na 1\n", 2, "clip: 'a' is listed with the fields '1'"),
        ("gym288_categories.txt", "0 (VT) x\n", 1, "'0 (VT) x' is not as 'Clabel: 0"),
        (
            "gym288_categories.txt",
            "Clabel: 0; set: 1; Glabel: 1; x\nClabel: 0; set: 1; Glabel: 2; y\n",
            2,
            "0 is listed",
        ),
        ("gym288_categories.txt", "Clabel: 0; set: 1; Glabel: 1; x\n", 0, "names 1 classes; expected 288"),
    ],
)
def test_bad_files_are_refused_with_their_line(tmp_path, file, content, line, words):
    official.finegym288(tmp_path)
    write(tmp_path / file, content)
    with pytest.raises(ListError) as caught:
        prepare(tmp_path)
    assert caught.value.line == line
    assert words in str(caught.value)
