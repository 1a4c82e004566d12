"""Parts of the 3-D CNN tokenizers of the MAGVIT family: convolutions, norms, residual blocks, steps between levels.

Sources: TencentARC/SEED-Voken (Open-MAGVIT2, `improved_video_model.py` and `improved_model.py`, Apache-2.0), whose
released weights these parts reproduce; google-research/magvit (MAGVIT v1, `enc_dec_3dcnn.py`, Apache-2.0) for what is
marked v1; Yu et al., arXiv 2310.05737 (MAGVIT-v2).
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

NORMS = ("group_per_frame", "group")
GROUPS, EPS = 32, 1e-6  # Open-MAGVIT2, as timm's and VQGAN's
Step = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a network of the family is made of.

    Attributes:
        channels: of the first level; 128 in all published models, 64 in MAGVIT's "B".
        multipliers: width of each level in units of `channels`, from full resolution to the latents'.
        depth: residual blocks per level, and as many again in the middle.
        time_strides: of the step from each level to the next; sides are always halved. All 1 makes an image network,
            whose kernels see one frame at a time.
        causal: convolutions see the past only, and the first frame has a slot of its own.
        norm: "group_per_frame", whose statistics are of one frame, or "group", whose statistics are of the clip: with
            it later frames change the codes of earlier ones, in Open-MAGVIT2's video model too, which is trained so.
        version: 2 steps by strided convolution and depth-to-space, and its decoder has adaptive norms; 1 steps by
            average pooling and nearest neighbours, without adaptive norms.

    Raises:
        ValueError: for numbers of levels that disagree, an unknown norm or version, and a causal network that pools
            over time.
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    depth: int = 4
    time_strides: tuple[int, ...] = (1, 2, 2)
    causal: bool = True
    norm: str = "group_per_frame"
    version: int = 2

    def __post_init__(self) -> None:
        if len(self.time_strides) != len(self.multipliers) - 1:
            raise ValueError(
                f"{len(self.multipliers)} levels have {len(self.multipliers) - 1} steps between them, and time_strides "
                f"has {len(self.time_strides)}"
            )
        if wrong := [it for it in self.time_strides if it not in (1, 2)]:
            raise ValueError(f"time_strides={self.time_strides}: a stride in time is 1 or 2, not {wrong[0]}")
        if self.norm not in NORMS:
            raise ValueError(f"unknown norm {self.norm!r}; choose from {', '.join(map(repr, NORMS))}")
        if self.version not in (1, 2):
            raise ValueError(f"unknown version {self.version}; choose 1 (pooling) or 2 (strided convolution)")
        if self.version == 1 and self.causal and max(self.time_strides) > 1:
            raise ValueError("version 1 pools over time, which is not causal; take causal=False, or version=2")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.channels * it for it in self.multipliers)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Strides (time, height, width) from each level to the next."""
        return tuple((it, 2, 2) for it in self.time_strides)

    @property
    def tubelet(self) -> Step:
        """Pixels per latent (frames, height, width)."""
        side = 2 ** len(self.steps)
        return math.prod(self.time_strides), side, side

    @property
    def per_frame(self) -> bool:
        """Whether norms take the statistics of one frame."""
        return self.norm == "group_per_frame"

    def conv(
        self, in_channels: int, out_channels: int, size: int = 3, *, step: Step = (1, 1, 1), bias: bool = True
    ) -> "Conv":
        """A convolution with a cubic kernel, or a square one in an image network."""
        frames = size if max((1, *self.time_strides)) > 1 else 1
        return Conv(in_channels, out_channels, (frames, size, size), step=step, causal=self.causal, bias=bias)

    def group_norm(self, channels: int) -> "GroupNorm":
        """The norm in front of a convolution."""
        return GroupNorm(channels, per_frame=self.per_frame)


class Conv(nn.Conv3d):
    """A convolution padded by zeros to keep the sides; in a causal one all padding in time comes before the clip."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Step, *, step: Step, causal: bool, bias: bool
    ) -> None:
        padding = (0, kernel[1] // 2, kernel[2] // 2)
        super().__init__(in_channels, out_channels, kernel, stride=step, padding=padding, bias=bias)
        past = kernel[0] - 1 if causal else kernel[0] // 2
        self.around = (0, 0, 0, 0, past, kernel[0] - 1 - past)

    def forward(self, input: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b out t2 h2 w2"]:  # noqa: A002
        """Pad time, convolve."""
        return super().forward(F.pad(input, self.around) if any(self.around) else input)


class GroupNorm(nn.GroupNorm):
    """Group norm of clips, with the statistics of the clip or of each frame."""

    def __init__(self, channels: int, *, per_frame: bool, affine: bool = True) -> None:
        # Networks narrower than 32 channels are ours, for tests and small clips.
        super().__init__(math.gcd(GROUPS, channels), channels, eps=EPS, affine=affine)
        self.per_frame = per_frame

    def forward(self, input: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b channels t h w"]:  # noqa: A002
        """Norm."""
        if not self.per_frame:
            return super().forward(input)
        frames = input.transpose(1, 2)
        return super().forward(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).transpose(1, 2)


class ResBlock(nn.Module):
    """Norm, swish, convolution, twice; a 1 x 1 x 1 convolution beside them where the width changes."""

    def __init__(self, form: Form, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = form.group_norm(in_channels)
        self.conv1 = form.conv(in_channels, out_channels, bias=False)
        self.norm2 = form.group_norm(out_channels)
        self.conv2 = form.conv(out_channels, out_channels, bias=False)
        wider = in_channels != out_channels
        self.shortcut = form.conv(in_channels, out_channels, 1, bias=False) if wider else nn.Identity()

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b out t h w"]:
        """Add to the input."""
        inner = self.conv1(F.silu(self.norm1(x)))
        return self.shortcut(x) + self.conv2(F.silu(self.norm2(inner)))


def res_blocks(form: Form, in_channels: int, out_channels: int) -> list[ResBlock]:
    """The blocks of one level."""
    return [ResBlock(form, in_channels if at == 0 else out_channels, out_channels) for at in range(form.depth)]


class Pool(nn.Module):
    """Average over what becomes one position: the downward step of v1."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b channels t2 h2 w2"]:
        """Pool."""
        return F.avg_pool3d(x, self.step)


def down(form: Form, channels: int, step: Step) -> nn.Module:
    """From a level to the next coarser one."""
    return form.conv(channels, channels, step=step) if form.version == 2 else Pool(step)


class Up(nn.Module):
    """From a level to the next finer one, by nearest neighbours and a convolution (v1) or by depth-to-space.

    Depth-to-space takes its channels in the order (time, height, width, channel). In causal networks one frame of the
    first slot is dropped. The paper drops the first; Open-MAGVIT2 keeps the first and drops the second, which differs
    in the channels that the first frame is made of only, and is done here too.
    """

    def __init__(self, form: Form, channels: int, step: Step) -> None:
        super().__init__()
        self.step, self.causal, self.to_depth = step, form.causal, form.version == 2
        self.conv = form.conv(channels, channels * (math.prod(step) if self.to_depth else 1))

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b channels t2 h2 w2"]:
        """Enlarge."""
        time, height, width = self.step
        if not self.to_depth:
            scale = [float(it) for it in self.step]
            return cast(Tensor, self.conv(F.interpolate(x, scale_factor=scale, mode="nearest")))
        deep = self.conv(x)
        x = rearrange(deep, "b (u p q c) t h w -> b c (t u) (h p) (w q)", u=time, p=height, q=width)
        return torch.cat([x[:, :, :1], x[:, :, time:]], 2) if self.causal and time > 1 else x


class AdaptiveNorm(nn.Module):
    """Group norm whose scale and shift are linear in the spread and the mean of the quantized latents.

    Open-MAGVIT2's AdaptiveGroupNorm: variances are unbiased, and over the whole clip; ours are of one frame where the
    norms are.

    Args:
        form: of the network.
        channels: of the level.
        code_dim: width of the codes.
        frames: frames of this level for each slot of the latents.
    """

    def __init__(self, form: Form, channels: int, code_dim: int, frames: int) -> None:
        super().__init__()
        self.norm = GroupNorm(channels, per_frame=form.per_frame, affine=False)
        self.gamma, self.beta = nn.Linear(code_dim, channels), nn.Linear(code_dim, channels)
        self.frames = frames

    def forward(
        self, x: Float[Tensor, "b channels t h w"], codes: Float[Tensor, "b dim slots y x"]
    ) -> Float[Tensor, "b channels t h w"]:
        """Norm, scale and shift."""
        slots = codes.flatten(3) if self.norm.per_frame else codes.flatten(2)[:, :, None]
        # The unbiased variance of one number is not defined.
        variance, mean = torch.var_mean(slots, -1, correction=min(1, slots.shape[-1] - 1))
        scale, shift = self.gamma((variance + EPS).sqrt().mT).mT, self.beta(mean.mT).mT
        if self.norm.per_frame:
            # The slot of the first frame of a causal clip is shorter, at its beginning.
            scale, shift = (it.repeat_interleave(self.frames, 2)[:, :, -x.shape[2] :] for it in (scale, shift))
        return scale[..., None, None] * self.norm(x) + shift[..., None, None]
