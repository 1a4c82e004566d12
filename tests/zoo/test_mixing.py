import torch

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
