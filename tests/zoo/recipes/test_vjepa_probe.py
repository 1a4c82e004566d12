from zoo.recipes.catalogue import TRAININGS
from zoo.training.probe_recipe import Trial


def recipe_of(name):
    return TRAININGS[name].recipe


def test_version_two_trains_the_grid_of_twenty_heads():
    recipe = recipe_of("vjepa2_large_16_256.videomix22m_probe_ssv2")
    assert len(set(recipe.trials())) == 20
    assert {Trial(5e-3, 0.8), Trial(1e-4, 0.01)} <= set(recipe.trials())
    assert recipe.decay_of(Trial(5e-3, 0.8), recipe.steps - 1) == 0.8
    assert recipe.steps == 20 * (168_913 // 256)


def test_version_one_lets_the_weight_decay_fall_and_its_paper_does_not():
    name = "vjepa_large_16_224.videomix2m_probe_"
    coded, printed = recipe_of(f"{name}k400"), recipe_of(f"{name}k400_paper")
    (trial,) = coded.trials()
    assert coded.decay_of(trial, 0) == printed.decay_of(trial, coded.steps - 1) == 0.01
    assert coded.decay_of(trial, coded.steps - 1) < 1.1e-6
    (trial,) = recipe_of(f"{name}in1k").trials()
    assert trial.weight_decay == 0.001
    assert recipe_of(f"{name}in1k_paper").weight_decay == 0.01


def test_levels_get_three_heads():
    dives = TRAININGS["vjepa2_giant_16_384.videomix22m_probe_diving48"]
    assert dives.recipe.trials() == [Trial(lr, 0.8) for lr in (1e-3, 3e-4, 1e-4)]
    assert dives.classifier.layers == (24, 29, 34, 39)


def test_sets_that_the_zoo_lacks_are_said_to_be_lacking():
    assert "Places205" in TRAININGS["vjepa_huge_16_224.videomix2m_probe_places205"].obstacle
