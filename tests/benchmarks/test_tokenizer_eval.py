import json
from pathlib import Path

import pytest
import torch

from benchmarks import cli, tokenizer_eval
from benchmarks.evaluation import Request
from benchmarks.protocols import codecs
from benchmarks.session import RequestError
from benchmarks.suites import table
from benchmarks.tokenizer_eval import checked, clip_of, evaluate_tokenizer
from tests.benchmarks.tiny_suite import SUITE
from zoo.suggest import UnknownNameError
from zoo.tokenizers import create_tokenizer, save_tokenizer
from zoo.training.fit import Hardware

NAME = "lvmae_tokenizer_tiny"


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(table.SUITES, "digits", SUITE)
    monkeypatch.setattr(codecs, "available", lambda codec: f"{codec} is not here")


def request(folder: Path, **options) -> Request:
    made = {"name": NAME, "suite": "digits", "data": folder, "out": folder / "out", "protocol": "reconstruction"}
    return Request(**{**made, **options})


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    small = {"channels": 4, "keep_tokens": 30}
    save_tokenizer(create_tokenizer(NAME, **small), tmp_path / "t.safetensors", name=NAME, overrides=small)
    return tmp_path / "t.safetensors"


@pytest.mark.slow
def test_a_file_is_measured_on_clips_of_every_task_and_the_result_names_its_weights(tmp_path, file):
    told = evaluate_tokenizer(request(tmp_path, checkpoint=file, limit=2))
    assert (told.result.n_evaluated, told.reason) == (4, "")
    assert told.result.identity.init == f"weights-{told.result.settings['weights'][:12]}"
    assert set(told.result.metrics) >= {"psnr", "ssim", "bits_per_pixel", "blank_psnr", "codebook_usage"}
    assert told.result.metrics["psnr"].value == told.report.point.psnr
    assert "x264 is not here" in told.result.details["notes"]
    other = evaluate_tokenizer(request(tmp_path, limit=2, seed=1))
    assert other.result.identity.init == "random"
    assert other.report.point.psnr != told.report.point.psnr


def test_the_command_prints_numbers_in_their_units(tmp_path, file, capsys):
    words = ["eval", NAME, "--suite", "digits", "--data", str(tmp_path), "--protocol", "reconstruction", "--limit", "1"]
    assert cli.main([*words, "--checkpoint", str(file), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "2 coded + 0 failed = 2 clips of digits" in said
    (path,) = (tmp_path / "out").glob("*.json")
    psnr = json.loads(path.read_text())["metrics"]["psnr"][0]
    assert f"{psnr:.4g} dB" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": "x"}, "takes no --views"),
        ({"weight_decays": "0.1"}, "takes no --weight-decays"),
        ({"hardware": Hardware(devices=2)}, "takes no --devices"),
        ({"pretrained": True, "checkpoint": Path("x")}, "not both"),
        ({"split": "tset"}, "'test'"),
        ({"name": "vit_pico"}, "encoder of no tokenizer"),
    ],
    ids=str,
)
def test_what_means_nothing_to_a_tokenizer_is_refused(tmp_path, options, words):
    with pytest.raises((RequestError, UnknownNameError), match=words):
        checked(request(tmp_path, **options))


def test_a_tokenizer_for_larger_pictures_is_refused_with_both_sizes(tmp_path):
    with pytest.raises(RequestError, match=r"128 px.*24 px"):
        clip_of(request(tmp_path, name="magvit2_causal"), SUITE)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"no\.safetensors: there is no such file"):
        evaluate_tokenizer(request(tmp_path, checkpoint=tmp_path / "no.safetensors"))


@pytest.mark.slow
def test_unread_videos_mean_no_headline_unless_they_are_tolerated(tmp_path, file, monkeypatch):
    found = tokenizer_eval.Gallery.some
    monkeypatch.setattr(tokenizer_eval.Gallery, "some", lambda *it: (found(*it)[0], ["a.mp4: damaged"]))
    told = evaluate_tokenizer(request(tmp_path, checkpoint=file, limit=2))
    assert told.reason == "1 of 5 videos could not be read"
    assert told.result.metrics == {}
    assert evaluate_tokenizer(request(tmp_path, checkpoint=file, limit=2, tolerate="1")).reason == ""
