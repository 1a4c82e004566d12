import pytest

from zoo.recipes.catalogue import TRAININGS
from zoo.training.optim import schedule_of

PRETRAIN = ["lvmae_base.diving48_pt_f128", "lvmae_base.ek100_pt_f128", "lvmae_base.ssv2_pt_f64"]


@pytest.mark.parametrize("name", PRETRAIN)
def test_pretraining_takes_the_papers_epochs_and_videomaes_rates(name):
    row = TRAININGS[name]
    assert (row.epochs, row.warmup_epochs) == (1600, 40)
    assert row.optimisation.steps == 1600 * (row.videos // 256)
    assert schedule_of(row.optimisation).peak == pytest.approx(1.5e-4)
    assert TRAININGS["lvmae_large.k710_pt_f128"].epochs == 800
    assert "recipe.base_lr" in row.unknown


def test_tokens_are_dropped_in_fine_tuning_as_the_paper_says():
    drops = {name: TRAININGS[name].optimisation.token_drop for name in TRAININGS if "_ft_f" in name and "lvmae" in name}
    assert {it for name, it in drops.items() if name.endswith("f64")} == {0.0}
    assert {it for name, it in drops.items() if name.startswith("lvmae_large")} == {0.25}
    assert drops["lvmae_base.diving48_ft_f128"] == 0.2
    small, large = (TRAININGS[f"lvmae_{it}.diving48_ft_f128"] for it in ("base", "large"))
    assert small.optimisation.steps == 4 * large.optimisation.steps
