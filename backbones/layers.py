"""What timm.layers lacks: a patch embedding that embeds visible tokens only, attention with split q/v bias, a block."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from timm.layers import DropPath, LayerScale, Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid
from backbones.positions import ROTARY, Positions, sincos_1d
from backbones.rotary import rotate, rotation_at, rotation_table

QkvBias = Literal["none", "qv", "qkv"]
Start = Literal["xavier", "normal", "normal_rescaled"]


def patchify(
    video: Float[Tensor, "batch channels frames height width"],
    size: tuple[int, int, int],
    keep: Int64[Tensor, "batch kept"] | None = None,
    stride: tuple[int, int, int] | None = None,
) -> Float[Tensor, "batch tokens channels time y x"]:
    """Cut clips into tubelets in raster order; with `keep`, only the kept tubelets are ever copied.

    Args:
        video: clips.
        size: pixels per token (frames, height, width).
        keep: raster indices of the wanted tubelets; None for all.
        stride: step between tubelets, `size` when None; smaller strides overlap.
    """
    stride = stride or size
    windows = video.unfold(2, size[0], stride[0]).unfold(3, size[1], stride[1]).unfold(4, size[2], stride[2])
    windows = windows.permute(0, 2, 3, 4, 1, 5, 6, 7)
    if keep is None:
        return windows.flatten(1, 3)
    batch, _, height, width = windows.shape[:4]
    rows = torch.arange(batch, device=keep.device)[:, None]
    return windows[rows, keep // (height * width), keep // width % height, keep % width]


def unpatchify(
    patches: Float[Tensor, "batch tokens channels time y x"], grid: Grid
) -> Float[Tensor, "batch channels frames height width"]:
    """Put tubelets in raster order back together: the inverse of `patchify` without `keep` and `stride`."""
    return rearrange(patches, "b (t h w) c u p q -> b c (t u) (h p) (w q)", t=grid.time, h=grid.height, w=grid.width)


class PatchEmbed3d(nn.Module):
    """Linear embedding of tubelets; weights as a Conv3d has them (`proj.weight` `[D, 3, t, h, w]`).

    Args:
        embed_dim: width of the tokens.
        tubelet: pixels per token (frames, height, width).
        stride: step between tubelets, `tubelet` when None.
        in_chans: channels of the clip.
    """

    def __init__(
        self,
        embed_dim: int,
        tubelet: tuple[int, int, int],
        *,
        stride: tuple[int, int, int] | None = None,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        self.tubelet = tubelet
        self.stride = stride or tubelet
        self.proj = nn.Conv3d(in_chans, embed_dim, kernel_size=tubelet, stride=self.stride)

    def forward(
        self,
        video: Float[Tensor, "batch channels frames height width"],
        keep: Int64[Tensor, "batch kept"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Embed all tubelets, or the kept ones only, in raster order."""
        patches = patchify(video, self.tubelet, keep, self.stride)
        # One matrix product for both cases, so that keep = all equals no keep bit for bit.
        return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention over tokens, by PyTorch's scaled_dot_product_attention.

    Args:
        dim: width of the tokens.
        num_heads: number of heads; must divide `dim`.
        qkv_bias: "qv" is BEiT's and VideoMAE's form: separate `q_bias` and `v_bias`, no key bias.
    """

    def __init__(self, dim: int, num_heads: int, *, qkv_bias: QkvBias = "qv") -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide a width of {dim}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias == "qkv")
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias == "qv" else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias == "qv" else None
        self.proj = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        rotation: Float[Tensor, "rows tokens 2 head_dim"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Attend over all tokens of a sample; `rotation` turns queries and keys by their positions."""
        qkv = F.linear(x, self.qkv.weight, self._bias()).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))

    def class_attention(
        self, x: Float[Tensor, "batch tokens dim"], num_prefix: int = 1
    ) -> Float[Tensor, "batch patch_tokens"]:
        """How much the first token attends to each token after the prefix, averaged over heads."""
        bias, dim = self._bias(), x.shape[2]
        query, key, _ = self.qkv.weight.chunk(3)
        query_bias, key_bias = (None, None) if bias is None else (bias[:dim], bias[dim : 2 * dim])
        heads = (self.num_heads, -1)
        queries = F.linear(x[:, :1], query, query_bias).unflatten(-1, heads).transpose(1, 2)
        keys = F.linear(x, key, key_bias).unflatten(-1, heads).transpose(1, 2)
        return first_row(queries, keys)[:, num_prefix:]

    def _bias(self) -> Tensor | None:
        if self.q_bias is None or self.v_bias is None:
            return self.qkv.bias
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])


def first_row(
    query: Float[Tensor, "batch heads queries head_dim"], key: Float[Tensor, "batch heads tokens head_dim"]
) -> Float[Tensor, "batch tokens"]:
    """Attention weights of the first token, averaged over heads: one row of a map that is never computed whole."""
    scores = (query[:, :, :1] * query.shape[-1] ** -0.5) @ key.transpose(2, 3)
    return scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).mean(1)[:, 0]


def unit_length(x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
    """Every token divided by its length, in float32 or finer."""
    return F.normalize(x if x.dtype.itemsize > 2 else x.float(), dim=-1)


class Block(nn.Module):
    """Pre-norm transformer block: x + attn(norm1 x), then x + mlp(norm2 x).

    Args:
        dim: width of the tokens.
        num_heads: number of heads.
        mlp_ratio: hidden width of the MLP over `dim`.
        qkv_bias: see `Attention`.
        drop_path: probability of dropping a branch for a sample.
        layer_scale: initial value of the per-channel branch scale; None for no scale.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        mlp_ratio: float = 4.0,
        qkv_bias: QkvBias = "qv",
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.attn = Attention(dim, num_heads, qkv_bias=qkv_bias)
        self.ls1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.ls2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        rotation: Float[Tensor, "rows tokens 2 head_dim"] | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Transform the tokens of each sample."""
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x), rotation)))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """What plain vision transformers of one shape differ in; the defaults are VideoMAE's.

    Attributes:
        positions: kind of positions; see `backbones.positions.register_positions`.
        angles: number format of rotary angles: "float32", or "tokens" for that of queries and keys, in which V-JEPA 2
            was trained (bfloat16 under autocast).
        cls_token: has a class token with its own position.
        qkv_bias: see `Attention`.
        layer_scale: initial value of the per-channel branch scale; None for no scale.
        mlp_ratio: hidden width of the MLPs over the token width.
        norm_eps: epsilon of the layer norms.
        start: initial weights; see `start_weights`.
    """

    positions: Positions = "sincos"
    angles: Literal["float32", "tokens"] = "float32"
    cls_token: bool = False
    qkv_bias: QkvBias = "qv"
    layer_scale: float | None = None
    mlp_ratio: float = 4.0
    norm_eps: float = 1e-6
    start: Start = "xavier"


def plain_blocks(dim: int, depth: int, num_heads: int, drop_path_rate: float, flavor: Flavor) -> nn.ModuleList:
    """Blocks of a plain vision transformer; the drop-path rate grows linearly from 0 to `drop_path_rate`."""
    return nn.ModuleList(
        Block(
            dim,
            num_heads,
            mlp_ratio=flavor.mlp_ratio,
            qkv_bias=flavor.qkv_bias,
            drop_path=drop_path_rate * index / max(1, depth - 1),
            layer_scale=flavor.layer_scale,
            norm_eps=flavor.norm_eps,
        )
        for index in range(depth)
    )


def rotation_of(
    flavor: Flavor,
    grid: Grid,
    head_dim: int,
    ids: Int64[Tensor, "batch sequence"] | None,
    tokens: Float[Tensor, "batch embedded dim"],
    *,
    num_prefix: int = 0,
) -> Float[Tensor, "rows rotated 2 head_dim"] | None:
    """What the blocks of a plain vision transformer take beside the tokens; None for kinds with a table.

    Args:
        flavor: kind of positions and number format of the angles.
        grid: token counts of the whole clip.
        head_dim: channels of a head.
        ids: raster indices of the tokens, in the order of the sequence; None for all.
        tokens: as they were embedded; their number format is that of queries and keys.
        num_prefix: tokens in front that have no position.
    """
    if flavor.positions not in ROTARY:
        return None
    dtype = tokens.dtype if flavor.angles == "tokens" else torch.promote_types(tokens.dtype, torch.float32)
    interleaved = flavor.positions == "rotary_interleaved"
    table = rotation_table(grid, head_dim, interleaved=interleaved, dtype=dtype, device=tokens.device)
    return rotation_at(table.to(tokens.dtype), ids, num_prefix)


def init_linear(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for a Linear layer, for `Module.apply`: VideoMAE's and mae_st's start."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


@torch.no_grad()
def start_weights(module: nn.Module, blocks: nn.ModuleList, start: Start) -> None:
    """Initial weights of a plain vision transformer or of a decoder.

    Args:
        module: backbone or decoder.
        blocks: its blocks.
        start: "xavier": see `init_linear`. "normal": matrices and kernels truncated normal of standard deviation 0.02,
            zero biases; V-JEPA's pretraining (facebookresearch/jepa, app/vjepa/utils.py). "normal_rescaled": branch
            outputs of block i, from 1, divided by sqrt(2 i) besides, as V-JEPA 2 keeps it; the first V-JEPA draws its
            matrices a second time and so loses it.
    """
    if start == "xavier":
        module.apply(init_linear)
        return
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv3d):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    if start == "normal_rescaled":
        for index, block in enumerate(blocks, start=1):
            for name in ("attn.proj.weight", "mlp.fc2.weight"):
                block.get_parameter(name).div_((2 * index) ** 0.5)


def start_stem(patch_embed: PatchEmbed3d, time: nn.Parameter | None) -> None:
    """Stem of small models trained from scratch: weights like a linear layer's, sines and cosines for time.

    A convolution's own start makes tokens far smaller than a table of sines and cosines is.

    Args:
        patch_embed: its weights are drawn xavier-uniform.
        time: learned table over time `[1, T, D]`, None in an image model.
    """
    nn.init.xavier_uniform_(patch_embed.proj.weight.data.flatten(1))
    if time is not None:
        with torch.no_grad():
            time.copy_(sincos_1d(time.shape[1], time.shape[2]))
