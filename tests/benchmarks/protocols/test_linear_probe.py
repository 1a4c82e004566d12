import json
from dataclasses import asdict, replace

import pytest
import torch

from backbones.contract import Grid
from benchmarks.protocols import linear_probe
from tests.benchmarks.protocols.clips import CLASSES, embed, tiny_data, tiny_model
from zoo.training.features import FeatureBank
from zoo.training.probe import ProbeRecipe

SETTINGS = linear_probe.Settings(
    recipe=ProbeRecipe(steps=150, batch_size=20, lrs=(1e-9, 3e-2), weight_decay=0.0, held_out=0.3)
)


def test_it_learns_and_chooses_the_rate_that_learns(tmp_path):
    outcome = linear_probe.run(tiny_model, tiny_data(tmp_path), SETTINGS, seed=0, run_dir=tmp_path)
    assert outcome.accuracy > 0.9
    assert outcome.details["lr"] == 3e-2
    assert outcome.details["held_out_accuracy_lr_1e-09"] < outcome.details["held_out_accuracy_lr_0.03"]
    assert outcome.rows.tolist() == list(range(12))
    assert len(outcome.curves) == 150


@pytest.mark.slow
def test_it_solves_the_convex_problem(tmp_path):
    """Random labels on more views than features make the optimum finite and unique: compare with L-BFGS."""
    data, drawn = tiny_data(tmp_path, train=60), torch.randint(CLASSES, (60,)).tolist()
    data.train_records = [record._replace(label=drawn[record.row]) for record in data.train_records]
    recipe = ProbeRecipe(steps=1000, batch_size=120, lrs=(1e-1,), weight_decay=0.0)
    outcome = linear_probe.run(tiny_model, data, replace(SETTINGS, recipe=recipe), seed=0, run_dir=tmp_path)
    torch.manual_seed(0)
    model = tiny_model()
    train, _, labels = embed(model, data, data.train_records)
    test, rows, _ = embed(model, data, data.test_records)
    mean, std = train.mean(0), train.std(0)
    weights = torch.zeros(17, CLASSES, dtype=torch.float64, requires_grad=True)
    inputs = torch.cat([(train - mean) / std, torch.ones(len(train), 1)], 1).double()
    solver = torch.optim.LBFGS([weights], max_iter=1000, line_search_fn="strong_wolfe", tolerance_change=1e-14)

    def loss():
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(inputs @ weights, labels)
        value.backward()
        return value

    solver.step(loss)
    assert outcome.curves[-1]["loss"] == pytest.approx(loss().item(), rel=1e-3)
    scores = torch.cat([(test - mean) / std, torch.ones(len(test), 1)], 1).double() @ weights.detach()
    expected = torch.stack([scores.softmax(1)[rows == row].mean(0) for row in range(12)]).float()
    torch.testing.assert_close(outcome.probabilities, expected, atol=0.03, rtol=0)


def test_settings_are_plain_values():
    assert json.loads(json.dumps(asdict(linear_probe.Settings())))["recipe"]["lrs"] == [1e-3, 1e-2, 1e-1]


def test_features_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"views the features take more than .* GiB; train the head with the finetune"):
        linear_probe.run(tiny_model, tiny_data(tmp_path), replace(SETTINGS, max_bytes=100), seed=0, run_dir=tmp_path)


def test_a_feature_that_never_changes_does_no_harm():
    tokens = torch.randn(12, 1, 16)
    tokens[:, :, 3] = 0.0
    nothing = torch.zeros(12, 0, 16)
    bank = FeatureBank(
        tokens=tokens, prefix=nothing, grid=Grid(1, 1, 1), labels=torch.arange(12) % CLASSES, rows=torch.arange(12)
    )
    settings = replace(SETTINGS, recipe=replace(SETTINGS.recipe, steps=2, lrs=(1e-2,)))
    assert linear_probe.fit(tiny_model(), bank, bank, settings, seed=0).scores.scores.isfinite().all()


def test_the_head_learns_where_it_was_asked_to(tmp_path, monkeypatch):
    def asked(*_, device, **__):
        raise InterruptedError(device)

    monkeypatch.setattr(linear_probe, "device_of", lambda accelerator: f"device of {accelerator}")
    monkeypatch.setattr(linear_probe, "probe", asked)
    with pytest.raises(InterruptedError, match="device of cpu"):
        linear_probe.run(tiny_model, tiny_data(tmp_path), SETTINGS, seed=0, run_dir=tmp_path, accelerator="cpu")
