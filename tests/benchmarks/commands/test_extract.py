"""`zoo extract` as a person types it."""

import json

import numpy as np
import pytest
import torch

from benchmarks import cli
from benchmarks.commands import extract as extract_command
from tests.zoo.data.clips import break_file, write_set
from zoo.data.datamodule import VideoDataModule
from zoo.registry import create_model
from zoo.training.feature_cache import cached_features


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    records = write_set(folder, num_frames=(8, 8, 8))
    (folder / "val.csv").write_text("".join(f"{record.path.name},{record.label}\n" for record in records))
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))


def extract(folder, out, *words, source=None):
    chosen = source or ["--list", str(folder / "val.csv")]
    return cli.main(["extract", "vit_pico", *chosen, "--out", str(out), "--accelerator", "cpu", *words])


def test_a_list_becomes_features_that_protocols_find(folder, tmp_path, capsys, monkeypatch):
    assert extract(folder, tmp_path / "out", "--random", "--clips", "2", "--crops", "1") == 0
    out = capsys.readouterr().out
    assert "val: 3 records, features 6 x 1 x" in out
    from zoo.data.records import read_list

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model("vit_pico", num_classes=0)
    from dataclasses import replace

    records = read_list(folder / "val.csv")
    data = VideoDataModule(spec=replace(model.spec.clip, clips=2, crops=1), test=records, batch_size=8)
    monkeypatch.setattr(type(data), "eval_dataloader", lambda *_: pytest.fail("computed again"))
    bank = cached_features(model, data, records, tmp_path / "out", pool="mean")
    assert bank.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_other_tools_get_their_forms_from_features_computed_once(folder, tmp_path, capsys):
    assert extract(folder, tmp_path / "out", "--random", "--form", "twlvi") == 0
    assert sorted(path.name for path in (tmp_path / "out" / "val").glob("*.json")) == ["0.json", "1.json", "2.json"]
    assert extract(folder, tmp_path / "out", "--random", "--form", "mteb") == 0
    with np.load(tmp_path / "out" / "val.npz") as arrays:
        vectors = arrays["embeddings"]
    assert np.allclose(vectors[1], np.load(tmp_path / "out" / "val" / "1_v.npy"), atol=1e-6)
    assert json.loads((tmp_path / "out" / "val.json").read_text())["videos"] == ["0.mp4", "1.mp4", "2.mp4"]
    assert len(list((tmp_path / "out" / "bank").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "an architecture without weights"),
        (("--random", "--form", "twlvi", "--pool", "none"), "choose --pool mean or cls"),
        (("--random", "--layers", "1,x"), "'1,x' is no list of blocks"),
        (("--random", "--split", "val"), "of suites"),
        (("--random", "--clips", "0"), "--clips must be at least 1"),
        (("--random", "--suite", "digits"), "either --suite SUITE or --list FILE"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(folder, tmp_path, capsys, words, told):
    assert extract(folder, tmp_path / "out", *words) == cli.USAGE_ERROR
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unreadable_video_stops_it_and_is_named(tmp_path, capsys):
    records = write_set(tmp_path, num_frames=(8, 8))
    break_file(records[1])
    (tmp_path / "val.csv").write_text("0.mp4 0\n1.mp4 1\n")
    assert extract(tmp_path, tmp_path / "out", "--random") == cli.USAGE_ERROR
    assert "1.mp4" in capsys.readouterr().err


def test_what_is_there_is_not_replaced(folder, tmp_path, capsys):
    (tmp_path / "out" / "val").mkdir(parents=True)
    assert extract(folder, tmp_path / "out", "--random", "--form", "twlvi") == cli.USAGE_ERROR
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--layers", "0,99"), "--layers 99: there is no such block; this network has blocks 0 to 3"),
        (("--pool", "cls"), "--pool cls: this network has no class token; choose --pool mean or none"),
        (("--accelerator", "gpuu"), "unknown accelerator 'gpuu'; known: auto, cpu"),
    ],
)
def test_blocks_and_accelerators_that_are_not_there_are_told_before_anything_is_read(
    folder, tmp_path, capsys, words, said
):
    assert extract(folder, tmp_path / "out", "--random", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_decoded(folder, capsys, monkeypatch):
    monkeypatch.setattr(VideoDataModule, "eval_dataloader", lambda *_: pytest.fail("decoded"))
    assert extract(folder, "/dev/null/out", "--random") == 2
    assert "zoo extract: --out /dev/null/out: Not a directory; give a folder that can be" in capsys.readouterr().err


def test_class_tokens_are_taken_from_networks_that_have_one(folder, tmp_path):
    spec = create_model("videomamba_pico", num_classes=0).spec.clip
    model = create_model("videomamba_pico", num_classes=0)
    assert extract_command._check_class_token(model, spec) is None
