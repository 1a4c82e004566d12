import pytest
import torch
from torch.nn import functional as F

from backbones.ops.selective_scan.conv import conv_silu


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("taps", [2, 4])
def test_a_token_is_a_sum_over_itself_and_those_before_it(reverse, taps):
    x, weight, bias = torch.randn(2, 7, 5), torch.randn(5, taps), torch.randn(5)
    expected = bias.repeat(2, 7, 1)
    for token in range(7):
        for lag in range(taps):
            source = token + lag if reverse else token - lag
            if 0 <= source < 7:
                expected[:, token] += weight[:, taps - 1 - lag] * x[:, source]
    torch.testing.assert_close(conv_silu(x, weight, bias, reverse), F.silu(expected))
