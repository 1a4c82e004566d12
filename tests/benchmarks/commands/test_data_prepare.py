"""`zoo data prepare` as a person types it."""

import hashlib
import json
import os
import subprocess
import sys
import time

import pytest

from benchmarks import cli
from benchmarks.suites import table
from tests.benchmarks.data_tools.videos import folder_of, odd_video, toy_suite
from zoo.data.decode import probe
from zoo.data.records import read_list

FAST = ("--short-side", 16, "--gop", 4, "--preset", "ultrafast", "--jobs", 1)


def call(capsys, *words):
    status = cli.main(["data", "prepare", *[str(word) for word in words]])
    return status, *capsys.readouterr()


def hashes(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*.*")}


def test_a_folder_is_copied_with_its_list(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=2)
    odd_video(root / "x.avi")
    file.write_text(file.read_text() + "x.avi,2\n")
    before = hashes(root)
    words = ("--list", file, "--root", root, "--out", tmp_path / "out", *FAST)
    status, out, _ = call(capsys, *words)
    assert status == 0
    assert "3 copied, 0 were there, 0 failed" in out
    records = read_list(tmp_path / "out" / "train.csv", root=tmp_path / "out")
    assert [(it.path.name, it.label) for it in records] == [("0.mp4", 0), ("1.mp4", 1), ("x.mp4", 2)]
    assert [probe(it.path).num_frames for it in records] == [8, 8, 8]
    assert hashes(root) == before
    status, out, _ = call(capsys, *words, "--json")
    assert status == 0
    assert (json.loads(out)["copied"], json.loads(out)["reused"]) == (0, 3)


def test_what_cannot_be_copied_is_listed_and_ends_with_1(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=2, broken=(0,))
    status, out, err = call(capsys, "--list", file, "--root", root, "--out", tmp_path / "out", *FAST)
    assert status == 1
    assert "1 copied, 0 were there, 1 failed" in out
    assert "0.mp4: not a video container" in err


def test_a_suite_reads_its_copies_as_it_read_the_originals(capsys, tmp_path, monkeypatch):
    root, _ = folder_of(tmp_path, count=2)
    odd_video(root / "x.avi")
    (root / "train.txt").write_text("0.mp4 1\nx.avi 0\n1.mp4 1\n")
    monkeypatch.setitem(table.SUITES, "toy", toy_suite(root))
    status, _, err = call(capsys, "toy", "--data", root, "--out", tmp_path / "out", *FAST)
    assert (status, err) == (0, "")
    assert (tmp_path / "out" / "train.txt").read_text() == "0.mp4 1\nx.mp4 0\n1.mp4 1\n"
    (tmp_path / "out" / "train.txt").write_text("0.mp4 1\n")
    status, _, err = call(capsys, "toy", "--data", root, "--out", tmp_path / "out", *FAST)
    assert status == 2
    assert "is there with another content" in err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--short-side", 33], "even number of pixels from 16 on, got 33"),
        (["--crf", 60], "crf must be from 0 to 51"),
        (["--preset", "swift"], "unknown preset 'swift'"),
        (["--fps", 15], "--fps 15: only 'keep'"),
        (["--out", "root"], "is the folder of the originals"),
        (["--out", "train.csv"], "cannot write"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(capsys, tmp_path, monkeypatch, words, hint):
    folder_of(tmp_path, count=1)
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, "--list", "train.csv", "--root", "root", "--out", "out", *words)
    assert status == 2
    assert hint in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "train.csv"]


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_and_repeats_nothing(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=60)
    out = tmp_path / "out"
    words = [str(it) for it in ("--list", file, "--root", root, "--out", out, *FAST)]
    before = hashes(root)
    environment = {**os.environ, "PYTHONPATH": str(cli.Path(cli.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.cli", "data", "prepare", *words], env=environment)
    journal, until = out / "prepared.jsonl", time.monotonic() + 120
    while time.monotonic() < until and not (journal.exists() and journal.read_bytes().count(b'"done"') > 5):
        time.sleep(0.005)
    process.kill()
    process.wait(60)
    time.sleep(1)  # its worker finds out, and leaves
    done = journal.read_bytes().count(b'"done"')
    made = {path.name: path.stat().st_mtime_ns for path in out.glob("*.mp4")}
    assert 5 < done < 60
    status, text, _ = call(capsys, *words)
    assert status == 0
    assert f"{60 - done} copied, {done} were there, 0 failed" in text
    assert len(list(out.glob("*.mp4"))) == 60
    same = [name for name, changed in made.items() if (out / name).stat().st_mtime_ns == changed]
    assert len(same) >= done
    assert not list(out.glob(".*"))
    assert hashes(root) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, suite in table.SUITES.items() if suite.layout and name != "in1k"])
def test_a_generated_set_is_prepared_checked_and_evaluated(capsys, tmp_path, name):
    own, out = str(tmp_path / "own"), str(tmp_path / "out")
    words = [str(word) for word in FAST]
    assert cli.main(["data", "synth", name, "--out", own, "--classes", "2", "--videos", "1", "--jobs", "1"]) == 0
    assert cli.main(["data", "prepare", name, "--data", own, "--out", out, *words]) == 0
    assert cli.main(["data", "check", name, "--data", out, "--jobs", "1", "--out", str(tmp_path / "c")]) == 0
    capsys.readouterr()
    task = table.SUITES[name].tasks[0].name
    views = ["--clips", "1", "--crops", "1", "--limit", "1", "--batch-size", "4"]
    words = ["eval", "vit_pico", "--suite", name, "--data", out, "--task", task, *views, "--out", str(tmp_path / "r")]
    assert cli.main(words) == 0
    assert "1 scored + 0 failed = 1 videos" in capsys.readouterr().out
