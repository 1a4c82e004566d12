import json
from dataclasses import asdict, replace

import pytest
import torch

from benchmarks.protocols import finetune
from tests.benchmarks.protocols.clips import tiny_data, tiny_model
from zoo.data.datamodule import FailurePolicy
from zoo.recipes.recipe import Recipe

SETTINGS = finetune.Settings(recipe=Recipe(steps=40, global_batch=6, base_lr=0.4, warmup_steps=4))


def test_it_learns_and_scores_every_test_video_once(tmp_path):
    data, seen = tiny_data(tmp_path), []
    outcome = finetune.run(
        tiny_model, data, SETTINGS, seed=0, run_dir=tmp_path / "run", on_step=lambda step, row: seen.append(step)
    )
    assert outcome.accuracy > 0.9
    assert outcome.rows.tolist() == list(range(12))
    assert (outcome.expected, outcome.failed) == (12, 0)
    assert outcome.labels.tolist() == [record.label for record in data.test_records]
    assert seen == [row["step"] for row in outcome.curves] == list(range(1, 41))
    assert outcome.curves[-1]["loss"] < outcome.curves[0]["loss"] / 2
    assert (outcome.details["clips_seen"], outcome.details["peak_lr"]) == (240, pytest.approx(0.4 * 6 / 256))


def test_a_finished_run_answers_again_without_training(tmp_path):
    first = finetune.run(tiny_model, tiny_data(tmp_path), SETTINGS, seed=0, run_dir=tmp_path / "run")
    again = finetune.run(
        tiny_model,
        tiny_data(tmp_path),
        SETTINGS,
        seed=0,
        run_dir=tmp_path / "run",
        on_step=lambda *_: pytest.fail("trained again"),
    )
    assert torch.equal(first.probabilities, again.probabilities)
    assert first.curves == again.curves


def test_equal_seeds_give_equal_predictions_and_others_do_not(tmp_path):
    short = replace(SETTINGS, recipe=replace(SETTINGS.recipe, steps=5, warmup_steps=1))
    found = []
    for run, seed in enumerate((1, 1, 2)):
        torch.manual_seed(run)
        data = tiny_data(tmp_path)
        found.append(finetune.run(tiny_model, data, short, seed=seed, run_dir=tmp_path / str(run)).probabilities)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_frozen_backbone_comes_back_unchanged(tmp_path):
    models = []

    def model():
        models.append(tiny_model())
        return models[-1]

    finetune.run(model, tiny_data(tmp_path), replace(SETTINGS, frozen=True), seed=0, run_dir=tmp_path / "run")
    torch.manual_seed(0)
    fresh = tiny_model().backbone.state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in models[0].backbone.state_dict().items())


def test_videos_that_cannot_be_read_are_counted_not_replaced(tmp_path):
    short = replace(SETTINGS, recipe=replace(SETTINGS.recipe, steps=2, warmup_steps=1))
    data = tiny_data(tmp_path, unreadable=(34,), failures=FailurePolicy(in_evaluation="report"))
    outcome = finetune.run(tiny_model, data, short, seed=0, run_dir=tmp_path / "run")
    assert (outcome.expected, outcome.failed) == (12, 1)
    assert 4 not in outcome.rows.tolist()


def test_settings_are_plain_values():
    assert json.loads(json.dumps(asdict(SETTINGS)))["recipe"]["base_lr"] == 0.4
