import pytest

from benchmarks.speed.umt_step import Shape, steps

TINY = Shape(batch=2, num_frames=2, img_size=32, patch_size=8, embed_dim=24, depth=3, num_layers=2, out_dim=16)


def test_both_sides_train_alike_so_that_their_times_compare_equal_work():
    ours, plain = steps(TINY).values()
    for _ in range(4):
        assert ours() == pytest.approx(plain(), rel=1e-5)
