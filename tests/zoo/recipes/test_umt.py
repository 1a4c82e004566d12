import pytest

from zoo.recipes.catalogue import TRAININGS
from zoo.training.optim import schedule_of


def test_rates_of_pretraining_are_those_that_the_authors_code_reaches():
    schedule = schedule_of(TRAININGS["umt_large.k710_pt_f8_res224"].optimisation)
    # 1.5e-4 and 1e-5 for 256 clips, eight times as many in a step.
    assert [schedule.peak, schedule.final, schedule(0)] == pytest.approx([1.2e-3, 8e-5, 0.0])
    assert schedule.warmup_steps * 5 == schedule.steps


@pytest.mark.parametrize(
    ("name", "peak", "epochs_per_warmup"),
    [
        # Rates count both clips of a video: 2e-4 * 256 * 2 / 256.
        ("umt_base.k710_ft_f8_res224", 4e-4, 35 / 2),
        ("umt_large.k710_ft_k400_f16_res224", 1e-5, 5),
        ("umt_large.k710_pt_ssv2_f8_res224", 8e-4, 14 / 4),
        # One clip per video on Moments in Time.
        ("umt_base.k710_ft_k400_ft_mitv1_f8_res224", 2e-4, 8),
        ("umt_large.k710_ft_k400_ft_mitv1_f8_res384", 5e-6, 4),
    ],
)
def test_rates_of_fine_tuning_are_those_that_the_authors_code_reaches(name, peak, epochs_per_warmup):
    schedule = schedule_of(TRAININGS[name].optimisation)
    assert schedule.peak == pytest.approx(peak)
    assert schedule.steps / schedule.warmup_steps == pytest.approx(epochs_per_warmup)


def test_views_are_told_of_table_and_script():
    views = TRAININGS["umt_large.k710_ft_k600_f16_res224"].views
    assert [(it.clips, it.crops) for it in views] == [(4, 3), (4, 1)]
    assert TRAININGS["umt_base.k710_pt_ssv2_f8_res224"].augment.flip == 0


def test_what_has_boxes_or_texts_says_why_it_cannot_be_run():
    assert "detection" in TRAININGS["umt_base.k710_ft_ava22_f8_res224"].obstacle
    assert "text" in TRAININGS["umt_mm_large.pt_25m"].obstacle
