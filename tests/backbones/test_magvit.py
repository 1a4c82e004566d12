"""The MAGVIT tokenizers: what is causal, what is local, what stills and clips share."""

import pytest
import torch

from backbones import magvit
from backbones.magvit import Magvit, inflate

TINY = {"channels": 8, "depth": 1}


def clip(frames: int, side: int = 16, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, frames, side, side, generator=torch.Generator().manual_seed(0))


def lively(tokenizer: Magvit) -> Magvit:
    """With weights behind which no mistake hides: fresh norms are all alike."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return tokenizer.eval()


def causal(norm: str = "group_per_frame") -> Magvit:
    torch.manual_seed(0)
    return lively(magvit.magvit2_causal(levels=6, norm=norm, **TINY))


def pooled(**options) -> Magvit:
    torch.manual_seed(0)
    return lively(magvit.lvmae_tokenizer_tiny(**{"channels": 8, **options}))


@torch.no_grad()
def test_an_up_projection_stands_between_codes_and_decoder_and_is_at_hand_alone():
    tokenizer = pooled(embed_dim=24)
    codes = tokenizer.quantize(tokenizer.latents(clip(4))).codes
    wide = tokenizer.up_project(codes)
    assert wide.shape == (*codes.shape[:-1], 24)
    expected = (tokenizer.decoder(wide.movedim(-1, 1)) + 1) / 2
    torch.testing.assert_close(tokenizer.reconstruct(codes), expected)
    with pytest.raises(ValueError, match="make one with embed_dim=WIDTH"):
        pooled().up_project(codes)


def changed_after(video: torch.Tensor, frame: int) -> torch.Tensor:
    return torch.cat([video[:, :, :frame], 1 - video[:, :, frame:]], 2)


@torch.no_grad()
def test_later_frames_do_not_change_earlier_codes_and_the_first_code_is_that_of_the_still():
    tokenizer, video = causal(), clip(9)
    latents, other = tokenizer.latents(video), tokenizer.latents(changed_after(video, 5))
    torch.testing.assert_close(other[:, :2], latents[:, :2], rtol=0, atol=1e-6)
    assert not torch.allclose(other[:, 2], latents[:, 2], atol=1e-3)
    torch.testing.assert_close(tokenizer.latents(video[:, :, :1]), latents[:, :1], rtol=0, atol=1e-6)


@torch.no_grad()
def test_with_norms_over_the_clip_later_frames_leak_into_earlier_codes():
    """Open-MAGVIT2's released video model does so."""
    tokenizer, video = causal("group"), clip(9)
    latents, other = tokenizer.latents(video), tokenizer.latents(changed_after(video, 5))
    assert (other[:, :2] - latents[:, :2]).abs().max() > 1e-3
    assert (tokenizer.latents(video[:, :, :1]) - latents[:, :1]).abs().max() > 1e-3


@torch.no_grad()
def test_later_codes_do_not_change_earlier_frames():
    tokenizer, codes = causal(), torch.randn(1, 3, 2, 2, 6, generator=torch.Generator().manual_seed(0)).sign()
    other = codes.clone()
    other[:, 2] *= -1
    frames, changed = tokenizer.reconstruct(codes), tokenizer.reconstruct(other)
    torch.testing.assert_close(changed[:, :, :5], frames[:, :, :5], rtol=0, atol=1e-6)
    assert not torch.allclose(changed[:, :, 5:], frames[:, :, 5:], atol=1e-3)


@pytest.mark.parametrize("frames", [1, 5, 9])
@torch.no_grad()
def test_as_many_frames_leave_a_causal_tokenizer_as_enter(frames):
    tokenizer, video = causal(), clip(frames)
    found = tokenizer(video)
    assert found.video.shape == video.shape
    assert found.codes.indices.shape[1:] == tuple(tokenizer.grid(video)) == (1 + frames // 4, 2, 2)
    assert torch.equal(tokenizer.decode(tokenizer.encode(video)), found.video.clamp(0, 1))


@pytest.mark.parametrize(("shape", "said"), [((4, 16, 16), "a clip of 4 frames"), ((5, 12, 16), "of 12 x 16 px")])
def test_a_clip_that_a_causal_tokenizer_cannot_cut_is_refused(shape, said):
    with pytest.raises(ValueError, match=rf"{said}.*takes 1, 5, 9, \.\.\. frames"):
        causal().latents(torch.rand(1, 3, *shape))


@torch.no_grad()
def test_an_image_tokenizer_codes_every_frame_as_the_still_that_it_is():
    torch.manual_seed(0)
    tokenizer, video = lively(magvit.open_magvit2_image_128(levels=6, **TINY)), clip(3)
    stills = torch.cat([tokenizer(video[:, :, at : at + 1]).video for at in range(3)], 2)
    torch.testing.assert_close(tokenizer(video).video, stills, rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_tokenizer_of_lvmae_is_local_in_time_so_that_long_clips_are_short_ones_in_a_row():
    tokenizer, video = pooled(), clip(48)
    other = video.clone()
    other[:, :, :2] = 1 - other[:, :, :2]
    differs = (tokenizer.latents(video) - tokenizer.latents(other)).abs().amax((0, 2, 3, 4))
    assert tuple(tokenizer.grid(video)) == (24, 2, 2)
    assert differs[0] > 1e-3
    assert differs[12:].max() == 0


@torch.no_grad()
def test_the_tokenizer_of_lvmae_sees_the_future_too():
    tokenizer, video = pooled(), clip(4)
    assert not torch.allclose(tokenizer.latents(changed_after(video, 2))[:, 0], tokenizer.latents(video)[:, 0])
    assert tokenizer(video).video.shape == video.shape


@torch.no_grad()
def test_a_causal_video_tokenizer_inflated_from_stills_treats_every_frame_as_a_still():
    torch.manual_seed(2)
    image, video = lively(magvit.magvit(levels=6, time_strides=(1, 1, 1), **TINY)), causal()
    inflate(video, image)
    frames = clip(5)
    latents = video.latents(frames)
    for slot, frame in ((0, 0), (1, 4)):
        still = image.latents(frames[:, :, frame : frame + 1])
        torch.testing.assert_close(latents[:, slot : slot + 1], still, rtol=1e-4, atol=1e-5)
    codes = video.quantize(latents).codes
    for slot, shown in ((0, slice(0, 1)), (1, slice(1, 5))):
        still = image.reconstruct(codes[:, slot : slot + 1])
        expected = still.expand(-1, -1, shown.stop - shown.start, -1, -1)
        torch.testing.assert_close(video.reconstruct(codes)[:, :, shown], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_non_causal_video_tokenizer_is_inflated_into_the_central_slice():
    image, video = pooled(time_strides=(1, 1, 1)), pooled()
    inflate(video, image)
    still = clip(1)
    found, expected = video(still.expand(-1, -1, 6, -1, -1)), image(still)
    torch.testing.assert_close(found.codes.latents, expected.codes.latents.expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(found.video, expected.video.expand(-1, -1, 6, -1, -1), rtol=1e-4, atol=1e-5)


def test_tokenizers_of_another_form_are_not_inflated_and_nothing_is_copied():
    video, image = causal(), magvit.magvit(levels=3, time_strides=(1, 1, 1), **TINY)
    before = {name: it.clone() for name, it in video.state_dict().items()}
    with pytest.raises(ValueError, match=r"'latent.proj.weight' of the video tokenizer is \[6, 32, 1, 1, 1\]"):
        inflate(video, image)
    assert all(torch.equal(it, before[name]) for name, it in video.state_dict().items())


@pytest.mark.parametrize("make", [causal, pooled])
def test_gradients_reach_every_weight_through_the_codes_and_are_the_same_recomputed(make):
    tokenizer = make()
    frames = 5 if tokenizer.causal else 4

    def gradients() -> list[torch.Tensor]:
        tokenizer.zero_grad()
        (tokenizer(clip(frames)).video - 0.5).square().mean().backward()
        return [it.grad.clone() for it in tokenizer.parameters()]

    plain = gradients()
    assert all(it.abs().max() > 0 for it in plain)
    tokenizer.set_grad_checkpointing()
    for found, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-8)


def test_only_lookup_free_tokenizers_add_terms_to_a_loss():
    assert set(causal().train()(clip(1)).codes.auxiliary) == {"entropy", "commitment"}
    assert pooled().train()(clip(2)).codes.auxiliary == {}


def test_an_encoder_is_refused_for_clips_that_it_cannot_take():
    with pytest.raises(ValueError, match="a clip of 16 frames of 128 x 128 px"):
        magvit.magvit2_causal_encoder(num_frames=16, **TINY)


def test_a_tokenizer_that_keeps_some_codes_has_a_scorer_on_its_grid():
    plain, adaptive = (magvit.lvmae_tokenizer_tiny(channels=4, keep_tokens=kept) for kept in (None, 6))
    video = torch.rand(1, 3, 4, 16, 16)
    assert adaptive.importance(video).shape == (1, *adaptive.grid(video)) == (1, *plain.grid(video))
    assert adaptive.train().gates(video).sum().item() == pytest.approx(6)
    with pytest.raises(ValueError, match="no importance scorer"):
        plain.importance(video)
