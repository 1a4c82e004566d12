import math

import pytest
import torch

from tests.backbones.toy_tokenizer import ToyTokenizer
from tests.backbones.toy_video import ConvTokenizer
from zoo.objectives.code_targets import CodeTarget, digits, from_digits

QUERY = torch.tensor([[0, 3], [1, 2]])


@pytest.fixture(name="tokenizer")
def tokenizer_of() -> ConvTokenizer:
    torch.manual_seed(0)
    return ConvTokenizer(width=8, dims=3, level=5).eval()


def codes_of(tokenizer: ConvTokenizer):
    video = torch.rand(2, 3, 4, 8, 4, generator=torch.Generator().manual_seed(1))
    return tokenizer.quantize(tokenizer.latents(video))


def test_digits_are_little_endian_and_come_back():
    indices = torch.arange(24)
    assert digits(torch.tensor([1, 2, 6]), (2, 3, 4)).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert torch.equal(from_digits(digits(indices, (2, 3, 4)), (2, 3, 4)), indices)


@torch.no_grad()
def test_targets_are_what_their_names_say_at_the_query(tokenizer):
    codes = codes_of(tokenizer)
    rows = torch.arange(2)[:, None]
    for kind, whole in {
        "fsq_code": codes.codes,
        "prequant": codes.latents,
        "fsq_embed": tokenizer.rise(codes.codes),
        "indices_ce": digits(codes.indices, (5, 5, 5)),
    }.items():
        target = CodeTarget(kind, tokenizer)
        assert torch.equal(target(tokenizer, codes, QUERY), whole.flatten(1, 3)[rows, QUERY]), kind
        assert target.num_values == {"fsq_embed": 8, "indices_ce": 15}.get(kind, 3)


@torch.no_grad()
def test_the_cross_entropy_is_the_mean_over_dimensions(tokenizer):
    target = CodeTarget("indices_ce", tokenizer)
    truth = target(tokenizer, codes_of(tokenizer), QUERY)
    scores = torch.randn(2, 2, 15, generator=torch.Generator().manual_seed(2))
    parts = scores.unflatten(-1, (3, 5)).log_softmax(-1)
    expected = -parts.gather(-1, truth[..., None])[..., 0].mean(-1)
    torch.testing.assert_close(target.errors(scores, truth), expected)


def test_an_even_guess_is_as_good_as_none():
    tokenizer = ToyTokenizer(bits=2)
    target, counted = CodeTarget("indices_ce", tokenizer), torch.ones(1, 4, dtype=torch.bool)
    truth = torch.tensor([[[0, 0], [1, 0], [0, 0], [1, 1]]])
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert target.blank(truth, counted).item() == pytest.approx((math.log(2) + quarter) / 2)
    few = torch.tensor([[True, True, False, False]])
    assert target.blank(truth, few).item() == pytest.approx(math.log(2) / 2)
    assert CodeTarget("fsq_code", tokenizer).blank(truth.float(), few).item() == pytest.approx(0.25 / 2)


@pytest.mark.parametrize("kind", ["fsq_code", "prequant", "indices_ce"])
@torch.no_grad()
def test_perfect_predictions_give_the_true_codes(kind, tokenizer):
    codes, target = codes_of(tokenizer), CodeTarget(kind, tokenizer)
    truth = target(tokenizer, codes, QUERY)
    if kind == "indices_ce":
        truth = torch.nn.functional.one_hot(truth, 5).flatten(2).float()
    vectors = target.codes_of(tokenizer, codes, QUERY, truth)
    torch.testing.assert_close(vectors, codes.codes, rtol=0, atol=1e-6)
    wrong = target.codes_of(tokenizer, codes, QUERY, -truth if kind != "indices_ce" else truth.roll(1, -1))
    changed = (wrong != codes.codes).any(-1).flatten(1).nonzero().tolist()
    assert set(map(tuple, changed)) <= {(0, 0), (0, 3), (1, 1), (1, 2)}
    assert changed


def test_what_cannot_be_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"unknown target of codes 'codes'; choose from \('fsq_code'"):
        CodeTarget("codes", tokenizer)
    with pytest.raises(ValueError, match="ToyTokenizer has no up-projection"):
        CodeTarget("fsq_embed", ToyTokenizer())
    embedded = CodeTarget("fsq_embed", tokenizer)
    assert embedded.codes_of(tokenizer, codes_of(tokenizer), QUERY, torch.zeros(2, 2, 8)) is None
