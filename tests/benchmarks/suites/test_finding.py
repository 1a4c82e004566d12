import re

import pytest

from benchmarks.suite import SuiteError
from benchmarks.suites.finding import Finder, common_lists, moved, numbered_names
from tests.benchmarks.suites.official import touch, write
from zoo.data.records import ListError, Record


@pytest.fixture
def finder(tmp_path):
    return Finder("k400", tmp_path, url="https://lists")


def test_annotation_files_are_found_beside_the_videos_and_in_the_usual_folders(finder, tmp_path):
    assert finder.file("a.csv", "b.csv") is None
    path = write(tmp_path / "annotations/b.csv", "x 1")
    assert finder.file("a.csv", "b.csv") == path
    assert finder.file("c.csv", folders=("other",)) is None
    path = write(tmp_path / "other/c.csv", "x 1")
    assert finder.file("c.csv", folders=("other",)) == path
    assert finder.lists(("b", "c")) == {"b": tmp_path / "annotations/b.csv"}


def test_two_lists_of_the_same_are_refused(finder, tmp_path):
    write(tmp_path / "a.csv", "x 1")
    write(tmp_path / "lists/b.csv", "x 2")
    with pytest.raises(SuiteError, match=r"a\.csv' and .*b\.csv' are lists of the same; keep one"):
        finder.file("a.csv", "b.csv")


def test_the_folder_of_the_videos_is_the_first_that_has_any_of_them(finder, tmp_path):
    names = [f"{number}" for number in range(100)]
    touch(tmp_path / "videos", "96.webm")
    touch(tmp_path / "empty", "other.webm")
    assert finder.place(names, ("empty", "videos", ""), (".mp4", ".webm")) == (tmp_path / "videos", ".webm")
    with pytest.raises(SuiteError, match=r"none of 50 listed videos \(such as '0\.mp4'\) .*--data is probably wrong"):
        finder.place(names, ("empty", ""), (".mp4", ".avi"))


def test_videos_of_one_name_in_two_folders_are_refused(finder, tmp_path):
    touch(tmp_path / "train", "a/x.mp4", "y.MKV", "notes.txt", "a/deep/z.mp4")
    assert finder.stems(tmp_path / "train") == {"x": tmp_path / "train/a/x.mp4", "y": tmp_path / "train/y.MKV"}
    touch(tmp_path / "train", "b/x.webm")
    with pytest.raises(SuiteError, match=r"x\.mp4' and .*x\.webm' have one name|x\.webm' and .*x\.mp4' have one name"):
        finder.stems(tmp_path / "train")


def test_moved_records_keep_everything_but_their_folder(tmp_path):
    from pathlib import Path

    (record,) = moved([Record(Path("a/b"), 3, 7)], tmp_path, ".webm")
    assert record == Record(tmp_path / "a/b.webm", 3, 7)


def test_numbered_names_have_every_number_once(tmp_path):
    assert numbered_names(tmp_path, {1: "b", 0: "a"}, 2) == ("a", "b")
    with pytest.raises(ListError, match="names 2 classes; expected 3, numbered 0 to 2; number 1 is missing"):
        numbered_names(tmp_path, {0: "a", 2: "c"}, 3)
    with pytest.raises(ListError, match="names 2 classes; expected 2, numbered 0 to 1; number 1 is missing"):
        numbered_names(tmp_path, {0: "a", 2: "c"}, 2)


def test_common_lists_keep_paths_as_listed_beside_where_they_lie(finder, tmp_path):
    file = write(tmp_path / "val.csv", "\ufeffabseiling/a.mp4,3\nabseiling/b.mp4,4\n")
    touch(tmp_path / "videos/abseiling", "b.mp4")
    found = common_lists(finder, {"val": file}, num_classes=5, folders=lambda split: ("", "videos"))
    assert [record.path for record in found.records["val"]()] == [
        tmp_path / "videos/abseiling/a.mp4",
        tmp_path / "videos/abseiling/b.mp4",
    ]
    assert [record.path.as_posix() for record in found.listed["val"]] == ["abseiling/a.mp4", "abseiling/b.mp4"]
    assert found.notes == ["val.csv: accepted a byte order mark"]
    with pytest.raises(ListError, match=re.escape("line 2, label: 4 is out of range")):
        common_lists(finder, {"val": file}, num_classes=4, folders=lambda split: ("", "videos"))


def test_a_list_of_which_no_video_is_there_is_refused_and_one_video_is_enough(tmp_path):
    records = [Record(tmp_path / "videos" / f"{place}.mp4", 0, place) for place in range(3)]
    finder = Finder("coin", tmp_path, url="https://example.org")
    with pytest.raises(SuiteError, match=r"none of 3 listed videos \(such as '0.mp4'\)"):
        finder.check(records, tmp_path / "videos")
    (tmp_path / "videos").mkdir()
    records[2].path.touch()
    finder.check(records, tmp_path / "videos")
