"""A tokenizer in front of a backbone: what passes, what is trained, what is saved."""

import copy

import pytest
import torch

from backbones import magvit, vit
from backbones.token_input import CodeViT, DetokenizedInput
from tests.backbones.toy_tokenizer import ToyTokenizer

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SMALL = {"img_size": 16, "num_frames": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - torch.tensor(MEAN).view(3, 1, 1, 1)) / torch.tensor(STD).view(3, 1, 1, 1)


def clip(frames: int = 4) -> torch.Tensor:
    return torch.rand(2, 3, frames, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tokenizer() -> ToyTokenizer:
    torch.manual_seed(0)
    return ToyTokenizer()


@pytest.fixture
def detokenized(tokenizer) -> DetokenizedInput:
    return DetokenizedInput(tokenizer, vit.vit_pico(**SMALL), mean=MEAN, std=STD).eval()


@pytest.fixture
def coded(tokenizer) -> CodeViT:
    return CodeViT(tokenizer, mean=MEAN, std=STD, **SMALL).eval()


def test_a_backbone_sees_the_decoded_pixels_normalised_as_the_clip(detokenized, tokenizer):
    pixels = clip()
    expected = detokenized.inner(normalised(tokenizer.decode(tokenizer.encode(pixels))))
    torch.testing.assert_close(detokenized(normalised(pixels)), expected)
    assert not torch.allclose(detokenized(normalised(pixels)), detokenized.inner(normalised(pixels)), atol=1e-3)


def test_tokens_are_dropped_by_the_backbone_behind(detokenized):
    keep = torch.tensor([[0, 3, 5], [1, 2, 7]])
    found = detokenized.forward_features(normalised(clip()), keep)
    assert torch.equal(found.keep, keep)
    assert found.tokens.shape == (2, 3, 32)


def test_a_vit_of_codes_sees_nothing_but_the_codes(coded, tokenizer):
    pixels = clip()
    embedded = coded.patch_embed(normalised(pixels))
    codes, proj = tokenizer.embed(tokenizer.encode(pixels)), coded.patch_embed.proj
    expected = codes.flatten(1, 3) @ proj.weight.flatten(1).T + proj.bias
    torch.testing.assert_close(embedded, expected)
    nudged = (pixels + 1e-5).clamp(0, 1)
    assert torch.equal(tokenizer.encode(nudged), tokenizer.encode(pixels))
    assert torch.equal(coded(normalised(nudged)), coded(normalised(pixels)))
    assert not torch.equal(coded(normalised(1 - pixels)), coded(normalised(pixels)))


def test_a_vit_of_codes_refuses_to_drop_tokens(coded):
    with pytest.raises(ValueError, match="CodeViT computes every token and cannot drop any"):
        coded.forward_features(clip(), torch.zeros(2, 1, dtype=torch.long))


@pytest.mark.parametrize("kind", ["detokenized", "coded"])
def test_the_tokenizer_is_neither_trained_nor_saved_and_follows_its_backbone(kind, request, tokenizer):
    backbone = request.getfixturevalue(kind).train()
    before = {name: it.clone() for name, it in tokenizer.state_dict().items()}
    own = {name: it for name, it in backbone.named_parameters() if it.requires_grad}
    assert set(backbone.state_dict()) - set(own) <= {"pos_embed", "inner.pos_embed"}
    backbone(normalised(clip())).square().sum().backward()
    assert all(it.grad is not None for it in own.values())
    assert all(it.grad is None for it in tokenizer.parameters())
    assert not tokenizer.training
    torch.optim.SGD(own.values(), lr=0.1).step()
    assert all(torch.equal(it, before[name]) for name, it in tokenizer.state_dict().items())
    backbone.double()
    assert {it.dtype for it in tokenizer.parameters()} == {torch.float64}
    other = copy.deepcopy(backbone).eval()
    torch.testing.assert_close(other(clip().double()), backbone.eval()(clip().double()))


@pytest.mark.parametrize("kind", ["detokenized", "coded"])
def test_every_parameter_has_a_layer(kind, request):
    backbone = request.getfixturevalue(kind)
    layers = {name.removeprefix("inner."): backbone.layer_of(name) for name, _ in backbone.named_parameters()}
    assert layers["patch_embed.proj.weight"] == 0
    assert layers["blocks.1.mlp.fc1.weight"] == 2
    assert len(backbone.blocks) == backbone.depth == 2
    assert backbone.no_weight_decay() <= {name for name, _ in backbone.named_parameters()}
    backbone.set_grad_checkpointing(2)
    backbone.train()(normalised(clip())).sum().backward()


def test_a_vit_of_codes_takes_clips_of_a_causal_tokenizer_of_two_lengths():
    causal = magvit.magvit2_causal(levels=6, channels=8, depth=1)
    small = {**SMALL, "num_frames": 5}
    backbone = CodeViT(causal, mean=MEAN, std=STD, **small).eval()
    assert tuple(backbone.forward_features(clip(5)).grid) == (2, 2, 2)
    assert backbone.forward_features(clip(9)).tokens.shape == (2, 12, 32)
    with pytest.raises(ValueError, match="a clip of 4 frames"):
        CodeViT(causal, mean=MEAN, std=STD, **SMALL)
