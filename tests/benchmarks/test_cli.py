import importlib
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli, compare
from zoo import create_model, save_checkpoint
from zoo.cards import ARCHITECTURES
from zoo.data.encode import write_video
from zoo.training.checkpoint import Interrupted

ROOT = Path(__file__).parents[2]


def call(capsys, *words: str) -> tuple[int, str, str]:
    try:
        status = cli.main(words)
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_prints_every_architecture(capsys):
    status, out, _ = call(capsys, "list")
    assert status == 0
    for name in ("vit_pico", "videomamba_middle", "timesformer_base", "videomae_huge"):
        assert name in out


def test_list_filters_and_speaks_json(capsys):
    status, out, _ = call(capsys, "list", "videomamba_*", "--json")
    assert status == 0
    names = json.loads(out)
    assert "videomamba_pico" in names
    assert all(name.startswith("videomamba_") for name in names)


def test_info_tells_sizes_and_options(capsys):
    status, out, _ = call(capsys, "info", "vit_pico")
    assert status == 0
    for words in ("vit_pico", "parameters", "tubelet_size", "24"):
        assert words in out
    status, out, _ = call(capsys, "info", "vit_pico", "--json")
    assert json.loads(out)["clip"]["img_size"] == 24


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["comapre", "vit_pico"], "compare"),
        (["compare", "vit_pic", "--budget", "smoke"], "vit_pico"),
        (["compare", "vit_pico", "--budgt", "smoke"], "--budget"),
        (["compare", "vit_pico", "--budget", "quik"], "'quick'"),
        (["compare", "vit_pico", "--protocol", "finetun"], "'finetune'"),
        (["compare", "vit_pico", "--suite", "digit"], "'digits'"),
        (["compare", "vit_pico", "--seeds", "0"], "from 1 on"),
        (["compare", "videomae_base", "--budget", "smoke"], "vit_pico"),
        (["compare"], "NAME"),
        (["info", "videomamba_midle"], "videomamba_middle"),
        (["list", "videomanba_*"], "videomamba"),
        (["list", "--jsn"], "--json"),
        (["predict", "vit_pico", "none.mp4"], "checkpoint"),
        (["predict", "vit_pico", "none.mp4", "-k", "²"], "from 1 on"),
        (["predict", "vjepa_large_16_224.videomix2m", "none.mp4"], "without a classifier"),
        (["report", "no/such/folder"], "no/such/folder"),
        (["--verson"], "--help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_get_a_hint_a_status_and_no_traceback(capsys, words, hint):
    status, out, err = call(capsys, *words)
    assert status == 2
    assert hint in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("command", ["compare", "list", "info", "predict", "report", "pull", "verify", "efficiency"])
def test_help_has_examples(capsys, command):
    status, out, _ = call(capsys, command, "--help")
    assert status == 0
    assert re.search(rf"examples:\n  zoo {command} ", out)


def test_without_a_command_the_commands_are_listed(capsys):
    status, out, _ = call(capsys)
    assert status == 2
    for command in ("compare", "list", "info", "predict", "report"):
        assert command in out


def test_compare_passes_on_what_was_asked(capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(compare, "compare", lambda request, *, dry_run: asked.append((request, dry_run)) or 1)
    words = "compare a b --suite digits --protocol knn --budget full --seeds 3 --out x --jobs 4 --dry-run"
    status, _, _ = call(capsys, *shlex.split(words))
    assert status == 1
    ((request, dry_run),) = asked
    assert request.names == ("a", "b")
    assert (request.protocol, request.budget, request.seeds, request.jobs) == ("knn", "full", 3, 4)
    assert request.out == Path("x")
    assert dry_run


def test_ctrl_c_ends_with_130_and_without_a_traceback(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "compare", interrupted)
    status, _, err = call(capsys, "compare", "vit_pico")
    assert status == 130
    assert "interrupted" in err


def test_a_training_that_stopped_says_what_it_kept_and_how_to_go_on(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise Interrupted(signal.SIGTERM, Path("runs/x/last.ckpt"))

    monkeypatch.setattr(compare, "compare", interrupted)
    status, _, err = call(capsys, "compare", "vit_pico")
    assert status == 128 + signal.SIGTERM
    assert "zoo: interrupted: stopped by SIGTERM; run the same command again to go on from runs/x/last.ckpt\n" in err


def test_errors_of_our_own_keep_their_traceback(capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr(compare, "compare", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["compare", "vit_pico"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_checkpoint(create_model("vit_pico", num_classes=3), path, label_names=("run", "jump", "sit"))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), dtype=np.uint8), fps=8)
    return path


def test_predict_names_the_classes_of_a_checkpoint_best_first(capsys, checkpoint, video):
    status, out, _ = call(capsys, "predict", "vit_pico", str(video), "-k", "2", "--checkpoint", str(checkpoint))
    assert status == 0
    shares = [float(line.split("%")[0]) for line in out.splitlines()]
    assert len(shares) == 2
    assert shares == sorted(shares, reverse=True)
    assert all(line.split()[-1] in ("run", "jump", "sit") for line in out.splitlines())
    words = ["predict", "vit_pico", str(video), "--checkpoint", str(checkpoint), "--json"]
    answers = json.loads(call(capsys, *words)[1])
    assert sum(answer["probability"] for answer in answers) == pytest.approx(1, abs=1e-5)


def test_predict_on_something_that_is_no_video_names_the_file(capsys, checkpoint, tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    status, _, err = call(capsys, "predict", "vit_pico", str(path), "--checkpoint", str(checkpoint))
    assert status == 2
    assert "notes.mp4" in err


def test_predict_with_something_that_are_no_weights_names_the_file(capsys, video, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_text("<html>404</html>")
    status, _, err = call(capsys, "predict", "vit_pico", str(video), "--checkpoint", str(path))
    assert status == 2
    assert "weights.safetensors" in err


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error():
    words = [sys.executable, "-m", "benchmarks.cli", "info", "vit_pico"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    process.stdout.close()
    assert process.wait(timeout=120) in (0, 1)
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize(("module", "name"), cli.USER_ERRORS)
def test_the_errors_that_are_told_without_traceback_exist(module, name):
    assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_an_unknown_family_gets_the_families(capsys):
    status, _, err = call(capsys, "list", "--family", "ViT")
    assert status == 2
    families = sorted({architecture.family for architecture in ARCHITECTURES})
    assert f"unknown family 'ViT'; there are {', '.join(families)}" in err
