"""TimeSformer with divided or joint space-time attention: the baseline that the papers compare with.

Source: Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?" (ICML 2021) and
facebookresearch/TimeSformer. "TimeSformer-Ti" of the VideoMamba paper's Figure 1 is DeiT-Ti with joint attention.
"""

from collections.abc import Sequence
from functools import partial

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from timm.layers import DropPath, Mlp, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Features, Grid
from backbones.layers import Attention, PatchEmbed3d, init_linear, start_stem
from backbones.tokens import take


class SpaceTimeBlock(nn.Module):
    """One block. Divided: over time at one position, then over space in one frame; joint: over all tokens at once.

    Args:
        dim: width of the tokens.
        num_heads: number of heads.
        attention: "divided" or "joint".
        mlp_ratio: hidden width of the MLP over `dim`.
        drop_path: probability of dropping a branch.
    """

    def __init__(self, dim: int, num_heads: int, *, attention: str, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.divided = attention == "divided"
        if self.divided:
            self.temporal_norm = nn.LayerNorm(dim, eps=1e-6)
            self.temporal_attn = Attention(dim, num_heads, qkv_bias="qkv")
            self.temporal_fc = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, qkv_bias="qkv")
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], cls: Float[Tensor, "batch 1 dim"], time: int
    ) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch 1 dim"]]:
        """Transform the patch tokens, raster order over `time` slices, and the class token."""
        if self.divided:
            tokens = tokens + self._over_time(tokens, time)
        token_update, cls_update = self._over_space(tokens, cls, time if self.divided else 1)
        tokens, cls = tokens + token_update, cls + cls_update
        x = torch.cat([cls, tokens], 1)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        cls, tokens = x.split([1, tokens.shape[1]], 1)
        return tokens, cls

    def _over_time(self, tokens: Tensor, time: int) -> Tensor:
        x = rearrange(tokens, "b (t n) d -> (b n) t d", t=time)
        x = self.temporal_fc(self.drop_path(self.temporal_attn(self.temporal_norm(x))))
        return rearrange(x, "(b n) t d -> b (t n) d", b=tokens.shape[0])

    def _over_space(self, tokens: Tensor, cls: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        """Attention inside each of `groups` slices; every slice sees the class token, whose updates are averaged."""
        x = torch.cat(
            [repeat(cls, "b 1 d -> (b g) 1 d", g=groups), rearrange(tokens, "b (g n) d -> (b g) n d", g=groups)], 1
        )
        x = self.drop_path(self.attn(self.norm1(x)))
        cls, tokens = x.split([1, x.shape[1] - 1], 1)
        cls = rearrange(cls, "(b g) 1 d -> b g 1 d", g=groups).mean(1)
        return rearrange(tokens, "(b g) n d -> b (g n) d", g=groups), cls


class TimeSformer(Backbone):
    """TimeSformer trunk with a class token and learned tables for space and for time.

    Clips of another grid or length than the tables use them resized by nearest neighbour, as the authors do.

    Args:
        img_size: side (px) of the clips that the spatial table is made for.
        num_frames: frames of the clips that the temporal table is made for.
        patch_size: side (px) of a token.
        tubelet_size: frames of a token; 1 in every published model.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        mlp_ratio: hidden width of the MLPs over `embed_dim`.
        attention: "divided" or "joint".
        drop_path_rate: drop path of the last block; grows linearly from 0.
        init: "authors": linear layers of standard deviation 0.02, which suits a width of 768, no positions in time and
            no temporal branch at first, to go on from image weights. "scratch", for short training of small models:
            xavier-uniform layers and stem, sines and cosines for time.

    Raises:
        ValueError: for an unknown attention or init, and when the tubelet does not divide the clip.
    """

    def __init__(
        self,
        *,
        img_size: int = 224,
        num_frames: int = 8,
        patch_size: int = 16,
        tubelet_size: int = 1,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        attention: str = "divided",
        drop_path_rate: float = 0.0,
        init: str = "authors",
    ) -> None:
        super().__init__()
        if init not in ("authors", "scratch"):
            raise ValueError(f"unknown init {init!r}; choose 'authors' or 'scratch'")
        if attention not in ("divided", "joint"):
            raise ValueError(f"unknown attention {attention!r}; choose 'divided' or 'joint'")
        if img_size % patch_size or num_frames % tubelet_size:
            raise ValueError(
                f"clips of {num_frames} frames of {img_size} px cannot be cut into tubelets of {tubelet_size} frames "
                f"of {patch_size} px"
            )
        self.embed_dim, self.depth, self.pool, self.attention = embed_dim, depth, "cls", attention
        self.needs_tube_masks = attention == "divided"
        self.tubelet = (tubelet_size, patch_size, patch_size)
        self.native_grid = Grid(num_frames // tubelet_size, img_size // patch_size, img_size // patch_size)
        self.patch_embed = PatchEmbed3d(embed_dim, self.tubelet)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.native_grid.height * self.native_grid.width, embed_dim))
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, self.native_grid.time, embed_dim))
        rates = [drop_path_rate * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(
            SpaceTimeBlock(embed_dim, num_heads, attention=attention, mlp_ratio=mlp_ratio, drop_path=rate)
            for rate in rates
        )
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self._initialise(init)

    def _initialise(self, init: str) -> None:
        """The authors' temporal branch starts as zero in every block but the first."""
        for table in (self.cls_token, self.cls_pos_embed, self.pos_embed):
            trunc_normal_(table, std=0.02)
        if init == "scratch":
            self.apply(init_linear)
            start_stem(self.patch_embed, self.temporal_pos_embed)
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        if self.attention == "divided":
            for block in self.blocks[1:]:
                nn.init.zeros_(block.get_parameter("temporal_fc.weight"))

    def _positions(self, grid: Grid) -> Float[Tensor, "1 tokens dim"]:
        """Sum of the spatial and the temporal table for every token of `grid`."""
        space: Tensor = self.pos_embed
        time: Tensor = self.temporal_pos_embed
        # Spelt out, because torch.compile of torch 2.6 cannot slice a Grid.
        height, width = grid.height, grid.width
        if (height, width) != (self.native_grid.height, self.native_grid.width):
            image = rearrange(space, "1 (h w) d -> 1 d h w", h=self.native_grid.height)
            space = F.interpolate(image, size=(height, width), mode="nearest").flatten(2).transpose(1, 2)
        if grid.time != self.native_grid.time:
            time = F.interpolate(time.transpose(1, 2), size=grid.time, mode="nearest").transpose(1, 2)
        return rearrange(space[:, None] + time[:, :, None], "1 t n d -> 1 (t n) d")

    def _check_keep(self, keep: Int64[Tensor, "batch kept"], grid: Grid) -> None:
        """Divided attention runs along time at one position, so every frame must keep the same positions."""
        if not self.needs_tube_masks or torch.compiler.is_compiling():
            return
        area = grid.height * grid.width
        frames = torch.arange(grid.time, device=keep.device)[:, None] * area
        per_frame = keep.unflatten(1, (grid.time, -1)) - frames if keep.shape[1] % grid.time == 0 else None
        if per_frame is None or not (per_frame == per_frame[:, :1]).all() or (per_frame >= area).any():
            raise ValueError(
                "divided attention needs the same positions kept in every frame (a tube mask); "
                "use a tube mask, or TimeSformer with attention='joint'"
            )

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
            ValueError: for a layer that does not exist, a clip that cannot be cut into tubelets, and, with divided
                attention, for a `keep` that differs between frames.
        """
        wanted, grid = self.resolve_layers(layers), self.grid(video)
        if keep is not None:
            self._check_keep(keep, grid)
        tokens = self.patch_embed(video, keep) + take(self._positions(grid), keep)
        cls = (self.cls_token + self.cls_pos_embed).expand(tokens.shape[0], -1, -1)
        found: dict[int, Features] = {}
        for index in range(max(wanted) + 1):
            tokens, cls = self.run_block(index, tokens, cls, grid.time)
            if index in wanted:
                out = (self.norm(tokens), self.norm(cls)) if norm else (tokens, cls)
                found[index] = Features(*out, grid, keep)
        return [found[index] for index in wanted]


# The paper's Table 1: ViT-B/16 on 8 frames of 224 px. TimeSformer-HR is img_size=448, num_frames=16; TimeSformer-L is
# num_frames=96 (configs/Kinetics of the authors' repository).
timesformer_base = partial(TimeSformer)
timesformer_hr = partial(TimeSformer, img_size=448, num_frames=16)
timesformer_large = partial(TimeSformer, num_frames=96)
# The width of DeiT-Ti; its joint form is the baseline of the VideoMamba paper's Figure 1.
timesformer_tiny = partial(TimeSformer, embed_dim=192, num_heads=3)
timesformer_joint_base = partial(TimeSformer, attention="joint")
timesformer_joint_tiny = partial(TimeSformer, embed_dim=192, num_heads=3, attention="joint")
# For the embedded clips of 16 x 24 x 24: the same 72 tokens, width and depth as the other small members.
timesformer_pico = partial(
    TimeSformer,
    img_size=24,
    num_frames=16,
    patch_size=8,
    tubelet_size=2,
    embed_dim=64,
    depth=4,
    num_heads=4,
    init="scratch",
)
timesformer_joint_pico = partial(timesformer_pico, attention="joint")
