from benchmarks.shrunken_training import BATCH, shrunk
from zoo.recipes.catalogue import TRAININGS
from zoo.recipes.training import RANDOM


def test_what_a_recipe_is_about_stays_and_sizes_go():
    row = TRAININGS["videomamba_middle.k400_mask_ft_f16_res224"]
    small = shrunk(row, steps=3)
    assert (small.optimisation.steps, small.optimisation.global_batch, small.start) == (3, BATCH, RANDOM)
    assert (small.options["embed_dim"], small.options["drop_path_rate"]) == (32, 0.4)
    for name in ("layer_decay", "layer_rule", "repeats", "mixup", "label_smoothing", "base_lr"):
        assert getattr(small.optimisation, name) == getattr(row.optimisation, name)
    assert small.augment.policy == row.augment.policy
    assert (small.expected, small.produces) == ((), "")


def test_the_objective_keeps_its_kind():
    row = TRAININGS["umt_large.k710_pt_f8_res224"]
    chosen = shrunk(row).objective
    assert (chosen.mask, chosen.mask_ratio, chosen.student_target) == ("attention", 0.8, "normed")
    assert chosen.teacher_layers == 2


def test_heads_look_at_blocks_that_there_are():
    small = shrunk(TRAININGS["vjepa2_giant_16_256.videomix22m_probe_diving48"])
    assert (small.classifier.layers, small.classifier.depth) == ((0, 1, 2), 4)
    assert len(small.recipe.trials()) == 2


def test_images_stay_images():
    small = shrunk(TRAININGS["videomamba_small.in1k_res224to448"])
    assert (small.clip.num_frames, small.options["num_frames"]) == (1, 1)
    assert small.clip.short_side > small.clip.img_size
