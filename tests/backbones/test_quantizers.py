"""FSQ and LFQ against the papers' formulas (fsq_lfq_golden.json) and against themselves."""

import json
import math

import pytest
import torch
from torch.nn import functional as F

from backbones.quantizers import FSQ, LFQ, annealed
from tests.support import find


def golden(part: str):
    return json.loads(find("magvit/fsq_lfq_golden.json").read_text())[part]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_fsq_equals_the_papers_codes_and_indices():
    for case in golden("fsq"):
        quantizer, z = FSQ(case["levels"]), torch.tensor(case["z"])
        found = quantizer(z)
        torch.testing.assert_close(found.codes, torch.tensor(case["codes"]), rtol=0, atol=1e-6)
        assert found.indices.tolist() == case["indices"]
        torch.testing.assert_close(quantizer.embed(found.indices), found.codes, rtol=0, atol=1e-6)


def test_lfq_equals_the_little_endian_indices():
    for case in golden("lfq"):
        quantizer = LFQ(case["bits"])
        found = quantizer(torch.tensor(case["z"]))
        assert found.indices.tolist() == case["indices_little_endian"]
        assert torch.equal(quantizer.embed(found.indices), found.codes)


def test_lfq_entropies_equal_the_golden_ones():
    values = golden("lfq_entropy")
    z = torch.tensor(golden("lfq")[1]["z"])
    token, codebook = LFQ(8, temperature=values["temperature"]).entropies(z)
    assert float(token) == pytest.approx(values["per_sample"], rel=1e-4)
    assert float(codebook) == pytest.approx(values["codebook"], rel=1e-4)


@pytest.mark.parametrize("bits", [3, 10])
def test_the_factorised_entropies_equal_those_of_the_full_softmax(bits):
    z = noise(40, bits) / 50
    codes = torch.tensor([[1.0 if index >> bit & 1 else -1.0 for bit in range(bits)] for index in range(2**bits)])
    probabilities = (-(z[:, None] - codes).square().sum(-1) / 0.05).softmax(-1)
    token, codebook = LFQ(bits, temperature=0.05, entropy_groups=1).entropies(z)
    expected = torch.special.entr(probabilities).sum(-1).mean()
    assert 0.1 < float(expected) < bits * math.log(2) - 0.1
    torch.testing.assert_close(token, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codebook, torch.special.entr(probabilities.mean(0)).sum(), rtol=1e-4, atol=1e-5)


def test_groups_of_bits_bound_the_entropy_of_the_codebook_from_above():
    z = noise(30, 8)
    exact, grouped = (float(LFQ(8, entropy_groups=groups).entropies(z)[1]) for groups in (1, 2))
    parts = sum(float(LFQ(4).entropies(it)[1]) for it in (z[:, :4], z[:, 4:]))
    assert grouped == pytest.approx(parts, rel=1e-5)
    assert exact < grouped - 0.1


def test_the_default_groups_of_the_largest_codebook_are_two_of_nine_bits():
    assert LFQ(18).groups == 2
    assert LFQ(9).groups == 1


def test_a_whole_codebook_of_2_to_the_18_is_refused_and_a_sample_of_tokens_is_not():
    with pytest.raises(ValueError, match=r"2\^18 codes at once needs a matrix of tokens x 262,144"):
        LFQ(18, entropy_groups=1)
    quantizer, z = LFQ(13, entropy_groups=1, entropy_tokens=2), noise(50, 13)
    assert float(quantizer.entropies(z)[1]) < math.log(2) + 0.3 < float(LFQ(13, entropy_groups=13).entropies(z)[1])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FSQ([8, 1]), r"levels=\(8, 1\): each dimension needs 2"),
        (lambda: FSQ([]), "each dimension needs 2"),
        (lambda: LFQ(0), "bits=0"),
        (lambda: LFQ(8, temperature=0.0), r"temperature=0\.0"),
        (lambda: LFQ(8, entropy_groups=3), "3 groups do not divide 8 bits"),
        (lambda: LFQ(4).embed(torch.tensor([3, 16])), "index 16 is not in a codebook of 16"),
        (lambda: FSQ([5, 5]).embed(torch.tensor([-1])), "index -1 is not in a codebook of 25"),
        (lambda: LFQ(18).split(torch.tensor([1]), (9, 8)), r"\(9, 8\) bits are not those of a codebook of 262144"),
        (lambda: LFQ(18).join(torch.tensor([[1, 2, 3]]), (9, 9)), "3 parts per token"),
    ],
)
def test_what_makes_no_codebook_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_gradients_pass_straight_through_the_signs():
    z = noise(5, 6).requires_grad_()
    weights = noise(5, 6) + 1
    (LFQ(6)(z).codes * weights).sum().backward()
    assert torch.equal(z.grad, weights)


def test_gradients_of_fsq_are_those_of_its_bounding_function():
    z, quantizer = noise(5, 3).requires_grad_(), FSQ([8, 6, 5])
    quantizer(z).codes.sum().backward()
    expected = (1 - (z + quantizer.shift).tanh().square()) * quantizer.reach / quantizer.radius
    torch.testing.assert_close(z.grad, expected.detach())


def test_every_code_can_be_reached_and_comes_back():
    for quantizer, reach in ((FSQ([8, 6, 5]), 9.0), (LFQ(6), 1.0)):
        every = torch.arange(quantizer.codebook_size)
        codes = quantizer.embed(every)
        assert len(torch.unique(codes, dim=0)) == quantizer.codebook_size
        assert codes.abs().max() == 1
        found = quantizer(torch.randn(200_000, quantizer.dim, generator=torch.Generator().manual_seed(1)) * reach / 3)
        assert torch.equal(torch.unique(found.indices), every)


def test_a_latent_of_zero_is_negative():
    assert LFQ(2)(torch.zeros(1, 2)).codes.tolist() == [[-1.0, -1.0]]


def test_half_precision_gives_the_indices_of_the_same_numbers_in_float32():
    z = noise(4000, 6).bfloat16()
    assert torch.equal(FSQ([8] * 6)(z).indices, FSQ([8] * 6)(z.float()).indices)
    assert FSQ([8] * 6)(z).codes.dtype == torch.bfloat16
    quantizer = LFQ(6)
    with torch.autocast("cpu", torch.bfloat16):
        low = quantizer.entropies(z.float())
    torch.testing.assert_close(low, quantizer.entropies(z.float()))


def test_loss_terms_are_there_in_training_only_and_have_finite_gradients():
    quantizer, z = LFQ(18), (10 * noise(2, 3, 4, 4, 18)).requires_grad_()
    found = quantizer(z).auxiliary
    assert set(found) == {"entropy", "commitment"}
    torch.testing.assert_close(found["commitment"], F.mse_loss(z, z.sign()))
    sum(found.values()).backward()
    assert torch.isfinite(z.grad).all()
    assert quantizer.eval()(z).auxiliary == {}
    assert FSQ([8, 8])(noise(3, 2)).auxiliary == {}


def test_less_entropy_per_token_and_more_over_tokens_is_a_lower_loss():
    quantizer = LFQ(4)
    spread = quantizer.embed(torch.arange(16))
    losses = [float(quantizer(z).auxiliary["entropy"]) for z in (spread, spread * 1e-3, spread[:1].expand(16, -1))]
    assert losses[0] == pytest.approx(-4 * math.log(2), abs=1e-3)
    assert losses[1] == pytest.approx(0, abs=0.1)
    assert losses[2] == pytest.approx(0, abs=1e-3)


def test_indices_split_into_the_low_and_the_high_bits_and_back():
    quantizer, z = LFQ(18), noise(7, 18)
    indices = quantizer(z).indices
    parts = quantizer.split(indices, (9, 9))
    assert torch.equal(parts[:, 0], LFQ(9)(z[:, :9]).indices)
    assert torch.equal(parts[:, 1], LFQ(9)(z[:, 9:]).indices)
    for bits in ((9, 9), (6, 12), (18,)):
        assert torch.equal(quantizer.join(quantizer.split(indices, bits), bits), indices)


def test_a_quantizer_has_no_state_and_moves_with_its_module():
    assert not FSQ([8, 8]).state_dict()
    assert not LFQ(18).state_dict()
    assert FSQ([8, 8]).to("meta").embed(torch.zeros(3, dtype=torch.long, device="meta")).shape == (3, 2)


def test_the_entropys_weight_falls_to_its_final_value():
    assert [annealed(0.1, step) for step in (0, 1000, 2000, 5000)] == pytest.approx([0.4, 0.25, 0.1, 0.1])
    assert annealed(0.1, 0, rise=0.0) == 0.1


@pytest.mark.parametrize("quantizer", [FSQ((8, 5, 3)), LFQ(5)], ids=["FSQ", "LFQ"])
def test_indices_count_levels_with_the_first_dimension_fastest(quantizer):
    places = torch.cartesian_prod(*(torch.arange(level) for level in reversed(quantizer.levels))).flip(-1)
    codes = quantizer.embed(torch.arange(quantizer.codebook_size))
    for place, values in zip(places.T, codes.T, strict=True):
        assert (place[:, None] < place[None]).equal(values[:, None] < values[None])
