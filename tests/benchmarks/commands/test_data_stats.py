"""`zoo data stats` as a person types it."""

import json

import pytest

from benchmarks import cli
from tests.benchmarks.data_tools.videos import folder_of


def call(capsys, *words):
    status = cli.main(["data", *[str(word) for word in words]])
    return status, *capsys.readouterr()


@pytest.fixture(autouse=True)
def wide(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def test_lists_alone_open_no_file(capsys, tmp_path):
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.mp4 2\n")
    (tmp_path / "val.csv").write_text("b.mp4 0\n")
    words = ("--list", "train.csv", "--list", "val.csv", "--sample", 0)
    status, out, _ = call(capsys, "stats", *words)
    assert status == 0
    assert "train: 1 classes without videos: 1" in out
    assert "train and val share 1 videos: b.mp4" in out
    found = json.loads(call(capsys, "stats", *words, "--json")[1])
    assert found["files"] is None
    assert [it["rows"] for it in found["lists"]] == [2, 1]


def test_the_manifest_of_a_check_is_found_and_drawn(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=3)
    call(capsys, "check", "--list", file, "--root", root)
    words = ("stats", "--list", file, "--root", root)
    status, out, _ = call(capsys, *words, "--plot", "p.png", "--json")
    assert status == 0
    assert json.loads(out)["files"]["source"] == "manifest runs/data/train/manifest.jsonl"
    assert (tmp_path / "p.png").exists()
    status, _, err = call(capsys, *words, "--plot", "p.png")
    assert status == 2
    assert "replace it with --force" in err


def test_without_a_manifest_or_with_that_of_another_folder_a_sample_is_probed(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=3)
    (tmp_path / "other").mkdir()
    call(capsys, "check", "--list", file, "--root", tmp_path / "other")
    out = call(capsys, "stats", "--list", file, "--root", root, "--sample", 2, "--jobs", 1, "--json")[1]
    files = json.loads(out)["files"]
    assert (files["source"], files["files"]) == ("a random sample, seed 0, probed", 2)


def test_a_manifest_that_is_none_is_refused(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=1)
    status, _, err = call(capsys, "stats", "--list", file, "--root", root, "--manifest", file)
    assert status == 2
    assert "was not written by zoo data check" in err
