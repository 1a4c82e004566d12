"""Tokens as the input of classifiers: what a frozen tokenizer keeps of a clip, as pixels or as code vectors.

Source: Yu et al., "Language Model Beats Diffusion" (MAGVIT-v2, arXiv 2310.05737), Table 4, "token as input":
detokenised pixels are fed to a ViViT (known from a summary of the paper, not read in it). Code vectors as input are
ours.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Grid, as_pool
from backbones.layers import PatchEmbed3d
from backbones.tokenizer import Codes, Tokenizer
from backbones.vit import VIDEOMAE, ViT

Channels = tuple[float, float, float]


class FrozenTokenizer(nn.Module):
    """A tokenizer for normalised clips, outside of all training.

    It follows its module from device to device and is part of neither its parameters nor its state dict.

    Args:
        tokenizer: becomes frozen and is in eval mode from now on.
        mean: of the clips' normalisation, per channel, for pixels in 0-1.
        std: likewise.
    """

    def __init__(self, tokenizer: Tokenizer, mean: Channels, std: Channels) -> None:
        super().__init__()
        # In a dictionary of its own, so that Module does not register it.
        self.outside = {"tokenizer": tokenizer.eval().requires_grad_(False)}
        self.mean, self.std = mean, std

    @property
    def tokenizer(self) -> Tokenizer:
        """The frozen network."""
        return self.outside["tokenizer"]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.tokenizer._apply(fn)
        return super()._apply(fn, recurse)

    @torch.no_grad()
    def codes(self, video: Float[Tensor, "batch 3 frames height width"]) -> Codes:
        """Codes of normalised clips; pixels outside 0-1 are clamped."""
        mean, std = self._constants(video)
        return self.tokenizer.quantize(self.tokenizer.latents((video * std + mean).clamp(0, 1)))

    @torch.no_grad()
    def forward(
        self, video: Float[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch 3 frames height width"]:
        """Normalised clips after quantization and back."""
        mean, std = self._constants(video)
        return (self.tokenizer.reconstruct(self.codes(video).codes).clamp(0, 1) - mean) / std

    def _constants(self, video: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = (video.new_tensor(it).view(3, 1, 1, 1) for it in (self.mean, self.std))
        return mean, std


class DetokenizedInput(Backbone):
    """Any backbone on clips that went through a tokenizer and back.

    Dropped tokens are dropped by the backbone: pixels around them have left their mark on the others' pixels.

    Args:
        tokenizer: becomes frozen; the lengths and sizes of clips must suit it too.
        backbone: what sees the detokenised clips.
        mean: of the clips' normalisation, per channel, for pixels in 0-1.
        std: likewise.
    """

    def __init__(self, tokenizer: Tokenizer, backbone: Backbone, *, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.input = FrozenTokenizer(tokenizer, mean, std)
        self.inner = backbone
        self.embed_dim, self.depth, self.tubelet = backbone.embed_dim, backbone.depth, backbone.tubelet
        self.pool = as_pool(backbone.pool)
        self.drops_tokens, self.needs_tube_masks = backbone.drops_tokens, backbone.needs_tube_masks

    def __getattr__(self, name: str) -> Any:
        # Registered under one name only, so that the state dict has every tensor once.
        return getattr(self.inner, name) if name in ("blocks", "norm") else super().__getattr__(name)

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """See `Backbone.grid`."""
        return self.inner.grid(video)

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """See `Backbone.forward_intermediates`."""
        return self.inner.forward_intermediates(self.input(video), layers, keep, norm=norm)

    def layer_of(self, parameter_name: str) -> int:
        """See `Backbone.layer_of`."""
        return self.inner.layer_of(parameter_name.removeprefix("inner."))

    def no_weight_decay(self) -> set[str]:
        """See `Backbone.no_weight_decay`."""
        return {f"inner.{name}" for name in self.inner.no_weight_decay()}

    def set_grad_checkpointing(self, num_blocks: int) -> None:
        """See `Backbone.set_grad_checkpointing`."""
        self.inner.set_grad_checkpointing(num_blocks)


class CodeEmbed(PatchEmbed3d):
    """Code vectors of a clip to tokens by one linear layer; of LFQ's codes that is a sum of one vector per bit."""

    def __init__(self, tokenizer: Tokenizer, embed_dim: int, mean: Channels, std: Channels) -> None:
        super().__init__(embed_dim, (1, 1, 1), in_chans=tokenizer.code_dim)
        self.input = FrozenTokenizer(tokenizer, mean, std)

    def forward(
        self,
        video: Float[Tensor, "batch channels frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Embed the codes of normalised clips, all or the kept ones."""
        return super().forward(self.input.codes(video).codes.movedim(-1, 1), keep)


class CodeViT(ViT):
    """A vision transformer whose tokens are the codes of a frozen tokenizer.

    It drops no tokens, because codes have seen the pixels of their neighbours.

    Args:
        tokenizer: becomes frozen; clips must suit it.
        mean: of the clips' normalisation, per channel, for pixels in 0-1.
        std: likewise.
        img_size: side of the square clips that the position tables are made for, in pixels.
        num_frames: frames of those clips.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.
        final_norm: norm the tokens; see `ViT`.

    Raises:
        ValueError: when the clip does not suit the tokenizer, or the heads the width.
    """

    drops_tokens = False

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        mean: Channels,
        std: Channels,
        img_size: int,
        num_frames: int,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
    ) -> None:
        grid = tokenizer.grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta"))
        time, side, _ = tokenizer.tubelet
        super().__init__(
            img_size=grid.height * side,
            # A causal tokenizer has one slot more than its frames make tubelets.
            num_frames=grid.time * time,
            patch_size=side,
            tubelet_size=time,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            drop_path_rate=drop_path_rate,
            final_norm=final_norm,
            flavor=VIDEOMAE,
        )
        self.patch_embed = CodeEmbed(tokenizer, embed_dim, mean, std)

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """See `Tokenizer.grid`."""
        return cast(CodeEmbed, self.patch_embed).input.tokenizer.grid(video)

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
        return super().forward_intermediates(video, layers, norm=norm)
