import pytest
import torch
from torch.nn import functional as F

from heads.projection import TokenProjection


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_tokens_are_normed_then_projected_one_by_one(norm):
    projection, tokens = TokenProjection(6, 4, norm=norm, norm_eps=0.5).double(), torch.randn(2, 3, 6).double()
    torch.nn.init.normal_(projection.norm.weight)
    torch.nn.init.normal_(projection.linear.bias)
    centred = tokens - tokens.mean(-1, keepdim=True) if norm == "layer" else tokens
    normed = centred / (centred.square().mean(-1, keepdim=True) + 0.5).sqrt() * projection.norm.weight
    expected = F.linear(normed, projection.linear.weight, projection.linear.bias)
    torch.testing.assert_close(projection(tokens), expected)


def test_it_starts_small_and_without_bias():
    projection = TokenProjection(200, 100)
    assert projection.linear.weight.abs().max() <= 0.04
    assert projection.linear.weight.std().item() == pytest.approx(0.0176, rel=0.05)  # cut at two deviations
    assert not projection.linear.bias.any()


def test_an_unknown_norm_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown norm 'batch'; choose 'rms' or 'layer'"):
        TokenProjection(6, 4, norm="batch")
