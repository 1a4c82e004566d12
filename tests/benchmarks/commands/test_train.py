from dataclasses import replace

import pytest

from benchmarks import cli
from benchmarks.suites import table
from tests.benchmarks.tiny_suite import SUITE, prepare
from zoo.recipes.catalogue import TRAININGS

SHRUNK = ("--shrink", "--suite", "tiny", "--accelerator", "cpu", "--steps", "2")


@pytest.fixture(autouse=True)
def _tiny_suite(monkeypatch, tmp_path):
    monkeypatch.setitem(table.SUITES, "tiny", replace(SUITE, prepare=lambda root, _: prepare(tmp_path / "videos", _)))


def call(capsys, *words):
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_pretraining_tells_its_rates_and_its_teacher_before_the_first_step(tmp_path, capsys):
    words = ("pretrain", "umt_base.k710_pt_f8_res224", *SHRUNK, "--out", tmp_path)
    status, out, err = call(capsys, *words)
    assert status == 0, err
    assert "peak 2.344e-06" in out
    assert "a small one of the kind of clip_visual_base_patch16.openai, with random weights" in out
    assert "2 steps; loss" in out
    assert (tmp_path / "work").is_dir()
    status, out, _ = call(capsys, *words, "--resume")
    assert "2 steps, from step 2" in out


def test_a_fine_tuning_shows_its_layers_and_its_score(tmp_path, capsys):
    words = ("finetune", "umt_base.k710_pt_ssv2_f8_res224", *SHRUNK, "--task", "shade", "--out", tmp_path)
    status, out, err = call(capsys, *words, "--set", "recipe.mixup=0", "recipe.cutmix=0")
    assert status == 0, err
    assert "0.3164" in out  # 0.75 to the power of 4, the stem's
    assert "top1" in out


def test_a_dry_run_leaves_nothing_and_needs_no_data(tmp_path, capsys):
    out_dir = tmp_path / "out"
    status, out, err = call(
        capsys, "pretrain", "umt_large.k710_pt_f8_res224", "--dry-run", "--devices", "8", "--out", out_dir
    )
    assert status == 0, err
    assert "2048 videos a step = 64 per device x 8 devices x 4 accumulated" in out
    assert "63,400: 200 epochs of 650,000 videos" in out
    assert not out_dir.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("finetune", "umt_base.k710_pt_f8_res224"), "is run by zoo pretrain, not by zoo finetune"),
        (("finetune", "timesformer_base.k400_f8_res224"), "cannot be run: its optimiser"),
        (("pretrain", "umt_base.k710_pt_f8_res2"), "did you mean 'umt_base.k710_pt_f8_res224'"),
        (("pretrain", "umt_base.k710_pt_f8_res224", "--set", "recipe.bas_lr=1"), "did you mean 'recipe.base_lr'"),
        (("pretrain", "umt_base.k710_pt_f8_res224", "--set", "recipe.base_lr=x"), "'x' is no number"),
        (("pretrain", "umt_base.k710_pt_f8_res224"), "--data"),
        (("pretrain", "umt_base.k710_pt_f8_res224", "--steps", "3"), "--steps is for --shrink"),
        (("pretrain", "videomae_base.k400_pt_e800", *SHRUNK, "--set", "clip.num_frames=3"), "clip of 3 frames"),
        (("pretrain", "umt_base.k710_pt_f8_res224", *SHRUNK, "--resume"), "holds no run to go on with"),
        (("probe", "vjepa_large_16_224.videomix2m_probe_k400", "--teacher", "x"), "unknown option '--teacher'"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path, capsys, words, message):
    status, _, err = call(capsys, *words, "--out", tmp_path / "out")
    assert status == 2
    assert message in err
    assert "Traceback" not in err


def test_another_batch_is_a_warning(tmp_path, capsys):
    words = ("finetune", "videomamba_tiny.k400_f8_res224", "--dry-run", "--batch-size", "48", "--devices", "8")
    _, out, _ = call(capsys, *words)
    assert "warning: effective batch 384" in out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, it in TRAININGS.items() if not it.obstacle])
def test_a_dry_run_of_every_recipe(name, capsys):
    suite = () if TRAININGS[name].suite else ("--suite", "ssv2")
    status, out, err = call(capsys, TRAININGS[name].kind, name, "--dry-run", *suite)
    assert status == 0, err
    assert name in out


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, it in TRAININGS.items() if it.obstacle])
def test_recipes_that_cannot_be_run_are_refused_with_their_reason(name, capsys):
    status, _, err = call(capsys, TRAININGS[name].kind, name)
    assert status == 2
    assert TRAININGS[name].obstacle in err


def test_a_dry_run_tells_of_a_run_that_is_not_there(tmp_path, capsys):
    words = ("pretrain", "umt_base.k710_pt_f8_res224", *SHRUNK, "--out", tmp_path, "--resume", "--dry-run")
    status, out, err = call(capsys, *words)
    assert status == 0, err
    assert "without --dry-run this would be refused: --resume" in out
