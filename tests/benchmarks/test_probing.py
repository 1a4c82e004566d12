from dataclasses import replace

import pytest

from benchmarks.budgets import budget
from benchmarks.probing import rates_of, share_of, sweep_words, with_rates
from benchmarks.session import RequestError
from zoo.recipes.catalogue import TRAININGS
from zoo.training.probe_recipe import SweepRecipe

SMOKE = budget("smoke").evaluate


def test_shares_are_percent_or_fractions():
    assert [share_of(text) for text in ("5%", "10%", "0.5", "1", "100%")] == [0.05, 0.1, 0.5, 1, 1]
    for text in ("0", "5", "101%", "-5%", "some", "nan%", ""):
        with pytest.raises(RequestError, match="is no share of the training videos"):
            share_of(text)


def test_rates_are_different_numbers_between_commas():
    assert rates_of("1e-3,0", "--lrs") == (1e-3, 0.0)
    assert rates_of("", "--lrs") == ()
    for text in ("a", "1e-3,", "-1", "inf", "nan", "1,1.0"):
        with pytest.raises(RequestError, match=r"--lrs .* is no list of different numbers"):
            rates_of(text, "--lrs")


@pytest.mark.parametrize("protocol", ["linear", "attentive", "attentive4"])
def test_a_probe_chooses_from_the_rates_that_were_asked_for_and_keeps_everything_else(protocol):
    chosen = SMOKE[protocol]
    assert with_rates(chosen, protocol, "", "") is chosen
    asked = with_rates(chosen, protocol, "1e-3,1e-2", "0,0.1,0.4")
    assert isinstance(asked.recipe, SweepRecipe)
    assert len(asked.recipe.trials()) == 6
    assert {trial.weight_decay for trial in asked.recipe.trials()} == {0, 0.1, 0.4}
    assert (asked.recipe.steps, asked.recipe.batch_size) == (chosen.recipe.steps, chosen.recipe.batch_size)
    assert asked.recipe.decay_all == (protocol == "attentive4")
    one = with_rates(chosen, protocol, "1e-3", "0.3")
    assert [tuple(trial) for trial in one.recipe.trials()] == [(1e-3, 0.3)]
    assert replace(asked, recipe=chosen.recipe) == chosen


def test_protocols_without_a_sweep_refuse_rates():
    for protocol in ("knn", "finetune"):
        with pytest.raises(RequestError, match=f"not for '{protocol}'"):
            with_rates(SMOKE[protocol], protocol, "1e-3", "")


def test_four_blocks_have_the_grid_of_version_2():
    recipe = budget("full").evaluate["attentive4"].recipe
    assert recipe.trials() == TRAININGS["vjepa2_large_16_256.videomix22m_probe_ssv2"].recipe.trials()
    assert sweep_words(recipe) == "5 learning rates x 4 weight decays, chosen on 20 % of the training videos"
    assert sweep_words(SMOKE["attentive"].recipe).startswith("3 learning rates x 1 weight decay,")
    assert sweep_words(replace(SMOKE["linear"].recipe, lrs=(0.1,))) == "learning rate 0.1, weight decay 0.0001"
