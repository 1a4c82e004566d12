"""Copies of a folder: made once, beside the originals, and only ever replaced when asked."""

import hashlib
import io
import os
import time
from dataclasses import asdict

import pytest
from rich.console import Console

from benchmarks.data_tools import prepare as module
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.pool import Answer
from benchmarks.data_tools.prepare import JOURNAL, Effort, prepare, targets
from tests.benchmarks.data_tools.videos import folder_of, listed, odd_video
from zoo.data.decode import probe
from zoo.data.records import Record
from zoo.data.transcode import PARTIAL, Encoding

FAST = Encoding(short_side=16, gop=4, preset="ultrafast")


@pytest.fixture
def here(monkeypatch):
    """Everything in this process; names of what was copied."""
    seen = []

    def each(function, items, *, jobs, limit_s):
        for item in items:
            seen.append(item.name)
            yield Answer(item, function(item))

    monkeypatch.setattr(module, "each", each)
    return seen


def prepared(listing, out, encoding=FAST, *, force=False):
    return prepare(listing, encoding, Effort(), out=out, force=force, console=Console(file=io.StringIO()))


def content(root):
    return {path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in root.rglob("*.*")}


def test_copies_have_the_frames_and_originals_are_untouched(tmp_path, here):
    root, file = folder_of(tmp_path, count=2, broken=(1,))
    (root / "deep").mkdir()
    odd_video(root / "deep" / "a b.avi")
    file.write_text(file.read_text() + "deep/a b.avi,0\nnone.mp4,0\n")
    before = content(root)
    outcome = prepared(listed(root, file), tmp_path / "out")
    assert outcome.copied == ("0.mp4", "deep/a b.avi")
    assert list(outcome.failed) == ["1.mp4", "none.mp4"]
    assert "not a video container" in outcome.failed["1.mp4"]
    copy = probe(tmp_path / "out" / "deep" / "a b.mp4")
    assert (copy.num_frames, copy.height, copy.width, copy.key_frames) == (8, 16, 22, (0, 4))
    assert content(root) == before
    assert outcome.copy_bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.mp4"))


def test_a_second_run_makes_no_copy_of_what_has_not_changed(tmp_path, here):
    root, file = folder_of(tmp_path, count=3)
    prepared(listed(root, file), tmp_path / "out")
    again = prepared(listed(root, file), tmp_path / "out")
    assert (len(here), again.reused, again.copied) == (3, 3, ())
    os.utime(root / "0.mp4", ns=(1, 1))
    (tmp_path / "out" / "1.mp4").unlink()
    (tmp_path / "out" / "2.mp4").write_bytes(b"cut")
    prepared(listed(root, file), tmp_path / "out")
    assert here[3:] == ["0.mp4", "1.mp4", "2.mp4"]


def test_a_run_that_is_stopped_goes_on_and_repeats_nothing(tmp_path, monkeypatch):
    root, file = folder_of(tmp_path, count=4)
    made, make = [], module.make

    def each(function, items, *, jobs, limit_s):
        for item in items:
            answer = Answer(item, make(item))
            made.append(item.name)
            if len(made) == 3:
                raise KeyboardInterrupt  # this copy is there, and nobody wrote it down
            yield answer

    monkeypatch.setattr(module, "each", each)
    with pytest.raises(KeyboardInterrupt):
        prepared(listed(root, file), tmp_path / "out")
    outcome = prepared(listed(root, file), tmp_path / "out")
    assert made == ["0.mp4", "1.mp4", "2.mp4", "2.mp4", "3.mp4"]
    assert (outcome.reused, outcome.failed) == (2, {})
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_a_file_that_is_no_copy_of_ours_is_left_alone(tmp_path, here):
    root, file = folder_of(tmp_path, count=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.mp4").write_bytes(b"mine")
    outcome = prepared(listed(root, file), tmp_path / "out", force=True)
    assert "no copy that this command made" in outcome.failed["1.mp4"]
    assert (tmp_path / "out" / "1.mp4").read_bytes() == b"mine"
    assert here == ["0.mp4"]


def test_other_settings_need_another_folder_or_force(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    prepared(listed(root, file), tmp_path / "out")
    other = Encoding(short_side=16, gop=2, preset="ultrafast")
    with pytest.raises(DataError, match=r"made with short_side 16, gop 4.*or replace them with --force"):
        prepared(listed(root, file), tmp_path / "out", other)
    assert probe(tmp_path / "out" / "0.mp4").key_frames == (0, 4)
    prepared(listed(root, file), tmp_path / "out", other, force=True)
    assert probe(tmp_path / "out" / "0.mp4").key_frames == (0, 2, 4, 6)


def test_no_original_can_be_replaced(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    (root / "sub").mkdir()
    with pytest.raises(DataError, match="is the folder of the originals"):
        prepared(listed(root, file), root / "sub" / "..")
    (tmp_path / "link").symlink_to(root)
    with pytest.raises(DataError, match="is the folder of the originals"):
        prepared(listed(root, file), tmp_path / "link")
    lists = {("", "a"): [Record(root / "x" / "0.mp4", 0, 0), Record(root / "0.mp4", 0, 1)]}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").symlink_to(root)
    with pytest.raises(DataError, match=r"would replace the original '0.mp4'"):
        prepared(Listing(name="a", root=root, lists=lists), tmp_path / "out")
    assert here == []
    prepared(listed(root, file), root / "small")
    assert (root / "small" / "0.mp4").exists()


def test_names_that_would_meet_or_leave_are_refused(tmp_path):
    two = [Record(tmp_path / "a.avi", 0, 0), Record(tmp_path / "a.mp4", 0, 1)]
    with pytest.raises(DataError, match=r"'a.avi' and 'a.mp4' would both become 'a.mp4'"):
        targets(Listing(name="a", root=tmp_path, lists={("", "a"): two}), tmp_path / "out")
    outside = [Record(tmp_path / "a.avi", 0, 0)]
    with pytest.raises(DataError, match="lies outside"):
        targets(Listing(name="a", root=tmp_path / "in", lists={("", "a"): outside}), tmp_path / "out")


def test_what_killed_processes_left_is_removed_once_it_is_old(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    (tmp_path / "out" / "sub").mkdir(parents=True)
    old, new = tmp_path / "out" / "sub" / f".1-a{PARTIAL}", tmp_path / "out" / f".2-b{PARTIAL}"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 4000,) * 2)
    prepared(listed(root, file), tmp_path / "out")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_full_disk_is_no_fault_of_a_file(tmp_path, monkeypatch):
    root, file = folder_of(tmp_path, count=2)
    monkeypatch.setattr(module, "each", lambda function, items, **_: (Answer(it, None, "OSError: 28") for it in items))
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match=r"no space left .*\(10 bytes\); the same command goes on"):
        prepared(listed(root, file), tmp_path / "out")


def test_the_journal_says_how_a_copy_was_made(tmp_path, here):
    root, file = folder_of(tmp_path, count=1)
    prepared(listed(root, file), tmp_path / "out")
    *_, last = module.Journal(tmp_path / "out" / JOURNAL, {"kind": module.KIND, "schema": 1, "root": str(root)}).entries
    assert (last["state"], last["settings"], last["frames"]) == ("done", asdict(FAST), 8)


def test_the_limit_of_a_file_grows_with_its_size():
    assert Effort().limit_s(100_000_000) == pytest.approx(1600)
    assert Effort(seconds=5.0).limit_s(10**12) == 5.0
