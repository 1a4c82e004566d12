"""Parts of the MAGVIT tokenizers; whole networks are held against the authors' outputs in tests/zoo/cards."""

import pytest
import torch
from torch import nn

from backbones.magvit_layers import AdaptiveNorm, Form, GroupNorm, Up


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_strides": (2, 2)}, "4 levels have 3 steps between them, and time_strides has 2"),
        ({"time_strides": (1, 2, 3)}, "is 1 or 2, not 3"),
        ({"norm": "batch"}, "unknown norm 'batch'; choose from 'group_per_frame', 'group'"),
        ({"version": 3}, "unknown version 3"),
        ({"version": 1}, "version 1 pools over time, which is not causal"),
    ],
)
def test_what_makes_no_network_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        Form(**options)


def test_norms_per_frame_are_those_of_each_frame_alone():
    x = noise(2, 64, 3, 4, 4) * torch.tensor([1.0, 5.0, 9.0]).view(3, 1, 1)
    plain = nn.GroupNorm(32, 64, eps=1e-6)
    each = torch.stack([plain(x[:, :, at]) for at in range(3)], 2)
    torch.testing.assert_close(GroupNorm(64, per_frame=True)(x), each)
    torch.testing.assert_close(GroupNorm(64, per_frame=False)(x), plain(x))
    assert not torch.allclose(each, plain(x), atol=0.1)


@pytest.mark.parametrize("causal", [True, False])
def test_a_convolution_sees_the_past_and_only_without_causality_the_future(causal):
    conv = Form(channels=8, causal=causal).conv(2, 2)
    x = noise(1, 2, 5, 3, 3)
    later, earlier = x.clone(), x.clone()
    later[:, :, 3] += 1
    earlier[:, :, 1] += 1
    assert torch.equal(conv(later)[:, :, 2], conv(x)[:, :, 2]) == causal
    assert not torch.equal(conv(earlier)[:, :, 2], conv(x)[:, :, 2])
    assert conv(x).shape == x.shape


def test_depth_to_space_takes_channels_as_time_height_width_channel_and_a_causal_one_drops_the_second_frame():
    for causal in (True, False):
        up = Up(Form(channels=8, causal=causal), 2, (2, 2, 2))
        with torch.no_grad():
            up.conv.weight.zero_()
            up.conv.bias.copy_(torch.arange(16))
        out = up(noise(1, 2, 2, 1, 1))[0, :, :, :, :]
        # The number of a channel is ((u * 2 + p) * 2 + q) * 2 + c.
        frames = [[8 * u + 4 * p + 2 * q for p in range(2) for q in range(2)] for u in range(2)]
        expected = [frames[0], frames[0], frames[1]] if causal else [frames[0], frames[1], frames[0], frames[1]]
        assert out[0].flatten(1).tolist() == expected
        assert torch.equal(out[1], out[0] + 1)


def test_an_adaptive_norm_per_frame_takes_the_codes_of_the_frames_slot():
    form = Form(channels=8, time_strides=(1, 2, 2))
    norm, x, codes = AdaptiveNorm(form, 8, 3, 4), noise(2, 8, 9, 4, 4), noise(2, 3, 3, 2, 2)
    changed = codes.clone()
    changed[:, :, 1] *= 3
    same = (norm(x, changed) == norm(x, codes)).all(1).all(0).flatten(1).all(1)
    assert same.tolist() == [True] + [False] * 4 + [True] * 4
    variance = codes[:, :, 2].flatten(2).var(-1)
    scale, shift = norm.gamma((variance + 1e-6).sqrt()), norm.beta(codes[:, :, 2].flatten(2).mean(-1))
    expected = norm.norm(x)[:, :, 5:] * scale[..., None, None, None] + shift[..., None, None, None]
    torch.testing.assert_close(norm(x, codes)[:, :, 5:], expected)


def test_an_adaptive_norm_of_a_single_code_is_finite():
    norm = AdaptiveNorm(Form(channels=8, norm="group"), 8, 3, 4)
    assert torch.isfinite(norm(noise(1, 8, 1, 4, 4), noise(1, 3, 1, 1, 1))).all()
