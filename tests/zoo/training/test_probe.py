import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from backbones.contract import Grid
from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from tests.zoo.training.synthetic import TinyBackbone, TinyData
from zoo.training.features import FeatureBank, extract
from zoo.training.module import NonFiniteError
from zoo.training.probe import (
    ProbeRecipe,
    SweepRecipe,
    Trial,
    batches_of,
    fold_standardization,
    predict,
    probe,
    split,
    train_head,
    train_heads,
)

RECIPE = ProbeRecipe(steps=30, batch_size=8, lrs=(1e-2,), weight_decay=0.0)


def bank(videos=10, views=2, dim=6):
    rows = torch.arange(videos).repeat_interleave(views)
    labels = rows % 2
    tokens = torch.randn(len(rows), 1, dim) + 2 * labels[:, None, None]
    return FeatureBank(
        tokens=tokens, prefix=torch.zeros(len(rows), 0, dim), grid=Grid(1, 1, 1), labels=labels, rows=rows
    )


def test_splitting_keeps_the_views_of_a_video_together():
    inner, held = split(bank(), 0.3, seed=1)
    assert not set(inner.rows.tolist()) & set(held.rows.tolist())
    assert sorted(inner.rows.tolist() + held.rows.tolist()) == bank().rows.tolist()
    assert len(held) == 6
    assert not torch.equal(split(bank(), 0.3, seed=2)[1].rows, held.rows)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_split_with_an_empty_side_is_refused(share):
    with pytest.raises(ValueError, match=f"holding out {share:g} of 10 videos leaves a side empty"):
        split(bank(), share, seed=0)


def test_every_view_is_seen_equally_often():
    recipe = ProbeRecipe(steps=10, batch_size=7, lrs=(1.0,), weight_decay=0.0)
    batches = batches_of(20, recipe, seed=0)
    assert [len(views) for views in batches] == [7] * 10
    counts = torch.bincount(torch.cat(list(batches)), minlength=20)
    assert counts.min() >= 3
    assert counts.max() <= 4


def test_the_rate_is_chosen_on_held_out_videos_and_all_train_the_head():
    seen = []

    class Watched(LinearHead):
        def forward(self, features):
            seen.append(len(features.tokens))
            return super().forward(features)

    recipe = ProbeRecipe(steps=40, batch_size=20, lrs=(1e-9, 1e-1), weight_decay=0.0, held_out=0.3)
    found = probe(lambda: Watched(6, 2, pool="mean"), bank(), recipe, seed=0)
    assert found.lr == 1e-1
    assert found.held_out_accuracy.keys() == {1e-9, 1e-1}
    assert found.details()["held_out_accuracy_lr_0.1"] == 1.0
    assert not found.head.training


def test_rate_and_decay_are_chosen_together_on_held_out_videos():
    options = {"weight_decays": (0.0, 1e3), "held_out": 0.3}
    recipe = SweepRecipe(steps=40, batch_size=20, lrs=(1e-9, 1e-1), weight_decay=0.0, **options)
    found = probe(lambda: LinearHead(6, 2, pool="mean"), bank(), recipe, seed=0)
    assert (found.lr, found.weight_decay) == (1e-1, 0.0)
    assert set(found.tried) == set(recipe.trials())
    assert found.held_out_accuracy == {1e-9: max(found.tried[Trial(1e-9, it)] for it in (0.0, 1e3)), 1e-1: 1.0}
    assert found.details()["weight_decay"] == 0.0
    assert found.details()["held_out_accuracy_lr_0.1_wd_0"] == 1.0


def test_held_out_videos_are_seen_by_no_candidate(monkeypatch):
    features, seen = bank(), []
    real = train_heads

    def watched(heads, bank, *args, **options):
        seen.append((len(heads), set(bank.rows.tolist())))
        return real(heads, bank, *args, **options)

    monkeypatch.setattr("zoo.training.probe.train_heads", watched)
    recipe = SweepRecipe(
        steps=2, batch_size=4, lrs=(0.1, 0.2), weight_decay=0.0, weight_decays=(0.0, 0.1), held_out=0.3
    )
    probe(lambda: LinearHead(6, 2, pool="mean"), features, recipe, seed=0)
    inner, held = split(features, 0.3, 0)
    assert seen == [(4, set(inner.rows.tolist())), (1, set(features.rows.tolist()))]
    assert not seen[0][1] & set(held.rows.tolist())


def test_a_candidate_that_is_lost_is_not_chosen():
    recipe = ProbeRecipe(steps=3, batch_size=20, lrs=(float("inf"), 1e-2), weight_decay=0.0, held_out=0.3)
    found = probe(lambda: LinearHead(6, 2, pool="mean"), bank(), recipe, seed=0)
    assert found.lr == 1e-2
    assert math.isnan(found.held_out_accuracy[float("inf")])


def test_heads_over_segments_and_levels_are_trained_like_any_other():
    backbone, data = TinyBackbone(), TinyData(views=2)
    whole = extract(backbone, data.test_dataloader(), pool=None, max_bytes=1 << 30, layers=[0, 1]).across_segments(2, 1)
    assert whole.tokens.shape == (10, 2 * 2 * 8, 16)
    recipe = SweepRecipe(steps=4, batch_size=5, lrs=(1e-3, 1e-2), weight_decay=0.1, decay_all=True)
    found = probe(lambda: AttentiveHead(16, 4, num_heads=2), whole, recipe, seed=0)
    assert len(found.curves) == 4
    assert predict(found.head, whole, batch_size=3).probabilities.shape == (10, 4)


def test_probing_depends_on_the_seed_alone():
    losses = []
    for start, seed in ((1, 0), (2, 0), (1, 3)):
        torch.manual_seed(7)
        features = bank()
        torch.manual_seed(start)
        losses.append(probe(lambda: LinearHead(6, 2, pool="mean"), features, RECIPE, seed=seed).curves)
    assert losses[0] == losses[1] != losses[2]


def test_vectors_do_not_decay():
    head = LinearHead(6, 2, pool="mean")
    with torch.no_grad():
        head.linear.bias.fill_(1.0)
    weight = head.linear.weight.detach().clone()
    still = bank()
    still = FeatureBank(
        tokens=still.tokens * 0, prefix=still.prefix, grid=still.grid, labels=still.labels, rows=still.rows
    )
    recipe = ProbeRecipe(steps=1, batch_size=20, lrs=(0.1,), weight_decay=0.5)
    head.linear.bias.requires_grad_(False)
    train_head(head, still, recipe, lr=0.1, seed=0)
    torch.testing.assert_close(head.linear.weight.detach(), weight * (1 - 0.1 * 0.5))
    assert torch.equal(head.linear.bias, torch.ones(2))


def test_folding_gives_the_same_answers_for_raw_features():
    linear, x = nn.Linear(6, 3).double(), torch.randn(5, 6).double() * 4 + 7
    mean, std = x.mean(0), x.std(0)
    expected = linear((x - mean) / std)
    fold_standardization(linear, mean, std)
    torch.testing.assert_close(linear(x), expected)


def test_predictions_do_not_depend_on_the_batch():
    head, features = LinearHead(6, 2, pool="mean"), bank()
    torch.testing.assert_close(
        predict(head, features, batch_size=3).probabilities, predict(head, features, batch_size=99).probabilities
    )


def test_a_loss_that_is_not_finite_stops_the_training():
    features = bank()
    features.tokens[3] = float("inf")
    with pytest.raises(NonFiniteError, match="loss not finite; clips in rows"):
        train_head(LinearHead(6, 2, pool="mean"), features, RECIPE, lr=0.1, seed=0)


def test_a_choice_needs_something_to_choose_by():
    with pytest.raises(ValueError, match="at least one learning rate"):
        ProbeRecipe(steps=1, batch_size=1, lrs=(), weight_decay=0.0)
    with pytest.raises(ValueError, match=r"held_out is 0\.0"):
        ProbeRecipe(steps=1, batch_size=1, lrs=(1.0, 2.0), weight_decay=0.0, held_out=0.0)


def test_of_values_the_least_error_of_a_rate_is_told():
    features = bank()
    features = replace(features, targets=3.0 * features.labels)
    options = {"weight_decays": (0.0, 5.0), "held_out": 0.3}
    recipe = SweepRecipe(steps=10, batch_size=20, lrs=(1e-9, 1e-1), weight_decay=0.0, **options)
    found = probe(lambda: LinearHead(6, 1, pool="mean"), features, recipe, seed=0)
    errors = {lr: [found.tried[Trial(lr, it)] for it in (0.0, 5.0)] for lr in recipe.lrs}
    assert min(errors[0.1]) < max(errors[0.1])
    assert found.held_out_accuracy == {lr: min(each) for lr, each in errors.items()}
    assert (found.judged_by, found.tried[Trial(found.lr, found.weight_decay)]) == ("mse", min(errors[0.1]))


def test_all_heads_learn_where_they_should(monkeypatch):
    moved = []
    monkeypatch.setattr(LinearHead, "to", lambda self, device: moved.append(device) or self)
    recipe = replace(RECIPE, steps=1, lrs=(1e-2, 1e-3), held_out=0.3)
    probe(lambda: LinearHead(6, 2, pool="mean"), bank(), recipe, seed=0, device="cuda")
    assert moved == ["cuda"] * 3
