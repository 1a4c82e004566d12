import argparse
from pathlib import Path

import pytest

from benchmarks.data_tools.listing import Listing, listing_of
from benchmarks.data_tools.options import DataError, videos
from benchmarks.suites import table
from tests.benchmarks.data_tools.videos import toy_suite
from zoo.data.records import ListError, Record
from zoo.suggest import UnknownNameError


def parsed(*words):
    parser = argparse.ArgumentParser()
    videos(parser)
    return listing_of(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 1\nsub/c.mp4 0\n")
    monkeypatch.setitem(table.SUITES, "toy", toy_suite(tmp_path))
    return tmp_path


def test_each_video_counts_once_over_all_lists(tmp_path):
    (tmp_path / "a.csv").write_text("x.mp4 0\ny z.mp4 1\n")
    (tmp_path / "b.csv").write_text("y z.mp4 1\n./x.mp4 0\nw.mp4 2\n")
    found = parsed("--list", tmp_path / "a.csv", "--list", tmp_path / "b.csv", "--root", tmp_path)
    assert list(found.paths()) == ["x.mp4", "y z.mp4", "w.mp4"]
    assert [len(it) for it in found.lists.values()] == [2, 3]
    assert found.title("", "b") == "b"


def test_lists_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.csv").write_text(f"{name}.mp4 0\n")
    files = [tmp_path / name / "train.csv" for name in ("one", "two")]
    found = parsed("--list", files[0], "--list", files[1])
    assert [split for _, split in found.lists] == [str(file) for file in files]
    assert list(found.paths()) == ["one/one.mp4", "two/two.mp4"]
    with pytest.raises(DataError, match="is named twice"):
        parsed("--list", files[0], "--list", files[0])


def test_videos_outside_the_root_keep_their_whole_path(tmp_path):
    found = Listing(name="", root=tmp_path / "in", lists={("", "a"): [Record(tmp_path / "in2" / "x.mp4", 0, 0)]})
    assert list(found.paths()) == [str(tmp_path / "in2" / "x.mp4")]
    (tmp_path / "a.csv").write_text(f"{tmp_path}/x.mp4 0\n")
    with pytest.raises(ListError, match="is absolute"):
        parsed("--list", tmp_path / "a.csv")
    assert list(parsed("--list", tmp_path / "a.csv", "--outside").paths()) == ["x.mp4"]


def test_a_suite_gives_the_lists_that_it_has(toy):
    found = parsed("toy", "--data", toy)
    assert list(found.lists) == [("what", "train"), ("how", "train")]
    assert list(found.paths()) == ["a.mp4", "b.mp4", "sub/c.mp4"]
    assert found.title("what", "train") == "what/train"
    assert list(parsed("toy", "--data", toy, "--task", "how", "--split", "train").lists) == [("how", "train")]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ([], DataError, "name either a suite"),
        (["toy", "--list", "a.csv"], DataError, "name either a suite"),
        (["toy", "--root", "."], DataError, "--root has no meaning with a suite; use --data"),
        (["--list", "a.csv", "--split", "train"], DataError, "--split has no meaning with --list"),
        (["toy", "--data", "/nowhere/at/all"], DataError, "there is no folder '/nowhere/at/all'"),
        (["--list", "/nowhere/a.csv"], ListError, "cannot be read: No such file"),
        (["toi"], UnknownNameError, "did you mean 'toy'"),
        (["toy", "--task", "wat"], UnknownNameError, "did you mean 'what'"),
        (["toy", "--split", "val"], DataError, "has no split 'val'; its splits: train, test"),
        (["toy", "--split", "test"], DataError, "no list of suite 'toy' was found"),
    ],
)
def test_what_names_no_videos_is_refused_with_a_way_on(toy, words, error, hint):
    with pytest.raises(error, match=hint):
        parsed(*words)


def test_the_folder_of_a_suite_that_finds_itself_is_that_of_its_videos(toy):
    assert Path(parsed("toy").root) == toy


def test_what_was_odd_about_plain_lists_is_kept(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffx.mp4 1\n")
    (tmp_path / "b.csv").write_text("y.mp4 1\r\n")
    found = parsed("--list", tmp_path / "a.csv", "--list", tmp_path / "b.csv")
    assert found.notes == ["a.csv: accepted a byte order mark", "b.csv: accepted 1 line end CRLF"]
