import pytest

from benchmarks.budgets import BUDGETS, PROTOCOLS, budget
from zoo.objectives.matrix import OBJECTIVES
from zoo.suggest import UnknownNameError


def test_every_budget_covers_every_protocol_and_trains_controls_as_long_as_systems():
    for one in BUDGETS.values():
        assert one.evaluate.keys() == PROTOCOLS.keys()
        assert one.control.steps == one.evaluate["finetune"].recipe.steps
        assert one.control.global_batch == one.evaluate["finetune"].recipe.global_batch
        assert one.augment.flip == one.pretrain_augment.flip == 0


def test_budgets_grow():
    smoke, quick, full = (budget(name) for name in ("smoke", "quick", "full"))
    for small, large in ((smoke, quick), (quick, full)):
        assert small.pretrain.keys() == large.pretrain.keys() == set(OBJECTIVES)
        assert all(small.pretrain[name].recipe.steps < large.pretrain[name].recipe.steps for name in OBJECTIVES)
        assert small.evaluate["finetune"].recipe.steps < large.evaluate["finetune"].recipe.steps


def test_a_misspelt_budget_gets_the_closest():
    with pytest.raises(UnknownNameError, match="'quick'"):
        budget("quik")
