import pytest
import torch

from zoo.objectives.discriminator import BlurPool, Discriminator


def test_a_clip_gets_one_logit_that_depends_on_it_alone():
    torch.manual_seed(0)
    judge, clips = Discriminator(num_frames=5, img_size=12, channels=4, multipliers=(2, 2)), torch.rand(2, 3, 5, 12, 12)
    both = judge(clips)
    assert both.shape == (2,)
    torch.testing.assert_close(judge(clips[1:]), both[1:])
    assert both[0] != both[1]


def test_blur_pooling_keeps_a_constant_inside_and_removes_the_finest_stripes():
    flat, stripes = torch.ones(1, 2, 9, 9, 9), torch.ones(1, 2, 9, 9, 9)
    stripes[..., 1::2] = -1
    assert BlurPool()(flat).shape == (1, 2, 5, 5, 5)
    torch.testing.assert_close(BlurPool()(flat)[..., 1:-1, 1:-1, 1:-1], torch.ones(1, 2, 3, 3, 3))
    torch.testing.assert_close(BlurPool()(stripes)[..., 1:-1, 1:-1, 1:-1], torch.zeros(1, 2, 3, 3, 3))


def test_sizes_are_the_published_ones():
    with torch.device("meta"):
        judge = Discriminator(num_frames=16, img_size=128)
    assert [block.conv2.out_channels for block in judge.blocks] == [128, 256, 256, 256, 256]
    assert judge.head[0].in_features == 256 * 1 * 4 * 4


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"img_size": 0}, {"channels": 0}, {"multipliers": ()}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        Discriminator(**{"num_frames": 4, "img_size": 8, **wrong})


def test_clips_of_another_size_are_refused():
    judge = Discriminator(num_frames=4, img_size=8, channels=1, multipliers=(1,))
    with pytest.raises(ValueError, match=r"made for clips of \(4, 8, 8\), not \(4, 8, 16\)"):
        judge(torch.rand(1, 3, 4, 8, 16))
