import pytest
import torch

from zoo.reshape import inflate_kernel, resize_positions, select_classes


@pytest.mark.parametrize(("frames", "at"), [(1, 0), (2, 1), (3, 1), (4, 2)])
def test_center_puts_the_image_kernel_at_the_middle_frame(frames, at):
    kernel = torch.randn(4, 3, 1, 2, 2)
    inflated = inflate_kernel(kernel, frames, "center")
    assert torch.equal(inflated[:, :, at : at + 1], kernel)
    assert inflated.count_nonzero() == kernel.count_nonzero()


def test_mean_gives_a_still_clip_what_the_image_gave():
    kernel, image = torch.randn(4, 3, 1, 2, 2), torch.randn(1, 3, 1, 2, 2)
    still = torch.nn.functional.conv3d(image.expand(-1, -1, 3, -1, -1), inflate_kernel(kernel, 3, "mean"))
    torch.testing.assert_close(still, torch.nn.functional.conv3d(image, kernel))


def test_an_unknown_inflation_is_refused():
    with pytest.raises(Exception, match="middle"):
        inflate_kernel(torch.randn(1, 3, 1, 2, 2), 2, "middle")


def test_time_is_resized_linearly_and_space_between_squares():
    ramp = torch.linspace(0, 1, 4)[None, :, None]
    torch.testing.assert_close(
        resize_positions("backbone.temporal_pos_embed", ramp, 2), torch.tensor([1 / 6, 5 / 6])[None, :, None]
    )
    table = torch.randn(1, 16, 8)
    bigger = resize_positions("backbone.pos_embed", table, 36)
    expected = torch.nn.functional.interpolate(table.transpose(1, 2).unflatten(2, (4, 4)), size=(6, 6), mode="bicubic")
    torch.testing.assert_close(bigger, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize(("old", "new"), [(12, 16), (16, 12)])
def test_tables_of_grids_that_are_not_square_are_refused(old, new):
    with pytest.raises(ValueError, match=f"from {old} to {new} positions: not both are squares"):
        resize_positions("backbone.pos_embed", torch.randn(1, old, 8), new)


def test_classes_are_chosen_from_weights_and_biases_together():
    state = {
        "head.linear.weight": torch.arange(12.0).view(4, 3),
        "head.linear.bias": torch.arange(4.0),
        "other": torch.ones(4),
    }
    chosen = select_classes(state, [2, 0])
    assert chosen["head.linear.weight"].tolist() == [[6, 7, 8], [0, 1, 2]]
    assert chosen["head.linear.bias"].tolist() == [2, 0]
    assert torch.equal(chosen["other"], state["other"])
    with pytest.raises(ValueError, match="no class -1 in a classifier of 4 classes"):
        select_classes(state, [-1])
    with pytest.raises(ValueError, match="no classifier to choose from"):
        select_classes({"other": torch.ones(1)}, [0])
