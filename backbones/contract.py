"""The vocabulary of the whole project: Grid, Features, Backbone.

A backbone turns clips into tokens and knows nothing of classifiers, masking policy, mask tokens, weights or
normalisation constants. Everything downstream (heads, objectives, benchmarks) sees backbones through this file only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, cast, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Pool = Literal["mean", "cls", "first"]
POOLS: tuple[str, ...] = get_args(Pool)
STEM_NAMES = ("patch_embed", "pos_embed", "temporal_pos_embed", "cls_token", "cls_pos_embed", "norm_pre")


def as_pool(kind: str) -> Pool:
    """A way to pool by its name.

    Raises:
        ValueError: for an unknown one.
    """
    if kind not in POOLS:
        raise ValueError(f"unknown pooling {kind!r}; choose from 'mean', 'cls', 'first'")
    return cast(Pool, kind)


def clip_sides(video: Tensor) -> torch.Size:
    """Frames, height and width of clips.

    Raises:
        ValueError: for anything but fractions `[B, 3, T, H, W]`.
    """
    if video.ndim != 5 or video.shape[1] != 3:
        raise ValueError(f"clips are [batch, 3, frames, height, width], got {list(video.shape)}")
    if not video.is_floating_point():
        raise ValueError(f"clips are normalised floating point numbers, got {video.dtype}; see zoo.data.transforms")
    return video.shape[2:]


class Grid(NamedTuple):
    """Token counts of a clip. Raster index = (t * height + y) * width + x: time is slowest."""

    time: int
    height: int
    width: int

    @property
    def num_tokens(self) -> int:
        """Number of patch tokens of the whole clip."""
        return self.time * self.height * self.width


class Features(NamedTuple):
    """What a backbone returns; prefix tokens and patch tokens never share an axis.

    Attributes:
        tokens: patch tokens `[B, N, D]`, the kept ones only.
        prefix: class or register tokens `[B, P, D]`; P may be 0.
        grid: grid of the whole clip, also when tokens were dropped.
        keep: raster indices `[B, N]` of `tokens`, ascending, or None for all tokens in raster order.
    """

    tokens: Float[Tensor, "batch tokens dim"]
    prefix: Float[Tensor, "batch prefix dim"]
    grid: Grid
    keep: Int64[Tensor, "batch tokens"] | None

    def pool(self, kind: Pool) -> Float[Tensor, "batch dim"]:
        """One vector per clip: mean of patch tokens, first prefix token, or first patch token.

        Raises:
            ValueError: for "cls" on a backbone without prefix tokens, and for an unknown kind.
        """
        if kind == "mean":
            return self.tokens.mean(1)
        if kind == "first":
            return self.tokens[:, 0]
        as_pool(kind)
        if self.prefix.shape[1] == 0:
            raise ValueError("pooling 'cls' needs a class token, and this backbone has none; choose 'mean'")
        return self.prefix[:, 0]


class Backbone(nn.Module, ABC):
    """Pixels to tokens; the interface that every family implements with its own short block loop.

    Attributes:
        embed_dim: width D of the tokens.
        depth: number of blocks.
        tubelet: pixels per token (frames, height, width).
        pool: how the family's own classifiers summarise the tokens.
        drops_tokens: False for a CNN encoder or an adapter; `keep` other than None then raises ValueError.
        needs_tube_masks: `keep` must hold the same positions in every frame (divided attention).
        blocks: the blocks, in order.
        norm: the final norm, token by token.
    """

    embed_dim: int
    depth: int
    tubelet: tuple[int, int, int]
    pool: Pool
    drops_tokens: bool = True
    needs_tube_masks: bool = False
    blocks: nn.ModuleList
    norm: nn.Module
    checkpointed_blocks: int = 0

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """Token counts of a clip.

        Raises:
            ValueError: when a side of the clip is not a multiple of the tubelet, or it is no clip.
        """
        sides = clip_sides(video)
        if any(side < size or side % size for side, size in zip(sides, self.tubelet, strict=True)):
            raise ValueError(
                f"a clip of {sides[0]} frames of {sides[1]} x {sides[2]} px cannot be cut into tubelets of "
                f"{self.tubelet[0]} frames of {self.tubelet[1]} x {self.tubelet[2]} px; every side must be a multiple"
            )
        return Grid(*(side // size for side, size in zip(sides, self.tubelet, strict=True)))

    @abstractmethod
    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """Features after the named blocks, in the order asked for.

        Args:
            video: normalised clips.
            layers: block indices; negative ones count from the end.
            keep: raster indices of the visible tokens, ascending; dropped tokens are never computed.
            norm: pass the result through the final norm.

        Raises:
            ValueError: for a layer that does not exist.
        """

    def forward_features(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch tokens"] | None = None,
    ) -> Features:
        """Features after the last block and the final norm."""
        return self.forward_intermediates(video, [self.depth - 1], keep)[0]

    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Float[Tensor, "batch dim"]:
        """One vector per clip."""
        return self.forward_features(video).pool(self.pool)

    def layer_of(self, parameter_name: str) -> int:
        """Depth of a parameter for layer decay: 0 stem, 1..depth the blocks, depth + 1 what comes after.

        Raises:
            ValueError: for a name that belongs to no part of the backbone.
        """
        top, _, rest = parameter_name.partition(".")
        if top in STEM_NAMES:
            return 0
        if top == "blocks":
            return int(rest.split(".", 1)[0]) + 1
        if top == "norm":
            return self.depth + 1
        raise ValueError(f"{type(self).__name__} has no layer for parameter {parameter_name!r}")

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that must not decay although they are matrices (tables and tokens)."""
        return {name for name, _ in self.named_parameters() if name.partition(".")[0] in STEM_NAMES[1:]}

    def set_grad_checkpointing(self, num_blocks: int) -> None:
        """Recompute the first `num_blocks` blocks in backward instead of storing their activations; 0 turns it off."""
        self.checkpointed_blocks = min(num_blocks, self.depth)

    def run_block(self, index: int, *inputs: Any) -> Any:
        """Call block `index`, under gradient checkpointing where that was asked for."""
        block: Callable[..., Any] = self.blocks[index]
        if index < self.checkpointed_blocks and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)

    def refuse(self, keep: Tensor | None) -> None:
        """For backbones that cannot drop tokens.

        Raises:
            ValueError: for a `keep` other than None.
        """
        if keep is not None:
            raise ValueError(f"{type(self).__name__} computes every token and cannot drop any; keep must be None")

    def resolve_layers(self, layers: Sequence[int]) -> list[int]:
        """Non-negative block indices.

        Raises:
            ValueError: for a layer that does not exist.
        """
        if wrong := [layer for layer in layers if not -self.depth <= layer < self.depth]:
            raise ValueError(f"no such blocks: {wrong}; this backbone has {self.depth} (0 to {self.depth - 1})")
        return [layer % self.depth for layer in layers]
