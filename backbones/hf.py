"""Video and image networks of transformers as video backbones, from modules that somebody else has built.

Their blocks are used as they are; stem and tables get our names. `backbones.frozen` builds the modules, this file does
not import transformers. All tokens are computed: none of these can drop any.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Grid, Pool
from backbones.positions import register_positions, resize_grid_table, resize_spatial_table
from backbones.teacher import as_frames


class Anatomy(NamedTuple):
    """Where a network of transformers keeps its parts, and how it sees a clip.

    Attributes:
        blocks: path of the blocks.
        conv: path of the convolution that cuts patches or tubelets.
        norm: path of the final norm.
        pool: how its own classifiers summarise the tokens.
        summary: path of the class token; empty for none.
        table: path of the position table, class token's row first; "sincos" for VideoMAE's fixed one; empty for none.
        time_table: path of the table over frames.
        sees: "clips" whole, "frames" one by one, or "divided": whole, its tokens ordered by place and then time.
        fixed: which sides of a clip its blocks are bound to: "none", the pictures' "size", or "all".
    """

    blocks: str
    conv: str
    norm: str
    pool: Pool
    summary: str = ""
    table: str = ""
    time_table: str = ""
    sees: Literal["clips", "frames", "divided"] = "clips"
    fixed: Literal["none", "size", "all"] = "none"


# By `config.model_type` of transformers.
ANATOMIES = {
    "vjepa2": Anatomy(
        blocks="encoder.layer",
        conv="encoder.embeddings.patch_embeddings.proj",
        norm="encoder.layernorm",
        pool="mean",
        fixed="size",  # the rotary positions of its attention count columns by the configured size
    ),
    "timesformer": Anatomy(
        blocks="encoder.layer",
        conv="embeddings.patch_embeddings.projection",
        norm="layernorm",
        pool="cls",
        summary="embeddings.cls_token",
        table="embeddings.position_embeddings",
        time_table="embeddings.time_embeddings",
        sees="divided",
        fixed="all",  # its blocks take the token axis apart by the configured frames and columns
    ),
    "vivit": Anatomy(
        blocks="layers",
        conv="embeddings.patch_embeddings.projection",
        norm="layernorm",
        pool="cls",
        summary="embeddings.cls_token",
        table="embeddings.position_embeddings",
    ),
    "dinov2": Anatomy(
        blocks="encoder.layer",
        conv="embeddings.patch_embeddings.projection",
        norm="layernorm",
        pool="mean",
        summary="embeddings.cls_token",
        table="embeddings.position_embeddings",
        sees="frames",
    ),
    "videomae": Anatomy(
        blocks="encoder.layer",
        conv="embeddings.patch_embeddings.projection",
        norm="layernorm",
        pool="mean",
        table="sincos",
    ),
}


def native_clip(config: Any) -> tuple[int, int]:
    """Frames and side in pixels of the clips that a configuration is for; an image network takes 8 frames.

    Raises:
        ValueError: for a network made for pictures that are not square.
    """
    side = getattr(config, "crop_size", None) or config.image_size
    if not isinstance(side, int):
        if len(set(side)) != 1:
            raise ValueError(f"pictures of {side} px: the zoo's clips are square")
        side = next(iter(side))
    frames = getattr(config, "frames_per_clip", None) or getattr(config, "num_frames", None) or 8
    return int(frames), int(side)


class HfBackbone(Backbone):
    """A network of transformers behind the contract: V-JEPA 2, TimeSformer, ViViT, VideoMAE; DINOv2 on every frame.

    Features are `last_hidden_state`, patch tokens in raster order. Networks of frames give the class token's mean over
    frames as their prefix. The zoo's own `videomae_*` are faster than transformers' VideoMAE, and drop tokens; its
    table is interpolated for clips of another size, which transformers does not. `ClipBackbone` is the adapter of CLIP.

    Args:
        model: the module of transformers.

    Raises:
        ValueError: for a kind of network that is not in `ANATOMIES`.
    """

    drops_tokens = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        whole: Any = model
        config, kind = whole.config, whole.config.model_type
        if kind not in ANATOMIES:
            raise ValueError(f"no adapter for {kind!r} of transformers; there are {', '.join(sorted(ANATOMIES))}")
        self.anatomy = anatomy = ANATOMIES[kind]
        self.pool = anatomy.pool
        # Before transformers 5, ViViT's blocks lay in an encoder.
        self.blocks = (
            _at(whole, anatomy.blocks) if hasattr(whole, anatomy.blocks.split(".")[0]) else whole.encoder.layer
        )
        # With mean pooling, VideoMAE's final norm belongs to the classifier.
        self.norm = _at(whole, anatomy.norm) or nn.Identity()
        self.embed_dim, self.depth = config.hidden_size, len(self.blocks)
        conv: Any = _at(whole, anatomy.conv)
        self.patch_embed = nn.ModuleDict({"proj": conv})
        self.tubelet = (*(1,) * (3 - len(conv.kernel_size)), *conv.kernel_size)
        self.native = native_clip(config)
        frames, side = self.native
        rows = side // self.tubelet[1]
        self.table_grid = Grid(frames // self.tubelet[0] if anatomy.sees == "clips" else 1, rows, rows)
        self.cls_token = _at(whole, anatomy.summary) if anatomy.summary else None
        if anatomy.table == "sincos":
            register_positions(self, "sincos", self.table_grid, self.embed_dim)
            return
        self.pos_embed, self.temporal_pos_embed = (
            _at(whole, path) if path else None for path in (anatomy.table, anatomy.time_table)
        )

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """See `Backbone.grid`.

        Raises:
            ValueError: also for clips of another size or length than the network's blocks are bound to.
        """
        found = super().grid(video)
        frames, side = self.native
        wrong_size = self.anatomy.fixed != "none" and tuple(video.shape[3:]) != (side, side)
        if wrong_size or (self.anatomy.fixed == "all" and video.shape[2] != frames):
            length = f"{frames} frames" if self.anatomy.fixed == "all" else "any number of frames"
            raise ValueError(
                f"this network is bound to clips of {length} of {side} x {side} px, got {video.shape[2]} frames of "
                f"{video.shape[3]} x {video.shape[4]} px"
            )
        return found

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
        x = self._embed(video, grid)
        found = {}
        for index in range(max(wanted, default=-1) + 1):
            out = self.run_block(index, x)
            # Blocks returned tuples before transformers 5.
            x = out[0] if isinstance(out, tuple) else out
            if index in wanted:
                found[index] = self._features(self.norm(x) if norm else x, video.shape[0], grid)
        return [found[index] for index in wanted]

    def _embed(
        self, video: Float[Tensor, "batch 3 frames height width"], grid: Grid
    ) -> Float[Tensor, "sequences sequence dim"]:
        """Class token and patches with their positions, in the network's own order."""
        flat = self.patch_embed["proj"].weight.ndim == 4
        pixels = as_frames(video, (video.shape[3], video.shape[4])) if flat else video
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)
        if self.pos_embed is None:
            return patches
        num_prefix = int(self.cls_token is not None)
        cls_row, table = self.pos_embed.reshape(1, -1, self.embed_dim).split(
            [num_prefix, self.table_grid.num_tokens], 1
        )
        patches = patches + self._table(table, grid)
        if self.cls_token is None:
            return patches
        cls = self.cls_token.reshape(1, 1, -1) + cls_row
        if self.temporal_pos_embed is not None:
            patches = patches.unflatten(0, (video.shape[0], -1)) + self.temporal_pos_embed[:, :, None]
            patches = patches.transpose(1, 2).flatten(1, 2)
        elif self.anatomy.sees == "divided":
            raise ValueError("a TimeSformer of single frames is not supported: it has no table over frames")
        return torch.cat([cls.expand(patches.shape[0], -1, -1), patches], 1)

    def _table(self, table: Float[Tensor, "1 old dim"], grid: Grid) -> Float[Tensor, "1 new dim"]:
        """The position table at the size of a clip."""
        if self.anatomy.sees == "clips":
            return resize_grid_table(table, self.table_grid, grid)
        return resize_spatial_table(table, self.table_grid[1:], grid[1:])

    def _features(self, x: Float[Tensor, "sequences sequence dim"], clips: int, grid: Grid) -> Features:
        """Tokens in raster order, and what stands before them."""
        num_prefix = int(self.cls_token is not None)
        prefix, tokens = x.split([num_prefix, x.shape[1] - num_prefix], 1)
        if self.anatomy.sees == "frames":
            prefix = prefix.unflatten(0, (clips, -1)).mean(1)
            tokens = tokens.unflatten(0, (clips, -1)).flatten(1, 2)
        elif self.anatomy.sees == "divided":
            tokens = tokens.unflatten(1, (-1, grid.time)).transpose(1, 2).flatten(1, 2)
        return Features(tokens, prefix, grid, None)


def _at(module: nn.Module, path: str) -> Any:
    """The module or parameter at a dotted path."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name)
    return found
