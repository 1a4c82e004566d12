import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from zoo.training.probe_recipe import ProbeRecipe, SweepRecipe, Trial

PLAIN = ProbeRecipe(steps=4, batch_size=2, lrs=(0.1, 0.2), weight_decay=0.3)
SWEEP = SweepRecipe(steps=4, batch_size=2, lrs=(0.1, 0.2), weight_decay=0.3, weight_decays=(0.0, 0.5))


def test_a_sweep_tries_every_rate_with_every_decay():
    assert SWEEP.trials() == [Trial(0.1, 0.0), Trial(0.1, 0.5), Trial(0.2, 0.0), Trial(0.2, 0.5)]
    assert PLAIN.trials() == replace(SWEEP, weight_decays=()).trials() == [Trial(0.1, 0.3), Trial(0.2, 0.3)]


def test_weight_decay_is_constant_or_half_a_cosine():
    falling, trial = replace(SWEEP, final_weight_decay=0.1), Trial(0.1, 0.5)
    expected = [0.1 + 0.4 * (1 + math.cos(math.pi * step / 4)) / 2 for step in range(4)]
    assert [falling.decay_of(trial, step) for step in range(4)] == pytest.approx(expected)
    assert [SWEEP.decay_of(trial, step) for step in range(4)] == [0.5] * 4
    assert [PLAIN.decay_of(trial, step) for step in range(4)] == [0.5] * 4


def test_vectors_decay_where_it_is_asked_for_only():
    layer, trial = nn.Linear(3, 2), Trial(0.1, 0.5)
    for recipe in (PLAIN, SWEEP):
        matrices, vectors = recipe.groups(layer, trial)
        assert [p is layer.weight for p in matrices["params"]] == [p is layer.bias for p in vectors["params"]] == [True]
        assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    (everything,) = replace(SWEEP, decay_all=True).groups(layer, trial)
    assert len(everything["params"]) == 2
    assert everything["weight_decay"] == 0.5


@pytest.mark.parametrize(("recipe", "norm"), [(PLAIN, 5.0), (SWEEP, 5.0), (replace(SWEEP, gradient_clip=1.0), 1.0)])
def test_gradients_are_limited_where_it_is_asked_for_only(recipe, norm):
    layer = nn.Linear(1, 1)
    layer.weight.grad, layer.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
    recipe.clip(layer)
    assert torch.stack([layer.weight.grad[0, 0], layer.bias.grad[0]]).norm().item() == pytest.approx(norm)


def test_a_choice_between_decays_needs_held_out_videos():
    with pytest.raises(ValueError, match=r"held_out is 0\.0"):
        SweepRecipe(steps=1, batch_size=1, lrs=(1.0,), weight_decay=0.0, weight_decays=(0.1, 0.2), held_out=0.0)
