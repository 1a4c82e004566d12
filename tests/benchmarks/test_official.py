import pytest

from benchmarks.official import data_folder, find, folder_of, videos_below
from benchmarks.suite import SuiteError


def test_a_folder_must_be_named_and_there(tmp_path):
    assert data_folder(tmp_path, "coin") == tmp_path
    with pytest.raises(SuiteError, match="coin cannot be downloaded: name the folder"):
        data_folder(None, "coin")
    with pytest.raises(SuiteError, match=r"no folder '.*none'"):
        data_folder(tmp_path / "none", "coin")


def test_the_first_place_that_is_there_is_taken_and_an_error_names_all(tmp_path):
    (tmp_path / "b").mkdir()
    assert find(tmp_path, ("a", "b", "."), what="lists", source="the web") == tmp_path / "b"
    with pytest.raises(SuiteError, match=r"lists not found below .* \(looked for a, c\); .* from the web"):
        find(tmp_path, ("a", "c"), what="lists", source="the web")


def test_a_folder_is_known_by_one_of_its_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train.csv").touch()
    assert folder_of(tmp_path, (".", "b"), ("test.csv", "train.csv")) == tmp_path / "b"
    assert folder_of(tmp_path, (".", "b"), ("val.csv",)) is None


def test_videos_are_found_in_any_folder_and_whatever_else_lies_there_is_not(tmp_path):
    for name in ("0/a.mp4", "1/b.MKV", "1/b.txt", ".half.mp4", "c.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert videos_below(tmp_path) == {
        "a": tmp_path / "0/a.mp4",
        "b": tmp_path / "1/b.MKV",
        "c": tmp_path / "c.webm",
    }


def test_two_videos_of_one_name_are_refused(tmp_path):
    for name in ("0/a.mp4", "1/a.webm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(SuiteError, match="have one name"):
        videos_below(tmp_path)
