import pytest
import torch

from backbones.contract import Features, Grid
from backbones.positions import sincos_1d
from heads.alignment import AlignmentHead

GRID = Grid(2, 2, 3)


def layers(count: int = 2, prefix: int = 1, grid: Grid = GRID, keep: torch.Tensor | None = None) -> list[Features]:
    torch.manual_seed(1)
    tokens = grid.num_tokens if keep is None else keep.shape[1]
    return [Features(torch.randn(2, tokens, 8), torch.randn(2, prefix, 8), grid, keep) for _ in range(count)]


def head(**options) -> AlignmentHead:
    torch.manual_seed(0)
    return AlignmentHead(8, 5, GRID, **{"num_layers": 2, **options})


def test_each_layer_has_a_linear_map_of_its_own_after_the_positions():
    ours, given = head(unit=False), layers()
    for align, features, out in zip(ours.layers, given, ours(given), strict=True):
        x = features.tokens + sincos_1d(12, 8)
        expected = torch.nn.functional.layer_norm(x @ align.linear.weight.T + align.linear.bias, (5,), eps=1e-6)
        torch.testing.assert_close(out.tokens, expected)
        assert out.prefix.shape == (2, 0, 5)
    assert not torch.equal(ours.layers[0].linear.weight, ours.layers[1].linear.weight)


def test_a_taught_class_token_stands_at_position_0():
    table = sincos_1d(13, 8)
    ours, given = head(num_layers=1, class_token=True, unit=False), layers(1)
    (out,) = ours(given)
    align = ours.layers[0]
    torch.testing.assert_close(out.prefix, align(given[0].prefix + table[:, :1]))
    torch.testing.assert_close(out.tokens, align(given[0].tokens + table[:, -12:]))


@pytest.mark.parametrize("class_token", [False, True])
def test_visible_tokens_get_the_positions_that_they_have_in_the_clip(class_token):
    keep = torch.tensor([[0, 5, 11], [2, 3, 4]])
    ours, whole = head(class_token=class_token), layers()
    rows = torch.arange(2)[:, None]
    visible = [it._replace(tokens=it.tokens[rows, keep], keep=keep) for it in whole]
    for some, every in zip(ours(visible), ours(whole), strict=True):
        torch.testing.assert_close(some.tokens, every.tokens[rows, keep])
        assert torch.equal(some.keep, keep)


def test_predictions_have_unit_length_unless_told_otherwise():
    lengths = {unit: head(unit=unit)(layers())[0].tokens.norm(dim=-1) for unit in (True, False)}
    torch.testing.assert_close(lengths[True], torch.ones(2, 12))
    assert not torch.allclose(lengths[False], torch.ones(2, 12))


def test_clips_of_another_grid_get_a_table_of_their_own():
    longer = Grid(3, 2, 3)
    ours, given = head(unit=False), layers(grid=longer)
    align = ours.layers[1]
    torch.testing.assert_close(ours(given)[1].tokens, align(given[1].tokens + sincos_1d(18, 8)))


def test_the_table_is_neither_saved_nor_trained():
    assert not [name for name in head().state_dict() if "pos_embed" in name]
    assert {it.norm.eps for it in head(norm_eps=1e-5).layers} == {1e-5}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="3 layers of the student for a head of 2"):
        head()(layers(3))
    with pytest.raises(ValueError, match="aligns a class token, and this student has none"):
        head(class_token=True)(layers(prefix=0))
