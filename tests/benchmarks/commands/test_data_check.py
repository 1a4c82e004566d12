"""`zoo data check` as a person types it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from benchmarks import cli
from benchmarks.data_tools import check as checking
from tests.benchmarks.data_tools.videos import folder_of
from tests.zoo.made_up_cards import zoo_of_cards


def call(capsys, *words):
    status = cli.main(["data", "check", *[str(word) for word in words]])
    return status, *capsys.readouterr()


@pytest.fixture(autouse=True)
def wide(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_a_sound_folder_ends_with_0_and_a_manifest(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=3)
    status, out, _ = call(capsys, "--list", file, "--root", root, "--jobs", 1)
    assert status == 0
    assert out.splitlines()[1].split() == ["train", "3", "3", "0", "0", "0"]
    assert len((tmp_path / "runs/data/train/manifest.jsonl").read_text().splitlines()) == 4


def test_bad_videos_are_listed_and_end_with_1(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=4, broken=(1,))
    (root / "2.mp4").unlink()
    words = ("--list", file, "--root", root, "--out", tmp_path / "o", "--min-frames", 8)
    status, out, _ = call(capsys, *words)
    assert status == 1
    assert "corrupt 1.mp4: not a video container" in out
    assert "missing 2.mp4: there is no such file" in out
    status, out, _ = call(capsys, *words, "--json")
    assert status == 1
    assert json.loads(out)["counts"] == {"train": {"ok": 2, "short": 0, "corrupt": 1, "missing": 1}}


def test_short_is_what_a_network_would_repeat_frames_of(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.cards.CARDS", zoo_of_cards())
    root, file = folder_of(tmp_path, count=1)
    assert call(capsys, "--list", file, "--root", root, "--for", "umt_base.k400_f8")[0] == 0
    status, out, _ = call(capsys, "--list", file, "--root", root, "--for", "videomae_base.ssv2_f16")
    assert status == 1
    assert "8 frames, fewer than 16" in out
    status, _, err = call(capsys, "--list", file, "--for", "umt_base", "--min-frames", 3)
    assert status == 2
    assert "--min-frames and --for say the same" in err


def test_several_lists_count_a_video_once(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=3)
    (tmp_path / "val.csv").write_text("2.mp4 0\n")
    status, out, _ = call(capsys, "--list", file, "--list", tmp_path / "val.csv", "--root", root, "--json")
    assert status == 0
    assert json.loads(out)["counts"]["all, each once"]["ok"] == 3


def test_ctrl_c_keeps_what_is_known_and_the_next_run_goes_on(capsys, tmp_path, monkeypatch):
    root, file = folder_of(tmp_path, count=4)
    append, written = checking.Journal.append, []

    def interrupted(self, entry):
        append(self, entry)
        written.append(entry)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checking.Journal, "append", interrupted)
    words = ("--list", file, "--root", root, "--out", tmp_path / "o", "--jobs", 1)
    status, _, err = call(capsys, *words)
    assert status == 130
    assert "interrupted" in err
    lines = (tmp_path / "o" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines[1:]] == ["0.mp4", "1.mp4"]
    monkeypatch.setattr(checking.Journal, "append", append)
    assert call(capsys, *words)[0] == 0
    lines = (tmp_path / "o" / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["path"] for line in lines[1:]] == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_a_manifest_of_another_folder_and_an_unwritable_out_are_refused(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=1)
    (tmp_path / "other").mkdir()
    call(capsys, "--list", file, "--root", root, "--out", tmp_path / "o")
    status, _, err = call(capsys, "--list", file, "--root", tmp_path / "other", "--out", tmp_path / "o")
    assert status == 2
    assert "choose another --out" in err
    status, _, err = call(capsys, "--list", file, "--root", root, "--out", file / "o")
    assert status == 2
    assert "cannot write" in err


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_leaves_whole_lines(tmp_path, stop):
    root, file = folder_of(tmp_path, count=60)
    words = ["--list", file, "--root", root, "--out", tmp_path / "o", "--jobs", "1"]
    command = [sys.executable, "-m", "benchmarks.cli", "data", "check", *map(str, words)]
    process = subprocess.Popen(command, env=_environment())
    manifest = tmp_path / "o" / "manifest.jsonl"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (manifest.exists() and manifest.read_bytes().count(b"\n") > 5):
        time.sleep(0.005)
    process.send_signal(stop)
    assert process.wait(60) == (130 if stop == signal.SIGINT else -9)
    lines = manifest.read_text().splitlines()
    assert 5 < len(lines) <= 61
    assert all(json.loads(line) for line in lines)
    assert subprocess.run(command, env=_environment(), check=False).returncode == 0
    assert len(manifest.read_text().splitlines()) == 61


def _environment():
    return {**os.environ, "PYTHONPATH": str(cli.Path(cli.__file__).parents[1])}
