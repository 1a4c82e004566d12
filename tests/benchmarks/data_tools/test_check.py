"""What is written down of videos, and what is not found out twice."""

import io
import json
import os
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks.data_tools import check as module
from benchmarks.data_tools.check import (
    MANIFEST,
    Entry,
    Job,
    Wishes,
    check,
    empty_parts,
    entry_of,
    examine,
    judged,
    latest,
    read_manifest,
    stamp_of,
)
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.pool import Answer
from tests.benchmarks.data_tools.videos import folder_of, listed
from tests.zoo.data.corpus import sound_file
from tests.zoo.data.corpus_hostile import REFUSED
from zoo.data.decode import probe
from zoo.data.records import Record, Span


@pytest.fixture
def here(monkeypatch):
    """Everything in this process; names of what was examined."""
    seen = []

    def each(function, items, *, jobs, limit_s):
        for item in items:
            seen.append(item.name)
            yield Answer(item, function(item))

    monkeypatch.setattr(module, "each", each)
    return seen


def checked(listing, out, **wishes):
    return check(listing, Wishes(**wishes), out=out, console=Console(file=io.StringIO()))


def test_an_entry_tells_what_the_index_tells():
    entry = entry_of("a", probe(sound_file("h264_mp4")))
    assert (entry.status, entry.frames, entry.fps, entry.duration_s) == ("ok", 48, 30.0, 1.6)
    assert (entry.height, entry.width, entry.codec, entry.rotation) == (64, 64, "h264", 0)
    assert (entry.size_bytes, entry.mtime_ns) == stamp_of(sound_file("h264_mp4"))
    assert entry_of("a", probe(sound_file("mpeg4_avi"))).fps == 30.0


def test_damage_between_three_frames_is_seen_by_decoding_all(tmp_path):
    path = str(REFUSED["mp4_with_a_hole"](tmp_path))
    full = examine(Job("a", path, quick=False, seconds=60.0))
    assert (full.status, full.checked, full.size_bytes) == ("corrupt", "all", os.stat(path).st_size)
    assert full.reason
    sound = str(sound_file("h264_mp4"))
    assert examine(Job("a", sound, quick=True, seconds=60.0)).checked == "quick"
    assert examine(Job("a", sound, quick=True, seconds=60.0)).frames == 48


def test_one_frame_is_enough_for_the_quick_look(tmp_path):
    from tests.zoo.data.corpus import plain

    assert examine(Job("a", str(plain(tmp_path / "a.mp4", count=1)), quick=True, seconds=60.0)).frames == 1


def test_a_second_run_repeats_nothing_but_what_changed(tmp_path, here):
    root, file = folder_of(tmp_path, count=5, broken=(1,))
    (root / "4.mp4").unlink()
    found = checked(listed(root, file), tmp_path)
    statuses = {"0.mp4": "ok", "1.mp4": "corrupt", "2.mp4": "ok", "3.mp4": "ok", "4.mp4": "missing"}
    assert {name: entry.status for name, entry in found.items()} == statuses
    assert here == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    lines = (tmp_path / MANIFEST).read_text().splitlines()
    assert len(lines) == 6
    assert checked(listed(root, file), tmp_path) == found
    assert (tmp_path / MANIFEST).read_text().splitlines() == lines
    os.utime(root / "2.mp4", ns=(1, 1))
    (root / "3.mp4").write_bytes(b"another size")
    (root / "2.mp4").replace(root / "4.mp4")
    found = checked(listed(root, file), tmp_path)
    assert here[4:] == ["3.mp4", "4.mp4"]
    assert [entry.status for entry in found.values()] == ["ok", "corrupt", "missing", "corrupt", "ok"]
    assert read_manifest(tmp_path / MANIFEST) == (str(root), found)


def test_a_touched_file_is_read_again(tmp_path, here):
    root, file = folder_of(tmp_path, count=2)
    checked(listed(root, file), tmp_path)
    os.utime(root / "1.mp4", ns=(1, 1))
    checked(listed(root, file), tmp_path)
    assert here == ["0.mp4", "1.mp4", "1.mp4"]


def test_a_quick_look_does_not_count_as_a_full_one(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    for quick in (True, True, False, True, False):
        checked(listed(root, file), tmp_path, quick=quick)
    assert len(here) == 2


def test_corrupt_files_are_read_again_when_asked(tmp_path, here):
    root, file = folder_of(tmp_path, count=2, broken=(1,))
    checked(listed(root, file), tmp_path)
    checked(listed(root, file), tmp_path, retry=True)
    assert here == ["0.mp4", "1.mp4", "1.mp4"]


def test_short_is_judged_anew_without_decoding(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    for least, status in [(8, "ok"), (9, "short"), (8, "ok")]:
        assert checked(listed(root, file), tmp_path, min_frames=least)["0.mp4"].status == status
    assert here == ["0.mp4"]
    written = [json.loads(line)["status"] for line in (tmp_path / MANIFEST).read_text().splitlines()[1:]]
    assert written == ["ok", "short", "ok"]
    assert judged(Entry(path="a", status="corrupt", reason="x"), 99).reason == "x"


def test_a_file_that_kills_its_process_is_corrupt_and_the_rest_goes_on(tmp_path, monkeypatch):
    root, file = folder_of(tmp_path, count=3)
    real = examine

    def each(function, items, *, jobs, limit_s):
        for item in items:
            lost = "it killed the process that read it: SIGSEGV" if item.name == "1.mp4" else ""
            yield Answer(item, None if lost else real(item), lost)

    monkeypatch.setattr(module, "each", each)
    found = checked(listed(root, file), tmp_path)
    assert [entry.status for entry in found.values()] == ["ok", "corrupt", "ok"]
    assert "SIGSEGV" in found["1.mp4"].reason
    assert (found["1.mp4"].size_bytes, found["1.mp4"].mtime_ns) == stamp_of(root / "1.mp4")


def test_the_limit_of_a_file_grows_with_its_size():
    assert Wishes().limit_s(1_000_000_000) == pytest.approx(2120)
    assert Wishes(seconds=5.0).limit_s(10**12) == 5.0


def test_lines_that_are_no_entries_are_passed_over():
    good = {"path": "a", "status": "ok"}
    assert list(latest([{"path": "b"}, {**good, "unknown": 1}, good, {"status": "ok"}])) == ["a"]


def test_parts_without_frames_are_named(tmp_path):
    records = [
        Record(tmp_path / "a.mp4", 0, 0, Span(0, 3)),
        Record(tmp_path / "a.mp4", 0, 1, Span(9, 12)),
        Record(tmp_path / "b.mp4", 0, 2, Span(9, 12)),
        Record(tmp_path / "a.mp4", 0, 3, Span(5, 9, "frames")),
    ]
    listing = Listing(name="x", root=tmp_path, lists={("", "val"): records})
    entry = Entry(path="a.mp4", status="ok", frames=100, fps=25.0)
    wrong = empty_parts(listing, {"a.mp4": entry, "b.mp4": Entry(path="b.mp4", status="missing")})
    assert len(wrong) == 1
    assert wrong[0].startswith("val, row 1, a.mp4: no frame lies in the part from 9 to 12 seconds")
    no_rate = empty_parts(listing, {"a.mp4": replace(entry, fps=0.0), "b.mp4": entry})
    assert [it.partition(", a.mp4")[0] for it in no_rate[:2]] == ["val, row 0", "val, row 1"]
    assert all("without a frame rate" in it for it in no_rate[:2])
