import pytest

from zoo.recipes.videomae import pretrain_base_k400
from zoo.training.optim import schedule_of


def test_rates_are_those_that_the_authors_code_reaches():
    recipe = pretrain_base_k400(1600)
    schedule = schedule_of(recipe)
    # 1.5e-4 and 1e-5 for 256 clips, eight times as many in a step.
    assert [schedule.peak, schedule.final, schedule(0)] == pytest.approx([1.2e-3, 8e-5, 0.0])
    assert schedule.warmup_steps * 1600 == schedule.steps * 40
    assert recipe.steps == 1600 * 117
