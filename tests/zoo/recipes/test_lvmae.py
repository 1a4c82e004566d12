import pytest

from zoo.recipes import lvmae
from zoo.training.optim import schedule_of

PRETRAIN = [lvmae.pretrain_diving48, lvmae.pretrain_ek100, lvmae.pretrain_ssv2, lvmae.pretrain_finegym288]


@pytest.mark.parametrize("recipe", PRETRAIN)
def test_pretraining_takes_the_papers_epochs_and_videomaes_rates(recipe):
    whole, one = recipe(), recipe(epochs=1)
    assert whole.steps == 1600 * one.steps
    assert whole.warmup_steps == 40 * one.steps
    assert schedule_of(whole).peak == pytest.approx(1.5e-4)
    assert lvmae.pretrain_k710().steps == 800 * lvmae.pretrain_k710(1).steps


def test_tokens_are_dropped_in_fine_tuning_as_the_paper_says():
    small = [lvmae.finetune_diving48(), lvmae.finetune_ek100()]
    large = [lvmae.finetune_large_diving48(), lvmae.finetune_large_ek100(), lvmae.finetune_large_finegym288()]
    assert {it.token_drop for it in small} == {0.2}
    assert {it.token_drop for it in large} == {0.25}
    assert lvmae.finetune_ssv2().token_drop == 0
    assert small[0].steps == 4 * large[0].steps
