"""VideoMamba: bidirectional Mamba blocks over class token and patch tokens; image and video members.

Source: Li et al., "VideoMamba: State Space Model for Efficient Video Understanding" (arXiv 2403.06977, ECCV 2024) and
OpenGVLab/VideoMamba (image_sm and video_sm). Sizes are those of its Table 1 and of its model factories.
"""

import math
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int64
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Features, Grid, clip_sides
from backbones.layers import PatchEmbed3d, start_stem
from backbones.mamba_mixer import Direction, MambaMixer, SsmOptions, draw_steps
from backbones.positions import grid_positions
from backbones.scan_order import SECOND_ORDER, SPATIAL, Reordering, order_of_blocks, temporal_first
from backbones.tokens import take


class ResidualNorm(nn.Module):
    """RMS or layer norm that reads a residual stream of higher precision than its own weights.

    Under reduced precision the stream stays in float32; statistics are taken there, and only the result is rounded.

    Args:
        dim: width of the tokens.
        kind: "rms" (no mean, no bias) or "layer".
        eps: added to the mean square or the variance.
    """

    def __init__(self, dim: int, kind: str, eps: float) -> None:
        super().__init__()
        if kind not in ("rms", "layer"):
            raise ValueError(f"unknown norm {kind!r}; choose 'rms' or 'layer'")
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if kind == "layer" else None

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Normalise every token; the result has the precision of the weights."""
        weight = self.weight.to(x.dtype)
        if self.bias is None:
            return F.rms_norm(x, weight.shape, weight, self.eps).to(self.weight.dtype)
        return F.layer_norm(x, weight.shape, weight, self.bias.to(x.dtype), self.eps).to(self.weight.dtype)


class MambaBlock(nn.Module):
    """Pre-norm residual block: x + drop_path(mixer(norm(x))).

    The authors delay the addition to the next block (add, norm, mixer), which gives the same stream: branch i is
    dropped at the i-th rate of the ramp.

    Args:
        norm: the block's norm.
        mixer: the block's mixer.
        drop_path: probability of dropping the branch for a sample.
    """

    def __init__(self, norm: ResidualNorm, mixer: MambaMixer, *, drop_path: float) -> None:
        super().__init__()
        self.norm = norm
        self.mixer = mixer
        self.drop_path = DropPath(drop_path)

    def forward(
        self, residual: Float[Tensor, "batch tokens dim"], second: Reordering | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Add the mixed tokens to the residual stream, in the precision of the stream."""
        return residual + self.drop_path(self.mixer(self.norm(residual), second))


class VideoMamba(Backbone):
    """VideoMamba trunk. `num_frames=1` with `tubelet_size=1` is the image model: no temporal table, clips of one frame.

    The authors' position table with its class entry first is held in two pieces: `cls_pos_embed` [1, 1, D] and
    `pos_embed` [1, height * width, D]. The class token gets no temporal embedding. Clips of another grid or length use
    resized tables (bicubic over space, linear over time).

    With an objective that reads the class token only, `blocks.<last>.mixer.causal.A_log` gets a gradient of exactly
    zero: the class token comes first, so the causal scan of the last block sees nothing before it.

    Args:
        img_size: side or (height, width) in px of the clips that the spatial table is made for.
        num_frames: frames of the clips that the temporal table is made for.
        patch_size: side (px) of a token.
        tubelet_size: frames of a token.
        stride: step (px) between patches; None for `patch_size`. A smaller one lets patches overlap; pixels beyond the
            last whole patch are then not seen.
        embed_dim: width of the tokens.
        depth: number of blocks.
        drop_path_rate: drop path of the last block; grows linearly from 0. The authors' factories default to 0.1.
        norm: "rms" (published) or "layer".
        norm_eps: epsilon of the norms.
        bidirectional: scan from both ends (published); False leaves the plain Mamba mixer.
        ssm: sizes of the state space models; None for the published ones.
        scan: name of the scan implementation (`backbones.ops.selective_scan.implementations`).
        scan_order: order in which the blocks read the patch tokens, after the class token (`backbones.scan_order`).
            "spatial" is the published one, frame by frame; "temporal" goes position by position.
            "spatiotemporal_v1" scans the spatial order forward and the temporal one backward, "spatiotemporal_v2" both
            orders both ways, at twice the cost of the scans. "spatial_then_temporal" and "temporal_then_spatial" change
            the order after half of the blocks, "alternating" after every block, the first being spatial. Weights have
            the same shapes in all of them, and features come in raster order.
        init: "authors": linear layers of standard deviation 0.02 replace Mamba's own, which puts every step near ln 2,
            so that memory reaches about two tokens, and time has no positions at first. "scratch", for short training
            of small models: Mamba's own start, a stem like a linear layer's, sines and cosines for time.

    Raises:
        ValueError: for clip sizes that the tubelet does not divide, for an unknown norm, scan order or init, and for
            "spatiotemporal_v1" without the backward direction.
    """

    pool = "cls"

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 224,
        num_frames: int = 8,
        patch_size: int = 16,
        tubelet_size: int = 1,
        stride: int | None = None,
        embed_dim: int = 192,
        depth: int = 24,
        drop_path_rate: float = 0.0,
        norm: str = "rms",
        norm_eps: float = 1e-5,
        bidirectional: bool = True,
        ssm: SsmOptions | None = None,
        scan: str = "auto",
        scan_order: str = "spatial",
        init: str = "authors",
    ) -> None:
        super().__init__()
        if init not in ("authors", "scratch"):
            raise ValueError(f"unknown init {init!r}; choose 'authors' or 'scratch'")
        self.embed_dim, self.depth = embed_dim, depth
        self.scan_order, self.is_temporal = scan_order, order_of_blocks(scan_order, depth)
        self.tubelet = (tubelet_size, patch_size, patch_size)
        self.stride = (tubelet_size, stride or patch_size, stride or patch_size)
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.native_grid = self._grid_of((num_frames, height, width))
        self.patch_embed = PatchEmbed3d(embed_dim, self.tubelet, stride=self.stride)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.cls_pos_embed = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.native_grid.height * self.native_grid.width, embed_dim))
        is_image = (num_frames, tubelet_size) == (1, 1)
        self.temporal_pos_embed = None if is_image else nn.Parameter(torch.zeros(1, self.native_grid.time, embed_dim))
        rates = [drop_path_rate * index / max(depth - 1, 1) for index in range(depth)]
        self.blocks = nn.ModuleList(
            MambaBlock(
                ResidualNorm(embed_dim, norm, norm_eps),
                MambaMixer(
                    embed_dim,
                    bidirectional=bidirectional,
                    second_order=SECOND_ORDER.get(scan_order, "both"),
                    ssm=ssm or SsmOptions(),
                    scan=scan,
                ),
                drop_path=rate,
            )
            for rate in rates
        )
        self.norm = ResidualNorm(embed_dim, norm, norm_eps)
        self._initialize(init)

    def _initialize(self, init: str) -> None:
        """The authors' effective initialisation is their `segm_init_weights`, then `_init_weights`."""
        if self.cls_token.is_meta:
            return  # nothing to fill in, and slow at it
        for module in self.blocks.modules():
            if isinstance(module, Direction) and init == "scratch":
                draw_steps(module.dt_proj)
            elif isinstance(module, nn.Linear) and init == "authors":
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for module in self.blocks.modules():
            if isinstance(module, MambaMixer):
                nn.init.kaiming_uniform_(module.out_proj.weight, a=math.sqrt(5))
                with torch.no_grad():
                    module.out_proj.weight /= math.sqrt(self.depth)
        trunc_normal_(self.cls_pos_embed, std=0.02)
        trunc_normal_(self.pos_embed, std=0.02)
        if init == "scratch":
            start_stem(self.patch_embed, self.temporal_pos_embed)

    def _grid_of(self, sides: Sequence[int]) -> Grid:
        """Token counts of a clip of `sides` (frames, height, width); overlapping patches need not fill it."""
        axes = list(zip(sides, self.tubelet, self.stride, strict=True))
        if any(side < size or (step == size and side % size) for side, size, step in axes):
            raise ValueError(
                f"a clip of {sides[0]} frames of {sides[1]} x {sides[2]} px cannot be cut into tubelets of "
                f"{self.tubelet[0]} frames of {self.tubelet[1]} x {self.tubelet[2]} px; every side must be a multiple"
            )
        return Grid(*((side - size) // step + 1 for side, size, step in axes))

    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """Token counts of a clip.

        Raises:
            ValueError: when the clip cannot be cut into tubelets, and for several frames in an image model.
        """
        sides = clip_sides(video)
        if self.temporal_pos_embed is None and sides[0] != 1:
            raise ValueError(
                f"this is an image model (num_frames=1, tubelet_size=1) and takes clips of 1 frame, got "
                f"{sides[0]}; build it with num_frames={sides[0]} for clips"
            )
        return self._grid_of(sides)

    def _embed(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch kept"] | None,
        grid: Grid,
    ) -> Float[Tensor, "batch sequence dim"]:
        """The residual stream before the first block: class token, then the visible patch tokens in raster order."""
        positions = grid_positions(self.pos_embed, self.temporal_pos_embed, self.native_grid, grid)
        tokens = self.patch_embed(video, keep) + take(positions, keep)
        cls = (self.cls_token + self.cls_pos_embed).expand(tokens.shape[0], -1, -1)
        residual = torch.cat([cls, tokens], 1)
        return residual.to(torch.promote_types(residual.dtype, torch.float32))

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """See `Backbone.forward_intermediates`. Without `norm`: the residual stream with the named block added.

        The target of the authors' released masked pretraining is the stream before the last block's output is added,
        so `forward_intermediates(video, [depth - 2], norm=False)`.

        Raises:
            ValueError: for a layer that does not exist, and for a clip that `grid` refuses.
        """
        wanted, grid = self.resolve_layers(layers), self.grid(video)
        residual, current = self._embed(video, keep, grid), SPATIAL
        found: dict[int, Features] = {}
        order = None if self.scan_order == "spatial" else temporal_first(grid, keep, 1, device=video.device)
        second = order if self.scan_order in SECOND_ORDER else None
        for index in range(max(wanted) + 1):
            if order is not None and current != self.is_temporal[index]:
                residual, current = (order.undo if current else order.apply)(residual), not current
            residual = self.run_block(index, residual, second)
            if index in wanted:
                raster = order.undo(residual) if order is not None and current else residual
                cls, tokens = (self.norm(raster) if norm else raster).split([1, raster.shape[1] - 1], 1)
                found[index] = Features(tokens, cls, grid, keep)
        return [found[index] for index in wanted]


# Table 1 of the paper; "middle" is its "M", "base" exists as an image model only (model zoo of the repository).
videomamba_tiny = partial(VideoMamba, embed_dim=192, depth=24)
videomamba_small = partial(VideoMamba, embed_dim=384, depth=24)
videomamba_middle = partial(VideoMamba, embed_dim=576, depth=32)
videomamba_base = partial(VideoMamba, num_frames=1, embed_dim=768, depth=24)
# For the embedded clips of 16 x 24 x 24: a training step costs what one of `vit_pico` does. Four blocks of width 48 in
# the published form cost five times that, mostly in the scan, which grows with width times states. The
# authors' start needs longer training than the suite gives (figures in CHANGELOG).
videomamba_pico = partial(
    VideoMamba,
    img_size=24,
    num_frames=16,
    patch_size=8,
    tubelet_size=2,
    embed_dim=64,
    depth=2,
    ssm=SsmOptions(state_dim=4, expand=1),
    init="scratch",
)
