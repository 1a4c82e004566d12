import pytest
import torch

from backbones.contract import Grid
from backbones.importance import (
    AdaptiveTokenizer,
    ImportanceScorer,
    adjacent_distance,
    perturbed_top_k,
    standardized,
    top_k,
)
from tests.backbones.toy_tokenizer import ToyTokenizer
from tests.backbones.toy_video import ConvTokenizer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adaptive(**options) -> AdaptiveTokenizer:
    torch.manual_seed(0)
    return AdaptiveTokenizer(ConvTokenizer(width=8), ImportanceScorer((2, 4, 4), hidden=4, dim=2), **options)


def test_distances_are_those_from_the_slot_before_and_the_first_slot_follows_its_rule():
    features = torch.zeros(1, 3, 1, 2, 2)
    features[0, 1, 0, 0] = torch.tensor([3.0, 4.0])
    by_rule = {rule: adjacent_distance(features, rule)[0, :, 0].tolist() for rule in ("copy", "keep", "zero")}
    moved = [[5.0, 0.0], [5.0, 0.0]]
    assert by_rule == {"copy": [[5.0, 0.0], *moved], "keep": [[5.0, 5.0], *moved], "zero": [[0.0, 0.0], *moved]}
    assert adjacent_distance(features[:, :1]).tolist() == [[[[0.0, 0.0]]]]


def test_a_still_clip_scores_zero_everywhere_and_has_finite_gradients():
    scorer = ImportanceScorer((2, 4, 4), hidden=4, dim=2)
    scores = adjacent_distance(scorer(torch.rand(1, 3, 1, 8, 8).expand(-1, -1, 8, -1, -1)))
    assert scores.abs().max() < 1e-6
    standardized(scores.flatten(1)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in scorer.parameters())


@pytest.mark.parametrize("tubelet", [(2, 16, 16), (1, 8, 4), (4, 8, 8)])
def test_the_scorers_grid_is_that_of_the_codes(tubelet):
    video = torch.rand(1, 3, 2 * tubelet[0], 2 * tubelet[1], tubelet[2])
    assert ImportanceScorer(tubelet, hidden=2, dim=3)(video).shape == (1, 2, 2, 1, 3)


def test_a_causal_scorer_has_a_slot_for_the_first_frame_and_does_not_look_ahead():
    scorer, video = ImportanceScorer((2, 4, 4), hidden=4, dim=2, causal=True), torch.rand(1, 3, 5, 4, 4)
    changed = video.clone()
    changed[:, :, 3:] = 0
    before, after = scorer(video), scorer(changed)
    assert before.shape[1] == 3
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


def test_of_equal_scores_the_first_are_chosen():
    assert top_k(torch.tensor([[1.0, 2.0, 1.0, 1.0]]), 2).tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_perturbed_choices_sum_to_the_budget_and_without_noise_are_the_hard_ones():
    scores = torch.randn(2, 10, generator=seeded(1))
    noise = torch.randn(2, 32, 10, generator=seeded(2))
    soft = perturbed_top_k(scores, 3, noise)
    torch.testing.assert_close(soft.sum(1), torch.tensor([3.0, 3.0]))
    assert ((soft > 0) & (soft < 1)).any()
    assert torch.equal(perturbed_top_k(scores, 3, noise, 1e-9), top_k(scores, 3))


def test_the_gradient_of_the_perturbed_choice_is_that_of_its_expectation():
    scores = torch.tensor([[0.3, 0.2]], requires_grad=True)
    noise = torch.randn(1, 4000, 2, generator=seeded(0))
    chosen = perturbed_top_k(scores, 1, noise)
    chosen[0, 0].backward()
    # The first of two is chosen when the difference of two noises stays below that of the scores.
    difference = torch.distributions.Normal(0.0, 0.3 * 2**0.5)
    assert chosen[0, 0].item() == pytest.approx(difference.cdf(torch.tensor(0.1)).item(), abs=0.02)
    density = difference.log_prob(torch.tensor(0.1)).exp().item()
    assert scores.grad[0].tolist() == pytest.approx([density, -density], abs=0.08)


def test_training_leaves_the_latents_of_unimportant_codes_out_and_keeps_the_first_slot():
    tokenizer, video = adaptive(keep_tokens=6), torch.rand(1, 3, 8, 8, 8, generator=seeded(1))
    whole = tokenizer.tokenizer.latents(video)
    tokenizer.eval()
    assert torch.equal(tokenizer.latents(video), whole)
    kept = tokenizer.kept_latents(video)
    gates = (kept != 0).any(-1)
    assert gates.sum() == 6
    assert gates[:, 0].all()
    assert torch.equal(kept[gates], whole[gates])
    tokenizer.train().generator = seeded(3)
    soft = tokenizer.gates(video)
    torch.testing.assert_close(soft.sum(), torch.tensor(6.0))
    assert (soft[:, 0] == 1).all()
    tokenizer.generator = seeded(3)
    assert torch.equal(tokenizer.latents(video), whole * soft[..., None])


def test_the_reconstruction_error_reaches_the_scorer_in_training():
    tokenizer, video = adaptive(keep_tokens=6), torch.rand(2, 3, 8, 8, 8, generator=seeded(1))
    (tokenizer(video).video - video).square().mean().backward()
    assert [name for name, it in tokenizer.named_parameters() if it.grad is None] == []
    assert tokenizer.scorer.first.weight.grad.abs().max() > 0


def test_a_kept_first_slot_may_come_on_top_of_the_budget():
    video = torch.rand(1, 3, 8, 8, 8)
    assert adaptive(keep_tokens=6, keep_includes_first=False).eval().gates(video).sum() == 10
    assert adaptive(keep_tokens=6, first_slot="zero").eval().gates(video)[:, 0].sum() == 0


def test_windows_are_tokenized_one_by_one_and_scored_together_or_apart():
    video = torch.rand(1, 3, 16, 8, 8, generator=seeded(1)).requires_grad_()
    windowed, whole = adaptive(window=8).eval(), adaptive().eval()
    assert torch.equal(windowed.importance(video), whole.importance(video))
    codes = windowed(video)
    parts = [whole(part) for part in video.split(8, 2)]
    assert torch.equal(codes.codes.codes, torch.cat([part.codes.codes for part in parts], 1))
    assert torch.equal(codes.video, torch.cat([part.video for part in parts], 2))
    assert not torch.equal(codes.video, whole(video).video), "the toy does not look across windows"
    apart = adaptive(window=8, scope="window").eval().importance(video)
    assert top_k(apart.flatten(1), 10).view(2, 16).sum(1).tolist() == [5.0, 5.0]
    first = adjacent_distance(whole.scorer(video[:, :, :8]))
    assert torch.equal(top_k(apart[:, :4].flatten(1), 5), top_k(first.flatten(1), 5))


def test_the_adaptive_tokenizer_keeps_the_contract_of_the_one_inside():
    tokenizer, video = adaptive().eval(), torch.rand(1, 3, 4, 8, 8, generator=seeded(1))
    inner = tokenizer.tokenizer
    assert tokenizer.grid(video) == Grid(2, 2, 2)
    assert torch.equal(tokenizer.encode(video), inner.encode(video))
    torch.testing.assert_close(tokenizer.embed(tokenizer.encode(video)), inner(video).codes.codes)
    assert torch.equal(tokenizer.decode(inner.encode(video)), inner.decode(inner.encode(video)))
    for name in ("codebook_size", "code_dim", "tubelet", "causal", "levels"):
        assert getattr(tokenizer, name) == getattr(inner, name)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"unknown first_slot 'last'; choose from \('copy', 'keep', 'zero'\)"):
        adaptive(first_slot="last")
    with pytest.raises(ValueError, match="unknown scope 'clip'"):
        adaptive(scope="clip")
    with pytest.raises(ValueError, match="scope 'window' needs a window"):
        adaptive(scope="window")
    with pytest.raises(ValueError, match="windows of 3 frames cannot be cut for a non-causal tokenizer with 2 frames"):
        adaptive(window=3)
    with pytest.raises(ValueError, match="3 kept of 4 x 2 x 2 codes leave -1 to choose among 12"):
        adaptive(keep_tokens=3).gates(torch.rand(1, 3, 8, 8, 8))
    causal = ToyTokenizer()
    causal.causal = True
    with pytest.raises(ValueError, match="a causal one takes whole clips"):
        AdaptiveTokenizer(causal, ImportanceScorer((2, 8, 8), causal=True), window=4)
