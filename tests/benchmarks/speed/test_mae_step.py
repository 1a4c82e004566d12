import pytest

from benchmarks.speed.mae_step import Shape, measure, steps, summary

TINY = Shape(
    batch=2,
    num_frames=4,
    img_size=32,
    patch_size=8,
    embed_dim=24,
    depth=2,
    num_heads=3,
    decoder_dim=16,
    decoder_depth=1,
    decoder_heads=2,
    mask_ratio=0.75,
)


def test_both_sides_train_alike_so_that_their_times_compare_equal_work():
    ours, theirs = steps(TINY).values()
    for _ in range(4):
        assert ours() == pytest.approx(theirs(), rel=1e-5)


def test_ratio_says_how_many_times_faster_we_are():
    seconds, losses = measure({"zoo": lambda: 1.0, "transformers": lambda: 1.25}, rounds=3)
    assert [len(values) for values in (*seconds.values(), *losses.values())] == [3, 3, 5, 5]
    found = summary({"zoo": [1.0, 2.0, 1.0], "transformers": [1.5, 2.0, 3.0]}, losses)
    assert (found["ratio_median"], found["ratio_range"]) == (1.5, [1.0, 3.0])
    assert found["first_losses_apart"] == 0.25
