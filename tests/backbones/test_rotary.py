import math

import pytest
import torch

from backbones.contract import Grid
from backbones.rotary import rotate, rotation_at, rotation_table

GRID = Grid(2, 3, 4)


def table(head_dim: int = 20, *, interleaved: bool, grid: Grid = GRID) -> torch.Tensor:
    return rotation_table(grid, head_dim, interleaved=interleaved, dtype=torch.float32, device=torch.device("cpu"))


def turned(heads: torch.Tensor, head_dim: int = 20, *, interleaved: bool) -> torch.Tensor:
    return rotate(heads, rotation_at(table(head_dim, interleaved=interleaved), None, 0))


@pytest.mark.parametrize("interleaved", [False, True])
def test_each_axis_turns_its_channels_by_the_definition(interleaved):
    heads = torch.randn(1, 1, 24, 20)
    out = turned(heads, interleaved=interleaved)
    token, time, row, column = 23, 1, 2, 3
    for start, place in ((0, time), (6, row), (12, column)):
        for channel in range(start, start + 6, 2):
            pair = (channel - start) // 2
            # Frequency numbers of the two members of a pair.
            numbers = (pair, pair) if interleaved else ((2 * pair) % 3, (2 * pair + 1) % 3)
            first, second = (place * 10000 ** (-number / 3) for number in numbers)
            a, b = heads[0, 0, token, channel].item(), heads[0, 0, token, channel + 1].item()
            assert out[0, 0, token, channel].item() == pytest.approx(
                a * math.cos(first) - b * math.sin(first), abs=1e-5
            )
            expected = b * math.cos(second) + a * math.sin(second)
            assert out[0, 0, token, channel + 1].item() == pytest.approx(expected, abs=1e-5)


def test_channels_that_are_left_over_stay_as_they_are():
    heads = torch.randn(1, 2, 24, 20)
    assert torch.equal(turned(heads, interleaved=False)[..., 18:], heads[..., 18:])


def test_the_corrected_form_keeps_lengths_and_sees_relative_positions_only():
    one, other = torch.randn(2, 1, 1, 1, 20).expand(2, 1, 1, 24, 20)
    one, other = turned(one, interleaved=True), turned(other, interleaved=True)
    torch.testing.assert_close(one.norm(dim=-1), one[:, :, :1].norm(dim=-1).expand(1, 1, 24))
    products = (one @ other.transpose(-1, -2))[0, 0].unflatten(0, GRID).unflatten(3, GRID)
    torch.testing.assert_close(products[0, 0, 0, 1, 1, 2], products[0, 1, 1, 1, 2, 3])


def test_the_released_form_does_not():
    one = turned(torch.randn(1, 1, 1, 20).expand(1, 1, 24, 20), interleaved=False)
    lengths = one.norm(dim=-1)
    assert (lengths - lengths[:, :, :1]).abs().max() > 1e-2


def test_kept_tokens_turn_by_their_own_positions():
    heads, keep = torch.randn(2, 3, 24, 20), torch.tensor([[0, 5, 23], [7, 8, 9]])
    whole, rows = turned(heads, interleaved=False), torch.arange(2)[:, None]
    some = heads.transpose(1, 2)[rows, keep].transpose(1, 2)
    actual = rotate(some, rotation_at(table(interleaved=False), keep, 0))
    assert torch.equal(actual, whole.transpose(1, 2)[rows, keep].transpose(1, 2))


def test_prefix_tokens_do_not_turn():
    heads, keep = torch.randn(2, 3, 5, 20), torch.tensor([[1, 5, 23], [7, 8, 9]])
    rotation = rotation_at(table(interleaved=False), keep, 2)
    out = rotate(heads, rotation)
    assert torch.equal(out[:, :, :2], heads[:, :, :2])
    assert torch.equal(out[:, :, 2:], rotate(heads[:, :, 2:], rotation[:, 2:]))


@pytest.mark.parametrize("head_dim", [4, 9])
def test_heads_that_cannot_turn_are_refused(head_dim):
    with pytest.raises(ValueError, match=f"not {head_dim}"):
        table(head_dim, interleaved=False)
