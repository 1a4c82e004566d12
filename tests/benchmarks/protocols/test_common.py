from dataclasses import replace
from functools import partial

import pytest
import torch

from benchmarks.protocols import attentive_probe, finetune, linear_probe
from benchmarks.protocols.common import MODEL_FILE, build, keep_weights
from tests.benchmarks.protocols.clips import SPEC, tiny_data, tiny_model
from zoo.data.datamodule import FailurePolicy
from zoo.data.loading import UnreadableVideoError
from zoo.recipes.recipe import Recipe
from zoo.registry import create_model
from zoo.training.predictions import ViewScores, count_views, merge
from zoo.training.probe import ProbeRecipe

PROBE = ProbeRecipe(steps=3, batch_size=20, lrs=(1e-2,), weight_decay=0.0)
CASES = [
    (finetune, finetune.Settings(recipe=Recipe(steps=2, global_batch=6, base_lr=0.1))),
    (linear_probe, linear_probe.Settings(recipe=PROBE)),
    (attentive_probe, attentive_probe.Settings(recipe=PROBE, num_heads=2, across_segments=False)),
]


def pico(num_classes=3):
    return create_model(
        "vit_pico", num_classes=num_classes, img_size=8, num_frames=4, patch_size=4, embed_dim=16, depth=1
    )


@pytest.mark.parametrize(("protocol", "settings"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_the_model_that_was_kept_gives_the_predictions_of_the_outcome(protocol, settings, tmp_path):
    data = tiny_data(tmp_path)
    outcome = protocol.run(pico, data, settings, seed=0, run_dir=tmp_path / "run")
    model = create_model("vit_pico", checkpoint_path=tmp_path / "run" / MODEL_FILE).eval()
    assert model.spec.clip == SPEC
    batches = list(data.test_dataloader())
    with torch.no_grad():
        scores = torch.cat([model(batch.video) for batch in batches])
    labels, rows = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("label", "row"))
    merged = merge(ViewScores(scores, labels, rows, count_views(rows)), num_views=2)
    torch.testing.assert_close(merged.probabilities, outcome.probabilities, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("features", [None, "bank"])
def test_probes_name_the_training_videos_they_left_out_and_stop_when_there_are_too_many(tmp_path, features):
    settings = linear_probe.Settings(recipe=PROBE)
    for unreadable in ((3, 8, 30, 31, 32, 33), (3, 8, 9, 11)):
        kept = features and tmp_path / f"{features}{len(unreadable)}"
        policy = FailurePolicy(limit=0.1, in_evaluation="report")
        data = tiny_data(tmp_path, unreadable=unreadable, failures=policy)
        if 9 in unreadable:
            with pytest.raises(
                UnreadableVideoError, match=r"4 of 30 training videos .* share of 0.1: .*3\.mp4: damaged"
            ):
                linear_probe.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "run", features=kept)
            continue
        told = linear_probe.run(tiny_model, data, settings, seed=0, run_dir=tmp_path / "run", features=kept)
        assert [(it.row, it.reason) for it in told.unread_training] == [(3, "damaged"), (8, "damaged")]
        assert told.failed == 4  # of the test list, which has no such limit
        assert [it.row for it in told.unread] == [0, 1, 2, 3]


def test_a_second_probe_reads_the_features_of_the_first(tmp_path):
    data, found = tiny_data(tmp_path), []
    for run in range(2):
        settings = linear_probe.Settings(recipe=PROBE)
        folder = {"run_dir": tmp_path / str(run), "features": tmp_path / "bank"}
        found.append(linear_probe.run(tiny_model, data, settings, seed=0, **folder))
    names = ("features_train", "features_test")
    assert [found[0].details[name] for name in names] == ["computed"] * 2
    assert all(found[1].details[name].startswith("read from") for name in names)
    assert torch.equal(found[0].probabilities, found[1].probabilities)


# Values are asked for of each clip, whatever is said of segments.
@pytest.mark.parametrize(
    ("protocol", "settings"),
    [CASES[1], (attentive_probe, attentive_probe.Settings(recipe=PROBE, num_heads=2))],
    ids=["linear", "attentive"],
)
def test_values_are_learned_from_features_and_given_as_they_are(protocol, settings, tmp_path):
    data = tiny_data(tmp_path)
    for name in ("train_records", "test_records"):
        setattr(data, name, [it._replace(label=-1, target=100.0 + 5 * it.label) for it in getattr(data, name)])
    recipe = ProbeRecipe(steps=80, batch_size=20, lrs=(1e-9, 1e-2), weight_decay=0.0, held_out=0.3)
    model = partial(pico, num_classes=1)
    told = protocol.run(model, data, replace(settings, recipe=recipe), seed=0, run_dir=tmp_path / "run")
    assert told.targets.tolist() == [100.0, 105.0, 110.0] * 4
    error = (told.probabilities[:, 0] - told.targets).square().mean()
    assert error < 2  # the deviation of the targets is 4
    assert told.details["lr"] == 1e-2
    assert told.details["held_out_mse_lr_0.01"] < 2
    assert told.details["held_out_mse_lr_1e-09"] > 8  # nothing was learned: about their variance, 50 / 3
    kept = create_model("vit_pico", checkpoint_path=tmp_path / "run" / MODEL_FILE).eval()
    with torch.no_grad():
        values = torch.cat([kept(batch.video) for batch in data.test_dataloader()])
    torch.testing.assert_close(values.view(12, 2).mean(1), told.probabilities[:, 0], rtol=1e-4, atol=1e-2)


def test_building_follows_the_seed_and_keeps_the_callers_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (build(pico, seed).state_dict()["head.linear.weight"] for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_a_trained_model_is_moved_beside_the_results_and_none_is_no_error(tmp_path):
    run_dir = tmp_path / "work" / "run"
    run_dir.mkdir(parents=True)
    assert keep_weights(run_dir, tmp_path, "name") == ""
    (run_dir / MODEL_FILE).write_bytes(b"weights")
    assert keep_weights(run_dir, tmp_path, "name") == "weights/name.safetensors"
    assert (tmp_path / "weights" / "name.safetensors").read_bytes() == b"weights"
    assert not (run_dir / MODEL_FILE).exists()
