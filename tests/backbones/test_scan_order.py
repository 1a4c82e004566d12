import pytest
import torch

from backbones.contract import Grid
from backbones.scan_order import SCAN_ORDERS, order_of_blocks, temporal_first

CPU = torch.device("cpu")


def test_temporal_first_lists_the_frames_of_a_position_one_after_the_other():
    order = temporal_first(Grid(3, 1, 2), None, 1, device=CPU)
    assert order.there.tolist() == [0, 1, 3, 5, 2, 4, 6]


def test_kept_tokens_are_ordered_among_themselves_and_per_sample():
    keep = torch.tensor([[0, 1, 3, 4], [1, 2, 3, 5]])  # grid 3 x 1 x 2: even tokens left, odd ones right
    order = temporal_first(Grid(3, 1, 2), keep, 0, device=CPU)
    assert keep.gather(1, order.there).tolist() == [[0, 4, 1, 3], [2, 1, 3, 5]]


@pytest.mark.parametrize("keep", [None, torch.tensor([[0, 1, 3, 4], [1, 2, 3, 5]])])
def test_undoing_gives_back_what_was_there(keep):
    order = temporal_first(Grid(3, 1, 2), keep, 2, device=CPU)
    x = torch.randn(2, 2 + (6 if keep is None else 4), 3)
    assert not torch.equal(order.apply(x), x)
    assert torch.equal(order.undo(order.apply(x)), x)
    assert torch.equal(order.apply(x)[:, :2], x[:, :2])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spatial", [0, 0, 0, 0, 0]),
        ("temporal", [1, 1, 1, 1, 1]),
        ("spatiotemporal_v1", [0, 0, 0, 0, 0]),
        ("spatiotemporal_v2", [0, 0, 0, 0, 0]),
        ("spatial_then_temporal", [0, 0, 1, 1, 1]),
        ("temporal_then_spatial", [1, 1, 0, 0, 0]),
        ("alternating", [0, 1, 0, 1, 0]),
    ],
)
def test_blocks_get_the_order_of_their_depth(name, expected):
    assert name in SCAN_ORDERS
    assert order_of_blocks(name, 5) == [bool(value) for value in expected]


def test_an_unknown_order_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown scan_order 'hilbert'; choose from \('spatial', 'temporal'"):
        order_of_blocks("hilbert", 2)
