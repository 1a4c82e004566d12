import copy
from dataclasses import replace

import pytest
import torch

from heads.linear import LinearHead
from tests.zoo.training.test_probe import bank
from zoo.training.learners import train_head, train_heads
from zoo.training.module import NonFiniteError
from zoo.training.probe_recipe import SweepRecipe, Trial

RECIPE = SweepRecipe(
    steps=8, batch_size=4, lrs=(1e-1,), weight_decay=0.1, final_weight_decay=0.01, warmup_steps=2, gradient_clip=0.5
)
TRIALS = [Trial(1e-1, 0.1), Trial(1e-2, 0.5)]


def heads(count):
    first = LinearHead(6, 2, pool="mean")
    return [copy.deepcopy(first) for _ in range(count)]


def weights(head):
    return head.linear.weight.detach()


def test_heads_trained_together_end_as_each_alone_bit_for_bit():
    features, together, alone = bank(), heads(2), None
    alone = [copy.deepcopy(head) for head in together]
    curves = train_heads(together, features, RECIPE, trials=TRIALS, seed=0)
    for head, trial, other, curve in zip(alone, TRIALS, together, curves, strict=True):
        assert train_heads([head], features, RECIPE, trials=[trial], seed=0) == [curve]
        assert torch.equal(weights(head), weights(other))
    assert not torch.equal(weights(together[0]), weights(together[1]))


def test_features_are_fetched_once_for_all_heads(monkeypatch):
    fetched, features = [], bank()
    real = type(features).features
    monkeypatch.setattr(type(features), "features", lambda *args: fetched.append(1) or real(*args))
    train_heads(heads(5), features, RECIPE, trials=TRIALS[:1] * 5, seed=0)
    assert len(fetched) == RECIPE.steps


@pytest.mark.parametrize("decay_all", [True, False])
def test_training_is_adamw_at_the_recipes_rates_decays_and_limit(decay_all):
    features, (head, by_hand) = bank(videos=2, views=2), heads(2)
    for linear in (head.linear, by_hand.linear):
        torch.nn.init.constant_(linear.bias, 10.0)
    recipe = replace(RECIPE, batch_size=4, steps=3, decay_all=decay_all, warmup_steps=0)
    train_heads([head], features, recipe, trials=[Trial(0.1, 0.4)], seed=0)
    groups = [{"params": [by_hand.linear.weight]}, {"params": [by_hand.linear.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(by_hand.parameters() if decay_all else groups, lr=0.1)
    for step in range(3):
        share = (1 + torch.tensor(torch.pi * step / 3).cos().item()) / 2
        optimizer.param_groups[-1]["lr"] = 0.1 * share
        optimizer.param_groups[0].update(lr=0.1 * share, weight_decay=0.01 + 0.39 * share)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(by_hand(features.features()), features.labels).backward()
        torch.nn.utils.clip_grad_norm_(by_hand.parameters(), 0.5)
        optimizer.step()
    torch.testing.assert_close(weights(head), weights(by_hand), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.linear.bias, by_hand.linear.bias, rtol=1e-5, atol=1e-5)


def test_a_head_that_is_lost_leaves_the_others_alone():
    class Broken(LinearHead):
        calls = 0

        def forward(self, features):
            self.calls += 1
            return super().forward(features) * (float("nan") if self.calls == 1 else 1.0)

    features, (good, alone) = bank(), heads(2)
    curves = train_heads([Broken(6, 2, pool="mean"), good], features, RECIPE, trials=TRIALS, seed=0)
    train_heads([alone], features, RECIPE, trials=TRIALS[1:], seed=0)
    assert [len(curve) for curve in curves] == [0, RECIPE.steps]
    assert torch.equal(weights(good), weights(alone))
    with pytest.raises(NonFiniteError, match="step 1 was not taken: loss not finite"):
        train_heads([Broken(6, 2, pool="mean") for _ in TRIALS], features, RECIPE, trials=TRIALS, seed=0)


def test_one_head_reports_its_steps():
    seen = []
    curve = train_head(heads(1)[0], bank(), RECIPE, lr=0.1, seed=0, on_step=lambda step, row: seen.append((step, row)))
    assert [row for _, row in seen] == curve
    assert [step for step, _ in seen] == list(range(1, RECIPE.steps + 1))
