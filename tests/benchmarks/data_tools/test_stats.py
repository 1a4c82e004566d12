"""Numbers of lists and of their files."""

import io

import pytest
from rich.console import Console

from benchmarks.data_tools import stats
from benchmarks.data_tools.check import Job, Wishes, check
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.listed import ListedVideos
from tests.benchmarks.data_tools.videos import folder_of, listed, toy_suite, toy_videos
from zoo.data.records import Record, Span


def console():
    return Console(file=io.StringIO())


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 1\nc.mp4 0\n")
    (tmp_path / "test.txt").write_text("d.mp4 2\nb.mp4 1\n")
    videos = toy_videos(tmp_path)
    lists = {key: videos.records(*key) for key in [("what", "train"), ("what", "test"), ("how", "train")]}
    return Listing(name="toy", root=tmp_path, lists=lists, suite=toy_suite(tmp_path), videos=videos)


def test_classes_are_counted_and_empty_ones_named(toy):
    train, test, how = stats.list_stats(toy)
    assert (train.videos, train.rows, train.classes, train.per_row) == (3, 3, 4, (2, 1, 0, 0))
    assert train.per_class == (1, 1.5, 2)
    assert train.empty == ("c", "d")
    assert (train.copies, train.known) == (("ours",), {"ours": 3, "theirs": 5})
    assert (test.copies, test.known) == ((), {"ours": 9})
    assert (how.per_class, how.classes, how.targets) == (None, 0, (0.5, 1.0, 2.5))
    assert train.split_hash == toy.videos.split_hash("what", "train")


def test_windows_of_a_video_are_records_of_one_row(tmp_path):
    records = [Record(tmp_path / "a.mp4", 1, 0, Span(0, 3)), Record(tmp_path / "a.mp4", 1, 0, Span(3, 6))]
    found = stats.list_stats(Listing(name="x", root=tmp_path, lists={("", "train"): records}))[0]
    assert (found.videos, found.rows, found.records, found.per_row) == (1, 1, 2, (0, 1))
    assert found.empty == ("0",)


def test_the_hash_of_a_plain_list_is_that_of_the_same_list_in_a_suite(tmp_path):
    root, file = folder_of(tmp_path, count=3)
    listing = listed(root, file)
    same = ListedVideos(folder=root, lists={("t", "train"): listing.lists["", "train"]}, names={})
    assert stats.list_stats(listing)[0].split_hash == same.split_hash("t", "train")


def test_videos_that_two_lists_share_are_named(toy):
    assert stats.overlaps(toy) == [("what", "train", "test", ("b.mp4",))]


def test_files_are_described_by_a_sample(tmp_path):
    root, file = folder_of(tmp_path, count=5, broken=(3,))
    (root / "4.mp4").unlink()
    listing = listed(root, file)
    found = stats.from_sample(listing, sample=9, jobs=1, seed=0, console=console())
    assert (found.files, found.listed, found.bad) == (5, 5, 2)
    assert found.durations_s == (1.0, 1.0, 1.0)
    assert found.hours == pytest.approx(3 / 3600)
    assert (found.fps, found.sizes, found.codecs) == ({"8.00": 3}, {"16x16": 3}, {"h264": 3})
    assert found.source == "all files, probed"
    part = stats.from_sample(listing, sample=2, jobs=1, seed=1, console=console())
    assert (part.files, part.listed, part.source) == (2, 5, "a random sample, seed 1, probed")


def test_files_are_described_by_a_manifest(tmp_path):
    root, file = folder_of(tmp_path, count=2, broken=(1,))
    check(listed(root, file), Wishes(), out=tmp_path, console=console())
    found = stats.from_manifest(listed(root, file), tmp_path / "manifest.jsonl")
    assert (found.files, found.bad, found.durations_s) == (2, 1, (1.0,))
    other = Listing(name="x", root=root, lists={("", "a"): [Record(root / "z.mp4", 0, 0)]})
    with pytest.raises(DataError, match="knows none of these videos"):
        stats.from_manifest(other, tmp_path / "manifest.jsonl")
    with pytest.raises(DataError, match="was not written by zoo data check"):
        stats.from_manifest(other, file)


def test_describing_never_raises(tmp_path):
    assert stats.describe(Job("a", str(tmp_path / "none"), True, 9.0)).status == "missing"
    (tmp_path / "a").write_bytes(b"x")
    broken = stats.describe(Job("a", str(tmp_path / "a"), True, 9.0))
    assert broken.status == "corrupt"
    assert "not a video container" in broken.reason
    assert stats.range_of([]) is None
