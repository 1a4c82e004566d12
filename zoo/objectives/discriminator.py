"""MAGVIT's discriminator of clips: residual blocks in the manner of StyleGAN, in three dimensions.

Sources: google-research/magvit, `stylegan_discriminator_3d.py` (Apache-2.0); Yu et al., "Language Model Beats
Diffusion" (MAGVIT-v2, arXiv 2310.05737), which replaces its average pooling by 3-D blur pooling.
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # of the leaky activations, in both versions
MULTIPLIERS = (2, 4, 4, 4, 4)  # MAGVIT's; spec-lvmae-magvit, B.3


class BlurPool(nn.Module):
    """Halves all sides after a binomial blur (Zhang, "Making Convolutional Networks Shift-Invariant Again").

    The kernel is 1-2-1 along each side; MAGVIT-v2 does not give its size. A side of 1 stays.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.einsum("t,h,w->thw", line, line, line)[None, None], persistent=False)

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b channels t2 h2 w2"]:
        """Blur and take every second value."""
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, -1, -1, -1, -1)
        return F.conv3d(x, kernel, stride=2, padding=1, groups=channels)


class DiscriminatorBlock(nn.Module):
    """Two convolutions around a blur pool, beside a pooled shortcut; the sum is scaled to keep the variance."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(in_channels, in_channels, 3, padding=1)
        self.conv2 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv3d(in_channels, out_channels, 1, bias=False)
        self.pool = BlurPool()

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b out t2 h2 w2"]:
        """Halve all sides."""
        inner = self.pool(F.leaky_relu(self.conv1(x), SLOPE))
        inner = F.leaky_relu(self.conv2(inner), SLOPE)
        return (self.shortcut(self.pool(x)) + inner) / math.sqrt(2)


class Discriminator(nn.Module):
    """One number per clip: how real it looks, as a logit.

    It has no norm, so that the penalty on its gradient is of single clips. Its dense head makes it one for clips of one
    size.

    Args:
        num_frames: of the clips.
        img_size: their height and width in pixels.
        channels: before the first block; 64 in MAGVIT's "B" and 128 in its "L", as in the tokenizers.
        multipliers: width of each block in units of `channels`.

    Raises:
        ValueError: for sizes that are not positive, and for no block.
    """

    def __init__(
        self, *, num_frames: int, img_size: int, channels: int = 64, multipliers: tuple[int, ...] = MULTIPLIERS
    ) -> None:
        super().__init__()
        if min(num_frames, img_size, channels) < 1 or not multipliers or min(multipliers) < 1:
            raise ValueError(
                f"num_frames={num_frames}, img_size={img_size}, channels={channels}, multipliers={multipliers}: all "
                "must be at least 1, and there must be a block"
            )
        widths = [channels * it for it in (1, *multipliers)]
        self.clip = (num_frames, img_size, img_size)
        self.proj = nn.Conv3d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(
            *(DiscriminatorBlock(before, after) for before, after in itertools.pairwise(widths))
        )
        self.out = nn.Conv3d(widths[-1], widths[-1], 3, padding=1)
        left = math.prod(math.ceil(side / 2 ** len(multipliers)) for side in self.clip)
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * left, widths[-1]), nn.LeakyReLU(SLOPE), nn.Linear(widths[-1], 1)
        )
        for part in self.modules():
            if isinstance(part, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, video: Float[Tensor, "b 3 frames height width"]) -> Float[Tensor, "b"]:
        """Logits of clips with pixels in 0-1.

        Raises:
            ValueError: for clips of another size.
        """
        if video.shape[2:] != self.clip:
            raise ValueError(f"the discriminator is made for clips of {self.clip}, not {tuple(video.shape[2:])}")
        x = F.leaky_relu(self.proj(video), SLOPE)
        x = F.leaky_relu(self.out(self.blocks(x)), SLOPE)
        return self.head(x.flatten(1))[:, 0]
