import pytest
import torch

from benchmarks.protocols import attentive_probe, finetune, linear_probe
from benchmarks.protocols.common import MODEL_FILE, build
from tests.benchmarks.protocols.clips import SPEC, tiny_data
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


def pico():
    return create_model("vit_pico", num_classes=3, img_size=8, num_frames=4, patch_size=4, embed_dim=16, depth=1)


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


def test_building_follows_the_seed_and_keeps_the_callers_random_numbers():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second, third = (build(pico, seed).state_dict()["head.linear.weight"] for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
