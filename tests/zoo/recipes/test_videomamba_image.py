import pytest

from zoo.recipes import videomamba_image as recipes
from zoo.training.optim import schedule_of


@pytest.mark.parametrize(
    ("recipe", "peak", "final", "start"),
    [
        (recipes.train_tiny(), 5e-4 * 4096 / 512, 1e-5, 1e-6),
        (recipes.train_small(), 5e-4 * 4096 / 512, 1e-5, 1e-6),
        (recipes.distill_middle(), 5e-4 * 2048 / 512, 5e-6, 5e-7),
        (recipes.enlarge_448(recipes.train_tiny(), global_batch=1024), 5e-6, 5e-6, 1e-6),
        (recipes.enlarge_576(recipes.distill_middle(), global_batch=512), 5e-6, 5e-6, 1e-6),
    ],
)
def test_rates_are_those_of_the_scripts(recipe, peak, final, start):
    schedule = schedule_of(recipe)
    assert schedule(recipe.warmup_steps) == pytest.approx(peak)
    assert schedule.final == pytest.approx(final)
    assert schedule(0) == pytest.approx(start)


def test_lengths_are_those_of_the_scripts():
    assert recipes.train_tiny().steps == 300 * (1_281_167 // 4096)
    assert recipes.distill_middle(30).warmup_steps == 30 * (1_281_167 // 2048)
    assert recipes.enlarge_576(recipes.train_small(), global_batch=1024).steps == 10 * (1_281_167 // 1024)
