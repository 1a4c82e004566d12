"""3-D CNN tokenizers of the MAGVIT family: Open-MAGVIT2 as released, a causal MAGVIT-v2, and MAGVIT's for LVMAE.

Sources: Yu et al., "MAGVIT" (arXiv 2212.05199) and google-research/magvit; Yu et al., "Language Model Beats Diffusion"
(MAGVIT-v2, arXiv 2310.05737); Luo et al., "Open-MAGVIT2" (arXiv 2409.04410) and TencentARC/SEED-Voken; "Extending Video
Masked Autoencoders to 128 frames" (LVMAE, arXiv 2411.13683). Google released no weights of any of them.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from backbones.contract import Backbone, Features, Grid, clip_sides
from backbones.importance import AdaptiveTokenizer, ImportanceScorer
from backbones.magvit_layers import AdaptiveNorm, Form, Step, Up, down, res_blocks
from backbones.quantizers import FSQ, LFQ, Quantizer
from backbones.tokenizer import Codes, Tokenizer


class Level(nn.Module):
    """Residual blocks at one resolution, and the step to the next coarser one."""

    def __init__(self, form: Form, in_channels: int, out_channels: int, step: Step) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*res_blocks(form, in_channels, out_channels))
        self.down = down(form, out_channels, step)

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b out t2 h2 w2"]:
        """Blocks, step."""
        return self.down(self.blocks(x))


class Stem(nn.Module):
    """Pixels to the resolution of the latents: every level but the last."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.proj = form.conv(3, form.channels, bias=False)
        widths = (form.channels, *form.widths)
        self.levels = nn.ModuleList(Level(form, widths[at], widths[at + 1], step) for at, step in enumerate(form.steps))

    def forward(
        self, video: Float[Tensor, "b 3 frames height width"], *, recompute: bool = False
    ) -> Float[Tensor, "b channels t h w"]:
        """Embed; with `recompute` the levels store nothing for the backward pass."""
        x = self.proj(video)
        for level in self.levels:
            x = checkpoint(level, x, use_reentrant=False) if recompute and torch.is_grad_enabled() else level(x)
        return x


class MagvitEncoder(Backbone):
    """The encoder in front of its final norm: a CNN that ends in as many tokens as the tokenizer has codes.

    Its stem is the pyramid down to the latents' resolution. Its blocks are those of the last level and of the middle,
    which all have the width of the tokens. There is no norm by token. Under gradient checkpointing of any block the
    levels of the stem are recomputed too, because they hold most of the memory.

    Args:
        form: what it is made of.
    """

    drops_tokens = False

    def __init__(self, form: Form) -> None:
        super().__init__()
        widths = form.widths
        self.form = form
        self.tubelet, self.pool = form.tubelet, "mean"
        self.embed_dim, self.depth = widths[-1], 2 * form.depth
        self.patch_embed = Stem(form)
        before = (form.channels, *widths)[-2]
        self.blocks = nn.ModuleList(res_blocks(form, before, widths[-1]) + res_blocks(form, widths[-1], widths[-1]))
        self.norm = nn.Identity()

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """See `Backbone.grid`; a causal network has one slot for the first frame alone.

        Raises:
            ValueError: for a clip that cannot be cut into tubelets, or is no clip.
        """
        if not self.form.causal or self.tubelet[0] == 1:
            return super().grid(video)
        frames, *sides = clip_sides(video)
        time, *sizes = self.tubelet
        if frames % time != 1 or any(side < size or side % size for side, size in zip(sides, sizes, strict=True)):
            raise ValueError(
                f"a clip of {frames} frames of {sides[0]} x {sides[1]} px cannot be cut into 1 frame and tubelets of "
                f"{time} frames of {sizes[0]} x {sizes[1]} px; a causal network takes 1, {1 + time}, {1 + 2 * time}, "
                f"... frames, and sides that are multiples"
            )
        return Grid(1 + frames // time, sides[0] // sizes[0], sides[1] // sizes[1])

    def features(
        self, video: Float[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch channels time rows columns"]:
        """Output of the last block as a map."""
        return self._run(video, [self.depth - 1])[self.depth - 1]

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """See `Backbone.forward_intermediates`.

        Raises:
            ValueError: also for any `keep`.
        """
        self.refuse(keep)
        wanted, grid = self.resolve_layers(layers), self.grid(video)
        found = self._run(video, wanted)
        tokens = {index: it.flatten(2).mT for index, it in found.items()}
        prefix = video.new_zeros(video.shape[0], 0, self.embed_dim)
        return [Features(self.norm(tokens[it]) if norm else tokens[it], prefix, grid, None) for it in wanted]

    def _run(self, video: Tensor, wanted: Sequence[int]) -> dict[int, Tensor]:
        """Maps after the wanted blocks."""
        x = self.patch_embed(video, recompute=self.checkpointed_blocks > 0)
        found = {}
        for index in range(max(wanted, default=-1) + 1):
            x = self.run_block(index, x)
            if index in wanted:
                found[index] = x
        return found


class LatentHead(nn.Module):
    """Features of the encoder to latents: norm, swish, 1 x 1 x 1 convolution."""

    def __init__(self, form: Form, code_dim: int) -> None:
        super().__init__()
        self.norm = form.group_norm(form.widths[-1])
        self.proj = form.conv(form.widths[-1], code_dim, 1)

    def forward(self, x: Float[Tensor, "b channels t h w"]) -> Float[Tensor, "b dim t h w"]:
        """Project."""
        return self.proj(F.silu(self.norm(x)))


class DecoderLevel(nn.Module):
    """An adaptive norm (version 2), residual blocks, and the step to the next finer level."""

    def __init__(self, form: Form, at: int, code_dim: int) -> None:
        super().__init__()
        widths = (*form.widths, form.widths[-1])
        frames = math.prod(form.time_strides[at:])
        self.adapt = AdaptiveNorm(form, widths[at + 1], code_dim, frames) if form.version == 2 else None
        self.blocks = nn.Sequential(*res_blocks(form, widths[at + 1], widths[at]))
        self.up = Up(form, widths[at], form.steps[at - 1]) if at else nn.Identity()

    def forward(
        self, x: Float[Tensor, "b channels t h w"], codes: Float[Tensor, "b dim slots y x"]
    ) -> Float[Tensor, "b out t2 h2 w2"]:
        """Adapt, blocks, step."""
        x = x if self.adapt is None else self.adapt(x, codes)
        return self.up(self.blocks(x))


class MagvitDecoder(nn.Module):
    """Codes to pixels: the encoder backwards, its levels from coarse to fine.

    Args:
        form: what it is made of.
        code_dim: width of the codes.

    Attributes:
        recompute: store nothing within levels for the backward pass.
    """

    def __init__(self, form: Form, code_dim: int) -> None:
        super().__init__()
        width = form.widths[-1]
        self.recompute = False
        self.proj = form.conv(code_dim, width)
        self.middle = nn.Sequential(*res_blocks(form, width, width))
        self.levels = nn.ModuleList(DecoderLevel(form, at, code_dim) for at in reversed(range(len(form.widths))))
        self.norm = form.group_norm(form.widths[0])
        self.out = form.conv(form.widths[0], 3)

    def forward(self, codes: Float[Tensor, "b dim t h w"]) -> Float[Tensor, "b 3 frames height width"]:
        """Decode."""
        x = self.middle(self.proj(codes))
        for level in self.levels:
            again = self.recompute and torch.is_grad_enabled()
            x = checkpoint(level, x, codes, use_reentrant=False) if again else level(x, codes)
        return self.out(F.silu(self.norm(x)))


class Magvit(Tokenizer):
    """A tokenizer of the family; its networks see pixels in [-1, 1] (Open-MAGVIT2: mean and std 0.5).

    Args:
        form: what encoder and decoder are made of.
        quantizer: what rounds the latents.
        embed_dim: width of the learned up-projection of codes; None for none.

    Attributes:
        backbone: the encoder in front of its final norm.
        latent: from there to the latents.
        widen: the up-projection.
        decoder: codes to pixels.
    """

    def __init__(self, form: Form, quantizer: Quantizer, embed_dim: int | None = None) -> None:
        super().__init__()
        self.form, self.quantizer = form, quantizer
        self.code_dim, self.codebook_size, self.levels = quantizer.dim, quantizer.codebook_size, quantizer.levels
        self.tubelet, self.causal = form.tubelet, form.causal
        self.backbone = MagvitEncoder(form)
        self.latent = LatentHead(form, quantizer.dim)
        self.widen = None if embed_dim is None else nn.Linear(quantizer.dim, embed_dim)
        self.decoder = MagvitDecoder(form, embed_dim or quantizer.dim)

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """See `Tokenizer.grid`."""
        return self.backbone.grid(video)

    def latents(self, video: Float[Tensor, "batch 3 frames height width"]) -> Float[Tensor, "batch t h w dim"]:
        """See `Tokenizer.latents`.

        Raises:
            ValueError: for a clip that cannot be cut into tubelets.
        """
        self.grid(video)
        return self.latent(self.backbone.features(2 * video - 1)).movedim(1, -1)

    def quantize(self, latents: Float[Tensor, "batch t h w dim"]) -> Codes:
        """See `Tokenizer.quantize`."""
        found = self.quantizer(latents)
        return Codes(found.indices, found.codes, latents, found.auxiliary)

    def reconstruct(self, codes: Float[Tensor, "batch t h w dim"]) -> Float[Tensor, "batch 3 frames height width"]:
        """See `Tokenizer.reconstruct`."""
        given = codes if self.widen is None else self.widen(codes)
        return (self.decoder(given.movedim(-1, 1)) + 1) / 2

    def up_project(self, codes: Float[Tensor, "batch t h w dim"]) -> Float[Tensor, "batch t h w width"]:
        """See `Tokenizer.up_project`; LVMAE's paper lists an "embedding dimension", whose size could not be read.

        Raises:
            ValueError: for a tokenizer made without `embed_dim`.
        """
        return super().up_project(codes) if self.widen is None else self.widen(codes)

    def embed(self, indices: Int64[Tensor, "batch t h w"]) -> Float[Tensor, "batch t h w dim"]:
        """See `Tokenizer.embed`."""
        return self.quantizer.embed(indices)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute encoder and decoder level by level in the backward pass instead of storing activations."""
        self.backbone.set_grad_checkpointing(self.backbone.depth if enable else 0)
        self.decoder.recompute = enable


@torch.no_grad()
def inflate(video: Magvit, image: Magvit) -> None:
    """Start a video tokenizer from an image tokenizer of the same form.

    An image kernel becomes one slice of the video kernel, the others are zero: the last slice of a causal one, which
    sees the present (Open-MAGVIT2's code says so), else the central one (MAGVIT's "central inflation"). Steps that
    make two frames of one repeat their kernels for both (Open-MAGVIT2). Then every frame is treated as a still.

    Raises:
        ValueError: naming the first tensor that has no counterpart; nothing is copied then.
    """
    theirs, filled = image.state_dict(), {}
    for name, own in video.state_dict().items():
        given = theirs.get(name)
        if given is not None and given.ndim == 5 and own.ndim == 5 and given.shape[2] == 1:
            whole = own.new_zeros(len(given), *own.shape[1:])
            if given.shape[1] == own.shape[1] and given.shape[3:] == own.shape[3:]:
                whole[:, :, -1 if video.form.causal else own.shape[2] // 2] = given[:, :, 0]
                given = whole
        if given is not None and ".up." in name and len(own) == 2 * len(given):
            given = torch.cat([given, given])
        if given is None or given.shape != own.shape:
            shape = "is not there" if given is None else f"is {list(given.shape)}"
            raise ValueError(
                f"{name!r} of the video tokenizer is {list(own.shape)}, and in the image tokenizer {shape}"
            )
        filled[name] = given
    video.load_state_dict(filled)


def magvit_encoder(
    *,
    img_size: int = 128,
    num_frames: int = 17,
    channels: int = 128,
    multipliers: tuple[int, ...] = (1, 2, 2, 4),
    depth: int = 4,
    time_strides: tuple[int, ...] = (1, 2, 2),
    causal: bool = True,
    norm: str = "group_per_frame",
    version: int = 2,
) -> MagvitEncoder:
    """The encoder of a tokenizer as a backbone, for clips in [-1, 1].

    Args:
        img_size: side of the clips it was made for, in pixels; any multiple of the tubelet runs.
        num_frames: frames of those clips; others run too.
        channels: see `Form`; so are the others.
        multipliers: width of each level.
        depth: residual blocks per level.
        time_strides: of the steps between levels.
        causal: see the past only.
        norm: "group_per_frame" or "group".
        version: 1 or 2.

    Raises:
        ValueError: for what makes no network, and a clip that the network cannot take.
    """
    form = Form(
        channels=channels,
        multipliers=multipliers,
        depth=depth,
        time_strides=time_strides,
        causal=causal,
        norm=norm,
        version=version,
    )
    encoder = MagvitEncoder(form)
    encoder.grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta"))
    return encoder


def magvit(
    *,
    levels: int | tuple[int, ...] = 18,
    embed_dim: int | None = None,
    channels: int = 128,
    multipliers: tuple[int, ...] = (1, 2, 2, 4),
    depth: int = 4,
    time_strides: tuple[int, ...] = (1, 2, 2),
    causal: bool = True,
    norm: str = "group_per_frame",
    version: int = 2,
    keep_tokens: int | None = None,
) -> Magvit | AdaptiveTokenizer:
    """A tokenizer.

    Args:
        levels: of each dimension in finite scalar quantization; a whole number instead is the bits of a code in
            lookup-free quantization.
        embed_dim: width that a learned up-projection gives the codes in front of the decoder; None for none.
        channels: see `Form`; so are the others.
        multipliers: width of each level.
        depth: residual blocks per level.
        time_strides: of the steps between levels.
        causal: see the past only.
        norm: "group_per_frame" or "group".
        version: 1 or 2.
        keep_tokens: learn which codes matter, from as many of a clip in training; None for a tokenizer without scorer.

    Raises:
        ValueError: for what makes no network.
    """
    form = Form(
        channels=channels,
        multipliers=multipliers,
        depth=depth,
        time_strides=time_strides,
        causal=causal,
        norm=norm,
        version=version,
    )
    made = Magvit(form, LFQ(levels) if isinstance(levels, int) else FSQ(levels), embed_dim)
    if keep_tokens is None:
        return made
    return AdaptiveTokenizer(made, ImportanceScorer(made.tubelet, causal=causal), keep_tokens=keep_tokens)


# Open-MAGVIT2's configurations. An image network's norms are of one frame in any case: its clips are stills.
_VIDEO: dict[str, Any] = {"norm": "group"}
_IMAGE_8: dict[str, Any] = {"time_strides": (1, 1, 1)}
_IMAGE_16: dict[str, Any] = {"multipliers": (1, 1, 2, 2, 4), "time_strides": (1, 1, 1, 1)}
# LVMAE's latents are halved in time and 1/16 in space, as 16 x 224 x 224 px become 8 x 14 x 14 tokens. Its table of
# sizes was not recoverable: multipliers, late stride in time and 2 blocks (MAGVIT's) are our inference (spec, A.6).
_LVMAE: dict[str, Any] = {
    "multipliers": (1, 1, 2, 2, 4),
    "depth": 2,
    "time_strides": (1, 1, 1, 2),
    "causal": False,
    "version": 1,
}
# For the embedded clips of 16 x 24 x 24: tokens of 2 frames of 8 x 8 px.
_TINY: dict[str, Any] = {**_LVMAE, "channels": 16, "multipliers": (1, 1, 2, 2), "depth": 1, "time_strides": (1, 1, 2)}
_FSQ_18 = (8,) * 6  # 2^18 codes, the size that LVMAE chose; the levels are our inference (spec, A.6)

open_magvit2_video_128 = partial(magvit, **_VIDEO)
open_magvit2_video_128_encoder = partial(magvit_encoder, **_VIDEO)
open_magvit2_image_128 = partial(magvit, **_IMAGE_8)
open_magvit2_image_128_encoder = partial(magvit_encoder, num_frames=1, **_IMAGE_8)
open_magvit2_image_256 = partial(magvit, **_IMAGE_16)
open_magvit2_image_256_encoder = partial(magvit_encoder, num_frames=1, img_size=256, **_IMAGE_16)
open_magvit2_pretrain_262144 = open_magvit2_image_256
open_magvit2_pretrain_262144_encoder = open_magvit2_image_256_encoder
open_magvit2_pretrain_16384 = partial(magvit, levels=14, **_IMAGE_16)
open_magvit2_pretrain_16384_encoder = open_magvit2_image_256_encoder
magvit2_causal = magvit
magvit2_causal_encoder = magvit_encoder
lvmae_tokenizer_base = partial(magvit, levels=_FSQ_18, **_LVMAE)
lvmae_tokenizer_base_encoder = partial(magvit_encoder, num_frames=16, img_size=224, **_LVMAE)
lvmae_tokenizer_small = partial(magvit, levels=_FSQ_18, channels=64, **_LVMAE)
lvmae_tokenizer_small_encoder = partial(magvit_encoder, num_frames=16, img_size=224, channels=64, **_LVMAE)
lvmae_tokenizer_tiny = partial(magvit, levels=_FSQ_18, **_TINY)
lvmae_tokenizer_tiny_encoder = partial(magvit_encoder, num_frames=16, img_size=24, **_TINY)
