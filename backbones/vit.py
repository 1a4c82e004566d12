"""The joint space-time vision transformer: trunk of VideoMAE, mae_st and V-JEPA, from one class and plain options.

Sources: Tong et al., "VideoMAE" (arXiv 2203.12602) and MCG-NJU/VideoMAE; Feichtenhofer et al., "Masked Autoencoders As
Spatiotemporal Learners" (arXiv 2205.09113) and facebookresearch/mae_st. V-JEPA's sizes are in `backbones.vjepa`.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Grid
from backbones.layers import Flavor, PatchEmbed3d, plain_blocks, rotation_of, start_weights
from backbones.positions import grid_positions, register_positions
from backbones.tokens import take

VIDEOMAE = Flavor()
MAE_ST = Flavor(positions="separable", cls_token=True, qkv_bias="qkv")


class ViT(Backbone):
    """Plain vision transformer over tubelets with joint attention over all visible tokens.

    Linear layers start xavier-uniform with zero bias and the stem as PyTorch starts it: VideoMAE's pretraining class.
    The authors' fine-tuning class starts truncated normal with standard deviation 0.02, which matters only for training
    from scratch; mae_st draws q, k and v separately, and its stem xavier-uniform too.

    Clips of another grid than the tables were made for use them interpolated: space bicubic, then time linear, or as
    V-JEPA does it (`backbones.positions.resize_axes_table`). Rotary positions need no interpolation.

    Args:
        img_size: side of the square clips that the position tables are made for, in pixels.
        num_frames: frames of those clips.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.
        final_norm: norm the tokens; False is the fine-tuning form, whose norm comes after pooling, in the head.
        flavor: what the families of this shape differ in.

    Raises:
        ValueError: when the tubelet does not divide the clip, or the heads the width.
    """

    pos_embed: Tensor | None
    temporal_pos_embed: Tensor | None

    def __init__(
        self,
        *,
        img_size: int = 224,
        num_frames: int = 16,
        patch_size: int = 16,
        tubelet_size: int = 2,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        drop_path_rate: float = 0.0,
        final_norm: bool = True,
        flavor: Flavor = VIDEOMAE,
    ) -> None:
        super().__init__()
        if img_size % patch_size or num_frames % tubelet_size:
            raise ValueError(
                f"clips of {num_frames} frames of {img_size} px cannot be cut into tubelets of {tubelet_size} frames "
                f"of {patch_size} px"
            )
        self.embed_dim, self.depth, self.pool = embed_dim, depth, "mean"
        self.tubelet = (tubelet_size, patch_size, patch_size)
        self.table_grid = Grid(num_frames // tubelet_size, img_size // patch_size, img_size // patch_size)
        self.patch_embed = PatchEmbed3d(embed_dim, self.tubelet)
        self.blocks = plain_blocks(embed_dim, depth, num_heads, drop_path_rate, flavor)
        self.norm = nn.LayerNorm(embed_dim, eps=flavor.norm_eps) if final_norm else nn.Identity()
        self.num_heads, self.flavor = num_heads, flavor
        register_positions(self, flavor.positions, self.table_grid, embed_dim)
        self.cls_token = token(embed_dim) if flavor.cls_token else None
        self.cls_pos_embed = token(embed_dim) if flavor.cls_token else None
        start_weights(self, self.blocks, flavor.start)

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """Features after the named blocks; see `Backbone.forward_intermediates`."""
        wanted, grid = self.resolve_layers(layers), self.grid(video)
        x = self.patch_embed(video, keep)
        num_prefix = int(self.cls_token is not None)
        head_dim = self.embed_dim // self.num_heads
        rotation = rotation_of(self.flavor, grid, head_dim, keep, x, num_prefix=num_prefix)
        if self.pos_embed is not None:
            kind = self.flavor.positions
            table = grid_positions(self.pos_embed, self.temporal_pos_embed, self.table_grid, grid, kind=kind)
            x = x + take(table, keep)
        if self.cls_token is not None and self.cls_pos_embed is not None:
            x = torch.cat([(self.cls_token + self.cls_pos_embed).expand(x.shape[0], -1, -1), x], 1)
        found = {}
        for index in range(max(wanted, default=-1) + 1):
            x = self.run_block(index, x, rotation)
            if index in wanted:
                out = self.norm(x) if norm else x
                found[index] = Features(out[:, num_prefix:], out[:, :num_prefix], grid, keep)
        return [found[index] for index in wanted]


def token(dim: int) -> nn.Parameter:
    """A learned token or its position, truncated normal of standard deviation 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02))


# MCG-NJU/VideoMAE modeling_pretrain.py
videomae_small = partial(ViT, embed_dim=384, depth=12, num_heads=6)
videomae_base = partial(ViT, embed_dim=768, depth=12, num_heads=12)
videomae_large = partial(ViT, embed_dim=1024, depth=24, num_heads=16)
videomae_huge = partial(ViT, embed_dim=1280, depth=32, num_heads=16)
# facebookresearch/mae_st models_mae.py. The huge model has patches of 14 px here, as its pretraining factory builds it;
# the fine-tuning factory of the same repository is called vit_huge_patch14 and builds patches of 16 px.
mae_st_large = partial(ViT, embed_dim=1024, depth=24, num_heads=16, flavor=MAE_ST)
mae_st_huge = partial(ViT, patch_size=14, embed_dim=1280, depth=32, num_heads=16, flavor=MAE_ST)
# A frame at a time, with a class token whose attention says where to look: teaches on the embedded clips, where CLIP
# would see digits of 8 pixels.
vit_still_pico = partial(
    ViT,
    img_size=24,
    num_frames=1,
    patch_size=8,
    tubelet_size=1,
    embed_dim=64,
    depth=4,
    num_heads=4,
    flavor=Flavor(positions="joint", cls_token=True, qkv_bias="qkv"),
)
# VideoMAE's form at a size for the embedded clips of 16 x 24 x 24 and for tests.
vit_pico = partial(ViT, img_size=24, patch_size=8, embed_dim=64, depth=4, num_heads=4)
