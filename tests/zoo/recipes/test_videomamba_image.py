import pytest

from zoo.recipes.catalogue import TRAININGS
from zoo.training.optim import schedule_of

IN1K = 1_281_167


@pytest.mark.parametrize(
    ("name", "peak", "final", "start"),
    [
        ("videomamba_tiny.in1k_res224", 5e-4 * 4096 / 512, 1e-5, 1e-6),
        ("videomamba_small.in1k_res224", 5e-4 * 4096 / 512, 1e-5, 1e-6),
        ("videomamba_middle.in1k_res224", 5e-4 * 2048 / 512, 5e-6, 5e-7),
        ("videomamba_tiny.in1k_res224to448", 5e-6, 5e-6, 1e-6),
        ("videomamba_middle.in1k_res224to448to576", 5e-6, 5e-6, 1e-6),
    ],
)
def test_rates_are_those_of_the_scripts(name, peak, final, start):
    recipe = TRAININGS[name].optimisation
    schedule = schedule_of(recipe)
    assert schedule(recipe.warmup_steps) == pytest.approx(peak)
    assert schedule.final == pytest.approx(final)
    assert schedule(0) == pytest.approx(start)


def test_lengths_are_those_of_the_scripts():
    assert TRAININGS["videomamba_tiny.in1k_res224"].optimisation.steps == 300 * (IN1K // 4096)
    assert TRAININGS["videomamba_middle.in1k_res224"].optimisation.warmup_steps == 20 * (IN1K // 2048)
    assert TRAININGS["videomamba_small.in1k_res224to448to576"].optimisation.steps == 10 * (IN1K // 4096)


def test_larger_pictures_begin_with_the_run_before():
    large = TRAININGS["videomamba_small.in1k_res224to448to576"]
    assert large.start == "videomamba_small.in1k_res224to448"
    assert (large.options["img_size"], large.clip.img_size) == (576, 576)
    assert TRAININGS["videomamba_middle.in1k_res224"].objective.teacher == "videomamba_small.in1k_res224"
