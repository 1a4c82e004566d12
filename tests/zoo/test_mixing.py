import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup
from torch.nn import functional as F

from zoo.draws import borrowed, seed_from
from zoo.mixing import mix_clips, mixer_of


def clips():
    """Clip i has the value i in every pixel of its first frame, i + 10 in the second."""
    values = torch.arange(4.0)[:, None] + torch.tensor([0.0, 10.0])
    return values[:, None, :, None, None].expand(4, 3, 2, 8, 8), torch.arange(4)


def test_nothing_is_mixed_where_nothing_is_asked_for():
    assert mixer_of(mixup=0.0, cutmix=0.0, num_classes=4) is None


def test_mixup_mixes_all_frames_and_labels_by_the_same_share():
    video, label = clips()
    found, shares = mix_clips(mixer_of(mixup=0.8, cutmix=0.0, num_classes=4), video, label)
    expected = shares @ video.flatten(1)
    torch.testing.assert_close(found.flatten(1), expected)
    assert 0 < shares[0, 0] < 1


def test_cutmix_cuts_one_box_through_all_frames():
    torch.manual_seed(0)
    video, label = clips()
    found, shares = mix_clips(mixer_of(mixup=0.0, cutmix=1.0, num_classes=4), video, label)
    torch.testing.assert_close(found.mean((1, 3, 4)), shares @ video.mean((1, 3, 4)))
    replaced = found != video
    assert replaced.any()
    assert torch.equal(replaced, replaced[:, :1, :1].expand_as(replaced))


def test_draws_come_from_the_generator_and_leave_the_global_one_alone():
    mix, generator = mixer_of(mixup=0.8, cutmix=1.0, num_classes=4), torch.Generator().manual_seed(3)
    state = torch.get_rng_state()
    first, second = (mix_clips(mix, *clips(), generator=generator)[1] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    torch.rand(3)
    assert torch.equal(mix_clips(mix, *clips(), generator=generator.manual_seed(3))[1], first)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_single_pictures_are_mixed_as_timm_mixes_them(mode):
    mix = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, mode=mode, label_smoothing=0.1, num_classes=4)
    images, label = torch.rand(4, 3, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(4)
    for seed in range(6):
        with borrowed(seed_from(torch.Generator().manual_seed(seed))):
            expected, targets = mix(images[:, :, 0].clone(), label)
        found, shares = mix_clips(mix, images, label, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(found[:, :, 0], expected)
        assert torch.equal(shares, targets)


def test_smoothing_in_the_loss_is_smoothing_in_timms_targets():
    scores, (video, label) = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)), clips()
    plain = mixer_of(mixup=0.8, cutmix=1.0, num_classes=5)
    smooth = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=5)
    for seed in range(4):
        ours = mix_clips(plain, video, label, generator=torch.Generator().manual_seed(seed))[1]
        theirs = mix_clips(smooth, video, label, generator=torch.Generator().manual_seed(seed))[1]
        expected = -(theirs * scores.log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(F.cross_entropy(scores, ours, label_smoothing=0.1), expected)


def test_copies_of_one_video_are_not_mixed_with_each_other():
    # Two videos, two copies each, side by side as the data module gives them.
    video, label = clips()[0], torch.tensor([0, 0, 1, 1])
    _, shares = mix_clips(mixer_of(mixup=5.0, cutmix=0.0, num_classes=2), video, label)
    assert ((shares > 0) & (shares < 1)).all()


def test_mixing_leaves_the_batch_and_the_global_generators_alone():
    video, label = clips()
    video, state = video.clone(), np.random.get_state()[1].tolist()
    kept = video.clone()
    mix_clips(mixer_of(mixup=0.8, cutmix=1.0, num_classes=4), video, label)
    assert torch.equal(video, kept)
    assert np.random.get_state()[1].tolist() == state


def test_clips_that_do_not_pair_up_are_refused():
    video, label = clips()
    with pytest.raises(ValueError, match="even number per batch, not 3"):
        mix_clips(mixer_of(mixup=0.8, cutmix=0.0, num_classes=4), video[:3], label[:3])
