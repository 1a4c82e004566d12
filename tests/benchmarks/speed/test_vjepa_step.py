import math

import pytest

from benchmarks.speed.vjepa_step import Shape, steps, summary

TINY = {
    "batch": 2,
    "num_frames": 4,
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 24,
    "depth": 2,
    "num_heads": 3,
    "predictor_dim": 24,
    "predictor_depth": 1,
    "predictor_heads": 2,
}


@pytest.mark.parametrize("form", ["vjepa", "vjepa2"])
def test_both_sides_train_alike_so_that_their_times_compare_equal_work(form):
    ours, theirs = steps(Shape(form=form, **TINY)).values()
    losses = [(ours(), theirs()) for _ in range(5)]
    assert all(one == pytest.approx(other, rel=1e-5) for one, other in losses)
    assert len({one for one, _ in losses}) == 5


def test_ratio_says_how_long_ours_takes_for_each_second_of_the_plain_form():
    found = summary({"zoo": [1.0, 2.0, 1.0], "plain": [2.0, 2.0, 4.0]}, {"zoo": [1.0, 0.5], "plain": [0.75, 0.5]})
    assert (found["ratio_median"], found["ratio_range"]) == (0.5, [0.25, 1.0])
    assert found["first_losses_apart"] == 0.25
    assert math.isfinite(found["last_loss"])
