from dataclasses import replace

import pytest
import torch

from backbones.contract import Grid
from benchmarks.protocols import as_is, attentive_probe
from benchmarks.protocols.common import MODEL_FILE, Banks, build
from heads.views import encode_views, probabilities, scores_of_views
from tests.benchmarks.protocols.clips import SPEC, tiny_data, tiny_model
from tests.benchmarks.protocols.test_common import pico
from zoo.registry import create_model
from zoo.training.features import FeatureBank
from zoo.training.predictions import ATTENDED, SOFTMAX
from zoo.training.probe import ProbeRecipe, probe


def test_it_learns_from_tokens_and_scores_every_video(tmp_path):
    settings = attentive_probe.Settings(
        recipe=ProbeRecipe(steps=120, batch_size=20, lrs=(1e-9, 5e-3), weight_decay=0.01, held_out=0.3), num_heads=2
    )
    outcome = attentive_probe.run(tiny_model, tiny_data(tmp_path), settings, seed=0, run_dir=tmp_path)
    assert outcome.accuracy > 0.9
    assert outcome.details["lr"] == 5e-3
    assert outcome.rows.tolist() == list(range(12))
    assert outcome.curves[-1]["loss"] < outcome.curves[0]["loss"] / 2


ONCE = attentive_probe.Settings(
    recipe=ProbeRecipe(steps=4, batch_size=20, lrs=(5e-3,), weight_decay=0.01), num_heads=2, depth=2
)


@pytest.mark.parametrize("layers", [None, (0, 1)])
@pytest.mark.parametrize("across", [True, False])
def test_the_head_sees_segments_and_levels_as_published(tmp_path, monkeypatch, layers, across):
    heads = []

    def keep(*arguments, **options):
        heads.append(probe(*arguments, **options))
        return heads[-1]

    monkeypatch.setattr(attentive_probe, "probe", keep)
    data = tiny_data(tmp_path)
    settings = replace(ONCE, layers=layers, across_segments=across)
    outcome = attentive_probe.run(tiny_model, data, settings, seed=0, run_dir=tmp_path)
    backbone = build(tiny_model, 0).backbone.eval()
    views = torch.cat([batch.video for batch in data.test_dataloader()]).unflatten(0, (-1, data.spec.clips))
    with torch.no_grad():
        found = encode_views(backbone, views.transpose(0, 1).unsqueeze(1), layers=layers)
        scores = scores_of_views(heads[0].head, found, attend_across_segments=across)
    torch.testing.assert_close(probabilities(scores), outcome.probabilities, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"across_segments": False}, {"layers": (0,)}])
def test_the_model_that_is_kept_gives_the_answers_of_the_outcome(tmp_path, changes):
    settings, data = replace(ONCE, **changes), tiny_data(tmp_path)
    outcome = attentive_probe.run(pico, data, settings, seed=0, run_dir=tmp_path)
    rule = ATTENDED if settings.across_segments else SOFTMAX
    file = tmp_path / MODEL_FILE
    again = as_is.run(
        lambda: create_model("vit_pico", checkpoint_path=file),
        data,
        as_is.Settings(rule=rule),
        seed=0,
        run_dir=tmp_path / "again",
        accelerator="cpu",
    )
    torch.testing.assert_close(again.probabilities, outcome.probabilities, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("blocks", ["tokens", "query"])
def test_both_places_of_the_blocks_can_be_asked_for_and_are_kept_with_the_model(tmp_path, blocks):
    settings = replace(ONCE, blocks=blocks, across_segments=False)
    attentive_probe.run(pico, tiny_data(tmp_path), settings, seed=0, run_dir=tmp_path)
    kept = create_model("vit_pico", checkpoint_path=tmp_path / MODEL_FILE)
    assert kept.head.over_tokens == (blocks == "tokens")


def test_every_window_of_a_long_video_is_joined_alone():
    rows = torch.tensor([0, 0, 0, 0, 1, 1])  # two windows of two clips, and one
    bank = FeatureBank(
        tokens=torch.randn(6, 2, 16), prefix=torch.zeros(6, 0, 16), grid=Grid(2, 1, 1), labels=rows, rows=rows
    )
    settings = replace(ONCE, recipe=replace(ONCE.recipe, steps=1))
    found = attentive_probe.fit(tiny_model(), Banks(bank, bank), settings, spec=SPEC, seed=0)
    assert (found.scores.rows.tolist(), found.scores.views.tolist()) == ([0, 0, 1], [0, 1, 0])


def test_the_head_learns_where_it_was_asked_to(tmp_path, monkeypatch):
    def asked(*_, device, **__):
        raise InterruptedError(device)

    monkeypatch.setattr(attentive_probe, "device_of", lambda accelerator: f"device of {accelerator}")
    monkeypatch.setattr(attentive_probe, "probe", asked)
    with pytest.raises(InterruptedError, match="device of cpu"):
        attentive_probe.run(tiny_model, tiny_data(tmp_path), ONCE, seed=0, run_dir=tmp_path, accelerator="cpu")
