import pytest
import torch

from backbones.contract import Features, Grid
from heads.linear import LinearHead


def features(batch=3, tokens=8, dim=6, prefix=1):
    return Features(torch.randn(batch, tokens, dim), torch.randn(batch, prefix, dim), Grid(2, 2, 2), None)


@pytest.mark.parametrize("pool", ["mean", "cls", "first"])
def test_scores_are_an_affine_map_of_the_pooled_tokens(pool):
    head, clips = LinearHead(6, 4, pool=pool), features()
    pooled = {"mean": clips.tokens.mean(1), "cls": clips.prefix[:, 0], "first": clips.tokens[:, 0]}[pool]
    torch.testing.assert_close(head(clips), pooled @ head.linear.weight.T + head.linear.bias)


def test_norm_comes_after_pooling_with_its_epsilon():
    head, clips = LinearHead(6, 4, pool="mean", norm=True, norm_eps=0.5), features()
    pooled = clips.tokens.mean(1)
    centred = pooled - pooled.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 0.5).sqrt()
    torch.testing.assert_close(head.pooled(clips), expected)


def test_dropout_acts_in_training_only():
    head, clips = LinearHead(6, 4, pool="mean", dropout=0.5), features()
    assert not torch.equal(head.train()(clips), head(clips))
    assert torch.equal(head.eval()(clips), head(clips))


def test_weights_start_as_a_truncated_normal_and_are_scaled():
    weight = LinearHead(256, 400, pool="mean").linear.weight
    assert weight.abs().max() <= 0.04
    assert weight.std().item() == pytest.approx(0.02 * 0.8796, rel=0.02)  # 0.8796: std of a normal cut at 2 std
    scaled = LinearHead(256, 400, pool="mean", init_scale=0.001).linear.weight
    assert scaled.std().item() == pytest.approx(2e-5 * 0.8796, rel=0.02)


def test_no_classes_gives_pooled_features():
    head, clips = LinearHead(6, 0, pool="mean", norm=True), features()
    assert torch.equal(head(clips), head.pooled(clips))


def test_a_class_token_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="class token"):
        LinearHead(6, 4, pool="cls")(features(prefix=0))
