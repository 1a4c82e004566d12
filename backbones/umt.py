"""UMT's students: the plain vision transformer of `backbones.vit` with tubelets of one frame.

Source: Li et al., "Unmasked Teacher" (arXiv 2303.16058) and OpenGVLab/unmasked_teacher single_modality.
"""

from functools import partial

from backbones.contract import Grid
from backbones.layers import Flavor
from backbones.positions import resize_grid_table, sincos_1d
from backbones.vit import VIDEOMAE, ViT


def umt(
    *,
    img_size: int = 224,
    num_frames: int = 8,
    patch_size: int = 16,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    drop_path_rate: float = 0.0,
    final_norm: bool = True,
    table_grid: tuple[int, int, int] | None = None,
    flavor: Flavor = VIDEOMAE,
) -> ViT:
    """A student of UMT.

    Without `table_grid` the sine and cosine table is made for the clip itself, as in pretraining; clips of another grid
    use it interpolated, space bicubic and then time linear, as the authors' action detection does.

    The fine-tuning class makes its table for the pretraining grid, 8 x 14 x 14 tokens, whatever the clip
    (`table_grid=(8, 14, 14)`), and interpolates it once. For a clip of that grid its files do not hold the table; for
    any other they do, as `pos_embed`, and so does the state dict here. It is never trained (modeling_finetune.py,
    VisionTransformer: registered as a parameter and detached).

    Args:
        img_size: side of the square clips in pixels.
        num_frames: frames of the clips.
        patch_size: side of a patch in pixels.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.
        final_norm: norm the tokens; False is the fine-tuning form with mean pooling, whose norm is in the head. Kept in
            pretraining, with first-token pooling, and for action detection.
        table_grid: (time, height, width) in tokens that the position table is made for; None for the clip's own.
        flavor: what the transformers of this shape differ in; positions="joint" for a learned table.

    Raises:
        ValueError: when patches do not divide the frames, or the heads the width.
    """
    backbone = ViT(
        img_size=img_size,
        num_frames=num_frames,
        patch_size=patch_size,
        tubelet_size=1,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        drop_path_rate=drop_path_rate,
        final_norm=final_norm,
        flavor=flavor,
    )
    own = backbone.table_grid
    if table_grid is not None and own != table_grid:
        made_for = Grid(*table_grid)
        table = sincos_1d(made_for.num_tokens, embed_dim)
        device = backbone.patch_embed.proj.weight.device
        backbone.register_buffer("pos_embed", resize_grid_table(table, made_for, own).to(device))
    return backbone


# Sizes: single_modality/models/modeling_pretrain_umt.py. Published with 8 frames of 224 px, fine-tuned with 8 or 16.
umt_base = partial(umt)
umt_large = partial(umt, embed_dim=1024, depth=24, num_heads=16)
# For the embedded suite: every other frame of its 16, 72 tokens as the other small members have.
umt_pico = partial(umt, img_size=24, patch_size=8, embed_dim=64, depth=4, num_heads=4)
