import pytest
import torch

from backbones.contract import Features, Grid
from backbones.layers import Flavor
from backbones.positions import resize_grid_table, sincos_1d
from backbones.tokens import complement
from heads.masked_decoder import MaskedDecoder

GRID = Grid(2, 3, 3)
ROTARY = Flavor(positions="rotary", qkv_bias="qkv")
MAE_ST = Flavor(positions="separable", cls_token=True, qkv_bias="qkv")


def decoder(**options) -> MaskedDecoder:
    torch.manual_seed(0)
    return MaskedDecoder(16, 12, GRID, width=24, depth=2, num_heads=3, **options).eval()


def features(keep: torch.Tensor, grid: Grid = GRID, num_prefix: int = 0) -> Features:
    torch.manual_seed(1)
    return Features(torch.randn(*keep.shape, 16), torch.randn(len(keep), num_prefix, 16), grid, keep)


KEEP = torch.tensor([[0, 4, 17], [1, 2, 9]])
QUERY = complement(KEEP, 18)


@pytest.mark.parametrize("options", [{}, {"flavor": MAE_ST, "embed_bias": True}, {"flavor": ROTARY}])
def test_order_of_queries_does_not_matter(options):
    model, order = decoder(**options), torch.randperm(15)
    expected = model(features(KEEP), QUERY)[:, order]
    torch.testing.assert_close(model(features(KEEP), QUERY[:, order]), expected)


def test_query_says_where_it_is():
    predictions = decoder()(features(KEEP), QUERY)
    assert predictions.shape == (2, 15, 12)
    assert (predictions[:, 0] - predictions[:, 1]).abs().max() > 1e-3


def test_visible_tokens_enter_at_their_own_positions():
    model = decoder()
    moved = features(KEEP)._replace(keep=torch.tensor([[0, 4, 16], [1, 2, 9]]))
    query = torch.tensor([[5, 6], [5, 6]])
    before, after = model(features(KEEP), query), model(moved, query)
    assert not torch.allclose(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_a_single_query_equals_the_same_query_among_others_when_queries_cannot_see_each_other(monkeypatch):
    # Queries attend to each other, so a shorter query changes predictions slightly: stated in the docstring.
    model = decoder()
    full, part = model(features(KEEP), QUERY), model(features(KEEP), QUERY[:, :4])
    assert part.shape == (2, 4, 12)
    assert not torch.allclose(full[:, :4], part, atol=1e-4)
    # Without attention each query depends on its position only, and the rows are equal.
    for block in model.blocks:
        monkeypatch.setattr(block.attn, "forward", lambda x, rotation: torch.zeros_like(x))
    full, part = model(features(KEEP), QUERY), model(features(KEEP), QUERY[:, :4])
    torch.testing.assert_close(part, full[:, :4])


@pytest.mark.parametrize("options", [{}, {"flavor": MAE_ST}])
def test_everywhere_puts_every_prediction_at_its_place(options):
    model = decoder(**options)
    everywhere = model.everywhere(features(KEEP))
    at_query = model(features(KEEP), QUERY)
    assert everywhere.shape == (2, 18, 12)
    torch.testing.assert_close(everywhere[torch.arange(2)[:, None], QUERY], at_query)
    visible = model.head(model.norm(model.states(features(KEEP), QUERY)))[:, -18:-15]
    torch.testing.assert_close(everywhere[torch.arange(2)[:, None], KEEP], visible)


def test_everywhere_needs_something_masked():
    whole = Features(torch.randn(1, 18, 16), torch.randn(1, 0, 16), GRID, None)
    with pytest.raises(ValueError, match="nothing is masked"):
        decoder().everywhere(whole)


def test_without_a_class_token_of_its_own_the_backbones_prefix_passes_through():
    model = decoder()
    inputs = features(KEEP, num_prefix=2)
    changed = inputs._replace(prefix=inputs.prefix + 1)
    assert model.states(inputs, QUERY).shape == (2, 20, 24)
    assert not torch.allclose(model(inputs, QUERY), model(changed, QUERY))


def test_with_a_class_token_of_its_own_the_backbones_prefix_is_ignored():
    model = decoder(flavor=MAE_ST)
    inputs = features(KEEP, num_prefix=1)
    changed = inputs._replace(prefix=inputs.prefix + 1)
    assert model.states(inputs, QUERY).shape == (2, 19, 24)
    assert torch.equal(model(inputs, QUERY), model(changed, QUERY))


def test_other_grids_use_the_interpolated_table():
    model, grid = decoder(), Grid(4, 2, 5)
    keep = torch.tensor([[0, 39]])
    query = torch.tensor([[7]])
    table = resize_grid_table(sincos_1d(18, 24), GRID, grid)
    x = torch.cat([model.embed(features(keep).tokens) + table[:, [0, 39]], model.mask_tokens[0] + table[:, [7]]], 1)
    for block in model.blocks:
        x = block(x)
    expected = model.head(model.norm(x[:, -1:]))
    torch.testing.assert_close(model(features(keep, grid), query), expected)


def test_keep_none_means_all_tokens():
    model = decoder()
    tokens = torch.randn(1, 18, 16)
    whole = Features(tokens, tokens[:, :0], GRID, None)
    listed = whole._replace(keep=torch.arange(18)[None])
    query = torch.tensor([[3]])
    assert torch.equal(model(whole, query), model(listed, query))


def test_gradient_reaches_every_parameter():
    model = decoder(flavor=MAE_ST, embed_bias=True)
    model(features(KEEP), QUERY).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.compiled
@pytest.mark.parametrize(
    "options",
    [
        {"flavor": ROTARY},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"flavor": MAE_ST, "embed_bias": True}, marks=pytest.mark.slow),
    ],
)
def test_compiles_without_graph_breaks(options):
    model = decoder(**options)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features(KEEP), QUERY), model(features(KEEP), QUERY))


def test_each_mask_token_is_a_query_of_its_own():
    model = decoder(num_mask_tokens=3)
    one, same, other = (model(features(KEEP), QUERY, token) for token in (0, 0, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)
    assert torch.equal(decoder(num_mask_tokens=3)(features(KEEP), QUERY), one)


def test_mask_tokens_may_start_as_zeros_and_may_decay():
    model = decoder(num_mask_tokens=2, zero_mask_tokens=True, decay_mask_tokens=True)
    assert not any(token.any() for token in model.mask_tokens)
    assert all(token.any() for token in decoder(num_mask_tokens=2).mask_tokens)
    assert model.no_weight_decay() == set()
    assert decoder(num_mask_tokens=2).no_weight_decay() == {"mask_tokens.0", "mask_tokens.1"}


def test_rotary_positions_tell_queries_apart_and_leave_prefix_tokens_alone():
    model = decoder(flavor=ROTARY)
    model.requires_grad_(False)
    inputs = features(KEEP, num_prefix=1)
    predictions = model(inputs, QUERY)
    assert (predictions[:, 0] - predictions[:, 1]).abs().max() > 1e-4
    order = torch.randperm(15)
    torch.testing.assert_close(model(inputs, QUERY[:, order]), predictions[:, order])
    # All at one place is no rotation, except for the prefix, which has no place to be moved from.
    still = model(inputs._replace(keep=KEEP * 0), QUERY * 0)
    torch.testing.assert_close(still[:, 0], still[:, 1])


def test_tokens_and_tables_do_not_decay():
    assert decoder().no_weight_decay() == {"mask_tokens.0"}
    tables = {"pos_embed", "temporal_pos_embed", "cls_token", "cls_pos_embed"}
    assert decoder(flavor=MAE_ST).no_weight_decay() == {"mask_tokens.0", *tables}
