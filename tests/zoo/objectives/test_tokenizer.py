import pytest
import torch
from torch.nn import functional as F

from backbones.quantizers import annealed
from tests.backbones.toy_tokenizer import ToyTokenizer
from tests.zoo.objectives.adversary import Distance, batch, judge, tokenizer, training
from zoo.objectives.tokenizer import LECAM_MOMENTUM, LossWeights, TokenizerTraining


def pixels(clips):
    return clips.video / 2 + 0.5


def test_the_tokenizers_loss_is_the_weighted_sum_of_its_terms():
    weights = LossWeights(reconstruction=2.0, perceptual=0.5, adversarial=0.3, entropy=0.2, commitment=0.7)
    objective, clips = training(weights=weights, perceptual=Distance()), batch()
    total, logs = objective(clips)
    made, codes = objective.tokenizer(pixels(clips))
    distance = objective.outside["perceptual"](made, pixels(clips))
    expected = (
        2 * F.mse_loss(made, pixels(clips))
        + 0.5 * distance
        + 0.3 * F.softplus(-objective.discriminator(made)).mean()
        + annealed(0.2, 0) * codes.auxiliary["entropy"]
        + 0.7 * codes.auxiliary["commitment"]
    )
    torch.testing.assert_close(total, expected)
    assert {"reconstruction", "perceptual", "adversarial", "entropy", "commitment", "blank_loss"} == set(logs)
    mean = pixels(clips).mean((0, 2), keepdim=True)
    torch.testing.assert_close(logs["blank_loss"], (pixels(clips) - mean).square().mean())


def test_the_other_error_is_the_absolute_one():
    objective, clips = training(error="l1"), batch()
    made = objective.tokenizer(pixels(clips)).video
    torch.testing.assert_close(objective(clips).logs["reconstruction"], (made - pixels(clips)).abs().mean())


def test_the_weight_of_the_entropy_falls_with_the_steps_taken():
    objective, clips = training(weights=LossWeights(entropy_steps=10)), batch()
    before, logs = objective(clips)
    objective.steps.taken = 10
    after, _ = objective(clips)
    torch.testing.assert_close(before - after, 0.3 * logs["entropy"])


def test_the_discriminators_loss_has_the_penalty_at_real_clips_and_lecam():
    objective, clips = training(weights=LossWeights(r1=3.0, lecam=0.5)), batch()
    objective.real_mean.fill_(0.4)
    objective.fake_mean.fill_(-0.2)
    real = pixels(clips).requires_grad_()
    with torch.no_grad():
        made = objective.tokenizer(pixels(clips)).video
    good, bad = objective.discriminator(real), objective.discriminator(made)
    (slope,) = torch.autograd.grad(good.sum(), real)
    penalty = slope.square().sum((1, 2, 3, 4)).mean()
    lecam = F.relu(good + 0.2).square().mean() + F.relu(0.4 - bad).square().mean()
    expected = F.softplus(-good).mean() + F.softplus(bad).mean() + 3 * penalty + 0.5 * lecam
    found, logs = objective(clips, part="discriminator")
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logs["r1"], penalty)
    torch.testing.assert_close(logs["lecam"], lecam.detach())


def test_the_penalty_reaches_the_discriminators_weights():
    clips, slopes = batch(), []
    for cost in (0.0, 10.0):
        objective = training(weights=LossWeights(r1=cost))
        objective(clips, part="discriminator").total.backward()
        slopes.append(objective.discriminator.proj.weight.grad)
        assert all(it.grad is None for it in objective.tokenizer.parameters())
    assert not torch.equal(*slopes)


def test_both_parts_judge_one_reconstruction_of_the_same_weights():
    objective, clips = training(), batch()
    calls = []
    objective.tokenizer.register_forward_hook(lambda *_: calls.append(1))
    objective(clips)
    after = objective(clips, part="discriminator").total
    assert len(calls) == 1
    torch.testing.assert_close(objective(clips, part="discriminator").total, after)
    objective(clips)
    objective(batch(seed=1), part="discriminator")
    assert len(calls) == 4  # a reconstruction of other clips is not taken


def test_running_means_and_average_move_when_a_step_was_taken_and_not_before():
    objective, clips = training(momentum=0.75), batch()
    logs = objective(clips, part="discriminator").logs
    assert objective.real_mean == objective.fake_mean == 0
    first = objective.average.network.decoder.out.weight.clone()
    with torch.no_grad():
        objective.tokenizer.decoder.out.weight.add_(1.0)
    objective.after_step(7)
    torch.testing.assert_close(objective.real_mean, (1 - LECAM_MOMENTUM) * logs["real_logit"])
    torch.testing.assert_close(objective.fake_mean, (1 - LECAM_MOMENTUM) * logs["fake_logit"])
    torch.testing.assert_close(objective.average.network.decoder.out.weight, first + 0.25)
    assert objective.steps.taken == 7


def test_without_an_adversary_there_are_no_parts_and_it_is_said():
    objective = training(adversary=False)
    assert objective.parts == ()
    assert objective.notes == ("trained without perceptual loss", "trained without adversarial loss")
    assert "adversarial" not in objective(batch()).logs
    with pytest.raises(ValueError, match="unknown part 'discriminator'"):
        objective(batch(), part="discriminator")


def test_the_student_is_the_encoder_and_has_one_name_in_the_state():
    objective = training(perceptual=Distance())
    assert objective.student is objective.tokenizer.backbone
    starts = {name.partition(".")[0] for name in objective.state_dict()}
    assert starts == {"tokenizer", "discriminator", "average", "steps", "real_mean", "fake_mean"}


def test_a_picture_shows_what_the_average_makes():
    objective, clips = training(), batch()
    with torch.no_grad():
        objective.tokenizer.decoder.out.bias.add_(5.0)
    shown = objective.picture(clips, pixels(clips))
    expected = objective.average.network(pixels(clips)).video.clamp(0, 1)
    torch.testing.assert_close(shown.panels["reconstructed"], expected)
    assert "without perceptual loss" in shown.note


class Odd(type(tokenizer())):
    """Its quantizer adds a term that nobody knows."""

    def quantize(self, latents):
        found = super().quantize(latents)
        return found._replace(auxiliary={"diversity": latents.mean()})


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: TokenizerTraining(tokenizer(), error="l3"), "unknown error 'l3'"),
        (lambda: TokenizerTraining(tokenizer(), momentum=1.5), "momentum must lie"),
        (lambda: TokenizerTraining(ToyTokenizer()), "ToyTokenizer holds no backbone"),
        (lambda: LossWeights(r1=-1.0), "r1=-1.0"),
        (lambda: LossWeights(entropy_steps=0), "entropy_steps=0"),
        (lambda: TokenizerTraining(Odd(tokenizer().form, tokenizer().quantizer), judge())(batch()), "'diversity'"),
    ],
)
def test_what_cannot_be_trained_is_refused(make, why):
    with pytest.raises(ValueError, match=why):
        make()
