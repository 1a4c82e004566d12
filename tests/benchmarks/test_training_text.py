import pytest

from benchmarks.training_text import hardware_words, layers, lines, rates
from zoo.recipes.catalogue import TRAININGS


def test_effective_rates_tell_how_they_came_about():
    told = rates(TRAININGS["videomamba_middle.k400_f8_res224"])
    assert "peak 0.0008" in told
    assert "base 0.0002 x 512 videos x 2 copies / 256" in told
    # VideoMAE's rates do not count copies.
    assert "copies" not in rates(TRAININGS["videomae_base.k400_pt_e1600_k400_ft"])
    assert "weight decay 0.04 to 0.3656" in rates(TRAININGS["vjepa_large_16_224.videomix2m"])
    assert "20 heads" in rates(TRAININGS["vjepa2_large_16_256.videomix22m_probe_k400"])
    assert "after epochs 11, 14" in rates(TRAININGS["timesformer_base.k400_f8_res224"])


def test_what_no_source_says_is_marked():
    told = lines(TRAININGS["mae_st_large.k400_pt"])
    assert told["recipe.global_batch"] == "512 (not in our sources)"
    assert told["recipe.base_lr"] == "0.0016"
    assert "cannot be run" in lines(TRAININGS["magvit_base.ucf101"])


def test_hardware_is_told_as_far_as_it_is_known():
    assert hardware_words(TRAININGS["umt_base.k710_pt_f8_res224"]) == "32 x GPU, 64 videos on each"
    assert hardware_words(TRAININGS["lvmae_base.ek100_pt_f128"]) == "128 x TPU v5e"
    assert hardware_words(TRAININGS["videomae_base.k400_pt_e800_k400_ft"]) == "not in our sources"


@pytest.mark.slow
def test_the_table_of_layers_shows_that_the_stem_alone_is_held_back():
    told = layers(TRAININGS["videomamba_tiny.k400_f8_res224"]).splitlines()[1:]
    scales = {line.split()[0]: float(line.split()[1]) for line in told}
    assert scales["0"] == pytest.approx(0.75**25, rel=1e-3)
    assert set(scales.values()) - {scales["0"]} == {1.0}


def test_rows_with_one_rate_for_all_layers_have_no_table():
    assert layers(TRAININGS["umt_base.k710_pt_f8_res224"]) == ""
    assert layers(TRAININGS["timesformer_base.k400_f8_res224"]) == ""


def test_the_classifier_in_the_table_has_the_classes_of_the_recipes_videos():
    told = layers(TRAININGS["videomae_base.ucf101_pt_e3200_ucf101_ft"])
    assert "77,568" in next(line for line in told.splitlines() if "head.linear.weight" in line)  # 101 x 768
