"""What every tokenizer inherits from the contract."""

import pytest
import torch

from backbones.tokenizer import Tokenizer
from tests.backbones.toy_tokenizer import ToyTokenizer


@pytest.fixture
def tokenizer() -> ToyTokenizer:
    torch.manual_seed(0)
    return ToyTokenizer()


def test_indices_decode_to_the_clamped_reconstruction(tokenizer: ToyTokenizer) -> None:
    video = torch.rand(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    reconstruction = tokenizer(video)
    assert torch.equal(tokenizer.encode(video), reconstruction.codes.indices)
    assert torch.equal(tokenizer.decode(reconstruction.codes.indices), reconstruction.video.clamp(0, 1))
    assert reconstruction.video.amin() < 0, "nothing was clamped, so this shows nothing"


def test_a_tokenizer_without_a_scorer_says_so(tokenizer: ToyTokenizer) -> None:
    with pytest.raises(ValueError, match="ToyTokenizer has no importance scorer; take an adaptive tokenizer"):
        Tokenizer.importance(tokenizer, torch.rand(1, 3, 2, 8, 8))


def test_a_tokenizer_without_an_up_projection_says_so(tokenizer: ToyTokenizer) -> None:
    with pytest.raises(ValueError, match="ToyTokenizer has no up-projection of its code vectors"):
        tokenizer.up_project(torch.zeros(1, 1, 1, 1, 6))
