import pytest

from benchmarks.suites.mit import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import touch, write
from zoo.data.records import ListError


def prepare(root):
    return SUITE.prepare(root, False)


@pytest.mark.parametrize(
    ("line", "field", "words"),
    [
        ("class+000/a.mp4,class+001,3,0\n", "class", "is 'class+001', but the file is in the folder 'class+000'"),
        ("other/a.mp4,other,3,0\n", "class", "'other' is not in moments_categories.txt"),
        ("/class+000/a.mp4,class+000,3,0\n", "path", "absolute"),
        ("filename,label,positive,negative\n", "line", "header row"),
        ("class+000/a.mp4\n", "line", "has 1 field; expected 2"),
    ],
)
def test_bad_lists_are_refused_with_line_and_column(tmp_path, line, field, words):
    official.mit(tmp_path)
    write(tmp_path / "validationSet.csv", line)
    with pytest.raises(ListError) as caught:
        prepare(tmp_path).records("action", "val")
    assert (caught.value.line, caught.value.field) == (1, field)
    assert words in str(caught.value)


def test_the_categories_of_a_later_release_are_refused(tmp_path):
    official.mit(tmp_path)
    write(tmp_path / "moments_categories.txt", "".join(f"class+{number:03d},{number}\n" for number in range(305)))
    with pytest.raises(ListError, match="names 305 classes; expected 339"):
        prepare(tmp_path)


def test_lists_with_fewer_columns_are_read(tmp_path):
    official.mit(tmp_path)
    write(tmp_path / "validationSet.csv", "class+001/yt-validation_1.mp4,class+001\n")
    assert [record.label for record in prepare(tmp_path).records("action", "val")] == [1]


def test_common_lists_take_their_class_names_from_the_categories_where_these_are(tmp_path):
    write(tmp_path / "val.csv", "a.mp4 338\n")
    touch(tmp_path / "videos", "a.mp4")
    assert prepare(tmp_path).classes("action") == ()
    write(tmp_path / "moments_categories.txt", "".join(f"c{number},{number}\n" for number in range(339)))
    assert prepare(tmp_path).classes("action")[338] == "c338"
