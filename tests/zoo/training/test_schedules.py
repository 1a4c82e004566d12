import json
from dataclasses import replace

import pytest

from tests.support import find
from zoo.ema import LinearMomentum
from zoo.recipes.recipe import Recipe
from zoo.training.optim import schedule_of, weight_decay_of
from zoo.training.schedules import StretchedCosine, StretchedLine


@pytest.mark.parametrize("name", ["pretrain_recipe", "probe_k400_like"])
def test_rates_decay_and_momentum_are_the_authors_at_every_listed_step(name):
    case = json.loads(find("vjepa/v1_schedules.json").read_text())["cases"][name]
    settings, largest = case["settings"], 0.0
    steps = settings["iterations_per_epoch"] * settings["epochs"]
    recipe = Recipe(
        steps=steps,
        global_batch=256,
        base_lr=settings["lr"],
        base_final_lr=settings["final_lr"],
        base_warmup_lr=settings["start_lr"],
        warmup_steps=settings["iterations_per_epoch"] * settings["warmup_epochs"],
        schedule="vjepa_cosine",
        stretch=settings["ipe_scale"],
        weight_decay=settings["weight_decay"],
        final_weight_decay=settings["final_weight_decay"],
    )
    start, final = settings["ema"]
    momentum = LinearMomentum(start=float(start), final=float(final), steps=int(recipe.stretch * steps))
    for number, expected in case["values_at_step"].items():
        step = int(number)
        found = {
            "lr": schedule_of(recipe)(step - 1),
            "weight_decay": weight_decay_of(recipe)(step - 1),
            "momentum": momentum(step),
        }
        largest = max(largest, *(abs(found[key] - expected[key]) for key in expected))
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-18)
    print(f"parity vjepa/v1_schedules {name}: largest error {largest:.2e} (rtol 1e-12)")


def test_a_warm_up_leaves_its_start_with_the_first_step_and_arrives_with_the_last():
    schedule = StretchedCosine(peak=1.0, final=0.0, horizon=8, warmup_steps=4, start=0.2)
    assert [schedule(step) for step in range(4)] == pytest.approx([0.4, 0.6, 0.8, 1.0])
    assert schedule(5) == pytest.approx(0.5)
    assert schedule(7) == schedule(20) == 0.0


def test_a_cosine_may_rise_and_may_stay():
    assert StretchedCosine(peak=0.04, final=0.4, horizon=4)(1) == pytest.approx(0.22)
    constant = StretchedCosine(peak=0.3, final=0.3, horizon=6, warmup_steps=2)
    assert [constant(step) for step in range(1, 6)] == pytest.approx([0.3] * 5)


def test_the_cool_down_is_a_line_that_is_cut_off():
    line = StretchedLine(peak=1.0, final=0.0, horizon=5)
    assert [line(step) for step in (0, 3, 4, 9)] == pytest.approx([0.8, 0.2, 0.0, 0.0])


def test_a_recipe_chooses_its_schedule():
    recipe = Recipe(steps=4, global_batch=256, base_lr=1.0, schedule="vjepa_linear", stretch=1.25)
    assert [schedule_of(recipe)(step) for step in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert schedule_of(replace(recipe, global_batch=512))(0) == pytest.approx(1.6)
    assert weight_decay_of(recipe) is None
    assert schedule_of(replace(recipe, schedule="cosine", stretch=1.0))(0) == 1.0
