import pytest

from zoo.recipes.catalogue import TRAININGS
from zoo.training.optim import schedule_of


def test_rates_are_those_that_the_authors_code_reaches():
    recipe = TRAININGS["videomae_base.k400_pt_e1600"].optimisation
    schedule = schedule_of(recipe)
    # 1.5e-4 and 1e-5 for 256 clips, eight times as many in a step.
    assert [schedule.peak, schedule.final, schedule(0)] == pytest.approx([1.2e-3, 8e-5, 0.0])
    assert schedule.warmup_steps * 1600 == schedule.steps * 40
    assert recipe.steps == 1600 * 117


def test_copies_of_a_video_do_not_raise_the_rate_and_nothing_is_flipped_in_pretraining():
    tuned = TRAININGS["videomae_base.k400_pt_e1600_k400_ft"]
    assert tuned.optimisation.repeats == 2
    assert schedule_of(tuned.optimisation).peak == pytest.approx(5e-4 * tuned.global_batch / 256)
    assert TRAININGS["videomae_base.k400_pt_e800_k400_ft"].optimisation.repeats == 1
    assert TRAININGS["videomae_base.ssv2_pt_e800_ssv2_ft"].optimisation.repeats == 1
    assert TRAININGS["videomae_large.k400_pt_e1600"].augment.flip == 0


def test_steps_are_fewer_videos_at_a_time_for_larger_models():
    sizes = {name: TRAININGS[f"videomae_{name}.k400_pt_e1600"].global_batch for name in ("small", "large", "huge")}
    assert sizes == {"small": 1024, "large": 512, "huge": 1024}
