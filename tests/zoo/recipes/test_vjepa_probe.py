from zoo.recipes import vjepa_probe as recipes
from zoo.training.probe_recipe import Trial


def test_version_two_trains_the_grid_of_twenty_heads():
    recipe = recipes.probe_2_video()
    assert len(set(recipe.trials())) == 20
    assert {Trial(5e-3, 0.8), Trial(1e-4, 0.01)} <= set(recipe.trials())
    assert recipe.decay_of(Trial(5e-3, 0.8), recipe.steps - 1) == 0.8
    assert recipe.steps == 20 * (168_913 // 256)


def test_version_one_lets_the_weight_decay_fall_and_its_paper_does_not():
    coded, printed = recipes.probe_1_video(), recipes.probe_1_video_paper()
    (trial,) = coded.trials()
    assert coded.decay_of(trial, 0) == printed.decay_of(trial, coded.steps - 1) == 0.01
    assert coded.decay_of(trial, coded.steps - 1) < 1.1e-6
    (trial,) = recipes.probe_1_image().trials()
    assert trial.weight_decay == 0.001
    assert recipes.probe_1_image_paper().weight_decay == 0.01


def test_levels_get_three_heads():
    assert recipes.probe_2_levels(15_000).trials() == [Trial(lr, 0.8) for lr in (1e-3, 3e-4, 1e-4)]
