"""Shrunken recipes, run: one per family and kind here, all of them in the slow tier."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.published import student_model
from benchmarks.results import Store
from benchmarks.session import RequestError
from benchmarks.suites import table
from benchmarks.training_plan import Order, resolve
from benchmarks.training_runs import run
from tests.benchmarks.tiny_suite import SUITE, prepare
from zoo.recipes.catalogue import TRAININGS
from zoo.training.fit import Hardware

CPU = Hardware(accelerator="cpu")
RUNNABLE = [name for name, it in TRAININGS.items() if not it.obstacle]
ONE_OF_EACH = [
    "videomamba_middle_pretrain.k400_mask_pt_f8_res224",
    "videomamba_middle.in1k_res224",
    "videomamba_tiny.k400_f8_res224",
    "umt_base.k710_pt_f8_res224",
    "umt_base.k710_pt_ssv2_f8_res224",
    "videomae_base.k400_pt_e800",
    "videomae_base.k400_pt_e1600_k400_ft",
    "mae_st_large.k400_pt",
    "mae_st_large.k400_pt_k400_ft",
    "vjepa_large_16_224.videomix2m",
    "vjepa_large_16_224.videomix2m_k400_ft",
    "vjepa_large_16_224.videomix2m_probe_ssv2",
    "vjepa2_large_16_256.videomix22m",
    "vjepa2_large_16_256.videomix22m_probe_diving48",
    "lvmae_base.diving48_pt_f128",
    "lvmae_base.diving48_ft_f128",
    "lvmae_tokenizer_base.k600",
    "open_magvit2_video_128.ucf101",
]
# Those of whose kind another one stands above, or whose first step takes more than a moment.
SLOW_ONES = (
    *("mae_st", "lvmae_tokenizer", "lvmae_base.diving48_ft", "open_magvit2", "vjepa_large_16_224.videomix2m_k400_ft"),
    *(
        "videomae_base.k400_pt_e1600_k400_ft",
        "vjepa2_large_16_256.videomix22m_probe",
        "vjepa2_large_16_256.videomix22m",
    ),
)


@pytest.fixture(autouse=True)
def _tiny_suite(monkeypatch, tmp_path):
    monkeypatch.setitem(table.SUITES, "tiny", replace(SUITE, prepare=lambda root, _: prepare(tmp_path / "videos", _)))


def order(name, tmp_path, **options):
    task = "" if TRAININGS[name].kind == "pretrain" else "shade"
    usual = {"kind": TRAININGS[name].kind, "shrink": True, "steps": 2, "hardware": CPU, "suite": "tiny", "task": task}
    return Order(name=name, out=tmp_path / "out", **{**usual, **options})


def call(name, tmp_path, **options):
    return run(resolve(order(name, tmp_path, **options)))


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=pytest.mark.slow) if it.startswith(SLOW_ONES) else it for it in ONE_OF_EACH],
)
def test_a_shrunken_recipe_of_each_family_and_kind_trains(name, tmp_path):
    told = call(name, tmp_path, steps=1)
    assert told.steps == 1
    assert all(torch.isfinite(torch.tensor(it)) for it in told.losses)
    assert bool(told.metrics) == (TRAININGS[name].kind != "pretrain")
    assert told.file is None or told.file.stat().st_size > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNABLE)
def test_every_recipe_trains_shrunken(name, tmp_path):
    told = call(name, tmp_path, steps=1)
    assert told.steps == 1
    if TRAININGS[name].kind != "pretrain":
        (result,) = Store(tmp_path / "out").results()
        assert (result.details["recipe"], result.details["made_by"]) == (name, f"{name} (shrunken)")
        assert result.n_evaluated == result.n_expected == 16


def test_a_fine_tuning_goes_on_from_its_shrunken_pretraining(tmp_path):
    pretrained = call("umt_base.k710_pt_f8_res224", tmp_path, values=("recipe.base_lr=0.1",), seed=1)
    name = "umt_base.k710_ft_f8_res224"
    told = call(name, tmp_path, start=pretrained.file, values=("recipe.base_lr=1e-12", "recipe.base_final_lr=1e-12"))
    before, after = load_file(pretrained.file), load_file(told.file)
    # At such a rate nothing moves, so the blocks are still those of the pretraining.
    torch.testing.assert_close(after["backbone.blocks.1.mlp.fc1.weight"], before["blocks.1.mlp.fc1.weight"])
    (result,) = Store(tmp_path / "out").results()
    assert result.identity.init == str(pretrained.file)
    assert (result.settings["recipe"], result.settings["fields"]["recipe.base_lr"]) == (name, 1e-12)
    assert told.result.exists()


@pytest.mark.slow
def test_v_jepa_keeps_its_slow_copy(tmp_path):
    still = ("objective.momentum=1.0", "objective.final_momentum=1.0", "recipe.base_lr=1")
    chosen = order("vjepa2_large_16_256.videomix22m_phase1", tmp_path, values=still)
    kept = load_file(run(resolve(chosen)).file)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = student_model(resolve(chosen).training, resolve(chosen).outside).backbone.state_dict()
    # A copy that stays where it was, however far the student went.
    assert all(torch.equal(tensor, start[name]) for name, tensor in kept.items())
    moving = replace(chosen, out=tmp_path / "other", values=("objective.momentum=0", "recipe.base_lr=1"))
    moved = load_file(run(resolve(moving)).file)
    assert not torch.equal(moved["blocks.0.attn.qkv.weight"], start["blocks.0.attn.qkv.weight"])


def test_a_finished_run_is_not_repeated_and_another_is_refused_its_folder(tmp_path):
    name = "videomae_base.k400_pt_e800"
    first = call(name, tmp_path)
    again = call(name, tmp_path)
    assert (first.resumed_from, again.resumed_from) == (0, 2)
    with pytest.raises(RequestError, match="holds a run with other settings"):
        call(name, tmp_path, values=("recipe.weight_decay=0.3",))
