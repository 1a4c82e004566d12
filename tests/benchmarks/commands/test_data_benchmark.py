"""`zoo data benchmark` as a person types it."""

import argparse
import json

import pytest

from benchmarks import cli
from benchmarks.commands import data_benchmark
from benchmarks.data_tools import clips, throughput
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.throughput import Setting, Speed
from tests.benchmarks.data_tools.videos import folder_of, toy_suite
from zoo.card import ClipSpec
from zoo.data.records import Record


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    spec = ClipSpec(num_frames=4, sampling="dense", stride=2, img_size=16)
    monkeypatch.setattr(clips, "clip_of", lambda name: spec)


def call(capsys, *words):
    known = ("--for", "videomae_base", "--decoders", "pyav", "--workers", 0, "--clips", 4, "--batch-size", 2)
    status = cli.main(["data", "benchmark", *[str(word) for word in (*known, *words)]])
    return status, *capsys.readouterr()


def test_a_row_for_each_decoder_and_number_of_workers(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=4)
    status, out, _ = call(capsys, "--list", file, "--root", root, "--rounds", 2)
    assert status == 0
    assert "4 videos of train for videomae_base: training clips, 4 frames dense, 16 px" in out
    assert out.splitlines()[2].split()[:2] == ["pyav", "0"]
    found = json.loads(call(capsys, "--list", file, "--root", root, "--rounds", 2, "--json", "--eval")[1])
    assert found["views"] == "evaluation"
    assert (found["rows"][0]["decoder"], len(found["rows"][0]["rounds"])) == ("pyav", 2)
    assert found["clip"]["stride"] == 2
    assert "commit" in found


def test_a_folder_without_the_videos_is_said(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("a.mp4 0\n")
    status, _, err = call(capsys, "--list", tmp_path / "a.csv")
    assert status == 2
    assert "none of the 1 listed videos is there" in err


def test_settings_that_could_not_be_timed_end_with_1(capsys, tmp_path):
    root, file = folder_of(tmp_path, count=2, broken=(0, 1))
    status, out, _ = call(capsys, "--list", file, "--root", root, "--rounds", 1)
    assert status == 1
    assert "pyav, 0 workers: " in out


def speed(decoder, workers=0, error=""):
    return Speed(Setting(decoder, workers), *((0.0, 0.0, 0.0, (), 0, error) if error else (9.0, 9.0, 9.0, (9.0,))))


@pytest.mark.parametrize(
    ("words", "speeds", "status"),
    [
        ((), [speed("pyav"), speed("decord", error="it reads no avi")], 0),
        ((), [speed("pyav", error="broken"), speed("decord", error="it reads no avi")], 1),
        ((), [speed("pyav"), speed("pyav", 1, error="a worker died")], 1),
        (("--decoders", "pyav"), [speed("pyav"), speed("decord", error="it reads no avi")], 1),
    ],
)
def test_a_decoder_that_nobody_asked_for_may_be_unable(capsys, tmp_path, monkeypatch, words, speeds, status):
    root, file = folder_of(tmp_path, count=2)
    monkeypatch.setattr(throughput, "measure", lambda *_, **__: speeds)
    words = ["--for", "videomae_base", "--workers", "0", "--list", str(file), "--root", str(root), *words]
    assert cli.main(["data", "benchmark", *words]) == status
    out = capsys.readouterr().out
    assert "not able" in out
    assert "it reads no avi" in out or "a worker died" in out


def test_the_sampling_is_that_of_the_suite(tmp_path):
    suite = toy_suite(tmp_path)
    listing = Listing(name="toy", root=tmp_path, lists={("what", "train"): []}, suite=suite)
    spec = data_benchmark._spec("any", listing)
    assert (spec.sampling, spec.num_frames) == ("uniform", 4)
    assert data_benchmark._spec("any", Listing(name="x", root=tmp_path, lists={("", "a"): []})).sampling == "dense"


def test_videos_are_chosen_at_random_and_each_part_once(tmp_path):
    root, _ = folder_of(tmp_path, count=4)
    records = [Record(root / f"{n % 5}.mp4", 7, n) for n in range(10)]
    listing = Listing(name="x", root=root, lists={("", "a"): records})
    chosen = data_benchmark._records(listing, 9, 0)
    assert sorted(record.path.name for record in chosen) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert [record.row for record in chosen] == [0, 1, 2, 3]
    assert len(data_benchmark._records(listing, 2, 0)) == 2
    orders = {tuple(record.path.name for record in data_benchmark._records(listing, 9, seed)) for seed in range(6)}
    assert len(orders) > 1


def test_the_options_are_the_documented_ones():
    parser = argparse.ArgumentParser()
    data_benchmark.options(parser)
    found = parser.parse_args(["--for", "x", "--workers", "0,4", "--list", "a"])
    assert (found.workers, found.rounds, found.batch_size) == ((0, 4), 3, 8)
