"""Lists beside copies name the copies and are otherwise the same."""

import argparse

import pytest

from benchmarks.data_tools.copied_lists import copy_lists, reads_as
from benchmarks.data_tools.listing import Listing, listing_of
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.prepare import targets
from benchmarks.layout import Plan
from benchmarks.suites.table import SUITES, get_suite
from tests.benchmarks.data_tools.videos import listed, toy_suite, toy_videos
from tests.benchmarks.laid_out import lay_out
from zoo.data.records import read_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.avi 3\nsub/b c.webm 0\n", "a.mp4 3\nsub/b c.mp4 0\n"),
        ("\ufeffa.avi,3\r\nb,d.mp4,0\r\n", "a.mp4,3\nb,d.mp4,0\n"),
        ('"a b.mkv" 1\n', "a b.mp4 1\n"),
        ('"""q"".mkv" 1\n', '"""q"".mp4" 1\n'),
    ],
)
def test_a_plain_list_keeps_order_labels_and_delimiter(tmp_path, text, expected):
    (tmp_path / "train.csv").write_text(text, newline="")
    listing = listed(tmp_path, tmp_path / "train.csv")
    out = tmp_path / "out"
    assert copy_lists(listing, targets(listing, out), out, force=False) == [out / "train.csv"]
    assert (out / "train.csv").read_text() == expected
    copies = read_list(out / "train.csv", root=out, must_exist=False)
    records = listing.lists["", "train"]
    assert [(it.label, it.row) for it in copies] == [(it.label, it.row) for it in records]
    assert [it.path for it in copies] == [targets(listing, out)[listing.name_of(it.path)] for it in records]


def test_a_list_that_is_there_with_another_content_is_kept(tmp_path):
    (tmp_path / "train.csv").write_text("a.avi 3\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.csv").write_text("mine 1\n")
    listing, out = listed(tmp_path, tmp_path / "train.csv"), tmp_path / "out"
    with pytest.raises(DataError, match=r"train.csv' is there with another content"):
        copy_lists(listing, targets(listing, out), out, force=False)
    assert (out / "train.csv").read_text() == "mine 1\n"
    for _ in range(2):
        copy_lists(listing, targets(listing, out), out, force=True)
    assert [path.name for path in out.iterdir()] == ["train.csv"]


@pytest.fixture
def toy(tmp_path):
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / "train.txt").write_text("a.avi 0\nb.mp4 1\nsub/c d.webm 0\n")
    (root / "notes" / "x.json").write_text(
        '{"a": "one", "sub/c d.webm": [1], "e.avi": 2, "a.avi.bak": 3, "f": "a.avi"}'
    )
    (root / "readme.md").write_text("a.avi")
    suite, videos = toy_suite(root), toy_videos(root)
    lists = {key: videos.records(*key) for key in [("what", "train"), ("how", "train")]}
    return Listing(name="toy", root=root, lists=lists, suite=suite, videos=videos)


def test_annotations_of_a_suite_get_the_new_names_and_nothing_else(toy):
    out = toy.root / "out"
    (toy.root / "sub").mkdir()
    found = copy_lists(toy, targets(toy, out), out, force=False)
    assert sorted(path.relative_to(out).as_posix() for path in found) == ["notes/x.json", "train.txt"]
    again = copy_lists(
        toy, targets(toy, out), out, force=False
    )  # `out` lies below the root and is not copied into itself
    assert again == found
    text = (out / "notes" / "x.json").read_text()
    assert '"e.avi"' in text, "no video of the lists"
    assert '"a.avi.bak"' in text
    assert '"f": "a.mp4"' in text
    assert '"sub/c d.mp4": [1]' in text
    assert (out / "train.txt").read_text().splitlines() == ["a.mp4 0", "b.mp4 1", "sub/c d.mp4 0"]


def test_a_suite_that_reads_other_videos_from_the_copies_is_said(toy, tmp_path):
    out = tmp_path / "out"
    places = targets(toy, out)
    copy_lists(toy, places, out, force=False)
    assert reads_as(toy, places, out) == ""
    (out / "train.txt").write_text("a.avi 0\nb.mp4 1\nsub/c d.mp4 0\n")
    assert reads_as(toy, places, out) == "the list what/train names other videos there"
    (out / "train.txt").write_text("a.mp4\n")
    assert "has no label" in reads_as(toy, places, out)
    (out / "train.txt").unlink()
    assert "unknown list 'what/train'" in reads_as(toy, places, out)
    plain = Listing(name="x", root=toy.root, lists=toy.lists)
    assert reads_as(plain, places, out) == ""


def of_suite(name, folder):
    return listing_of(
        argparse.Namespace(suite=name, data=folder, lists=[], task="", split="", root=None, outside=False)
    )


QUICK = ("breakfast",)
SLOW = [name for name, suite in SUITES.items() if suite.layout and name not in (*QUICK, "in1k")]


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_every_suite_reads_copies_where_it_read_the_originals(name, tmp_path):
    lay_out(get_suite(name), tmp_path / "own", Plan(classes=2, videos=1))
    listing, out = of_suite(name, tmp_path / "own"), tmp_path / "out"
    places = targets(listing, out)
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    copy_lists(listing, places, out, force=False)
    assert reads_as(listing, places, out) == ""
    assert {path.suffix for path in places.values()} == {".mp4"}


def test_images_are_not_prepared(tmp_path):
    lay_out(get_suite("in1k"), tmp_path / "own", Plan(classes=2, videos=1))
    with pytest.raises(DataError, match=r"JPEG' is an image; only videos are prepared"):
        targets(of_suite("in1k", tmp_path / "own"), tmp_path / "out")
