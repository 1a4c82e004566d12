"""The depthwise causal convolution and SiLU in front of a scan, in torch alone: what every implementation may use."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Tokens = Float[Tensor, "batch length dim"]


def conv_silu(
    x: Tokens, weight: Float[Tensor, "dim taps"], bias: Float[Tensor, " dim"] | None, reverse: bool = False
) -> Tokens:
    """SiLU of a convolution in which a token sees itself and earlier tokens only.

    Args:
        x: tokens.
        weight: taps per channel; the last one belongs to the token itself.
        bias: one value per channel.
        reverse: read the sequence from its end, so that a token sees itself and later tokens only; the output stays in
            input order.
    """
    reach = weight.shape[-1] - 1
    if reverse:
        # Reversing the sequence twice equals reversing the taps once.
        x, weight = F.pad(x, (0, 0, 0, reach)), weight.flip(-1)
    else:
        x = F.pad(x, (0, 0, reach, 0))
    # Seen as an image of height 1 the tokens already lie in channels_last order, for which conv2d is twice as fast as
    # conv1d on transposed tokens.
    image = F.conv2d(x.transpose(1, 2).unsqueeze(2), weight[:, None, None], bias, groups=weight.shape[0])
    return F.silu(image.squeeze(2).transpose(1, 2))
