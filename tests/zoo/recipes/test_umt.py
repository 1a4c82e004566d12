import pytest

from zoo.recipes import umt
from zoo.training.optim import schedule_of


def test_rates_of_pretraining_are_those_that_the_authors_code_reaches():
    schedule = schedule_of(umt.pretrain_large_k710())
    # 1.5e-4 and 1e-5 for 256 clips, eight times as many in a step.
    assert [schedule.peak, schedule.final, schedule(0)] == pytest.approx([1.2e-3, 8e-5, 0.0])
    assert schedule.warmup_steps * 5 == schedule.steps


@pytest.mark.parametrize(
    ("recipe", "peak", "epochs_per_warmup"),
    [
        # Rates count both clips of a video: 2e-4 * 256 * 2 / 256.
        (umt.finetune_base_k710(), 4e-4, 35 / 2),
        (umt.finetune_large_kinetics_f16(), 1e-5, 5),
        (umt.finetune_large_ssv2(), 8e-4, 14 / 4),
        # One clip per video on Moments in Time.
        (umt.finetune_base_mit(800_000), 2e-4, 8),
        (umt.finetune_large_mit_384(800_000), 5e-6, 4),
    ],
)
def test_rates_of_fine_tuning_are_those_that_the_authors_code_reaches(recipe, peak, epochs_per_warmup):
    schedule = schedule_of(recipe)
    assert schedule.peak == pytest.approx(peak)
    assert schedule.steps / schedule.warmup_steps == pytest.approx(epochs_per_warmup)
