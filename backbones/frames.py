"""Image networks on clips, frame by frame: as teachers of video networks, and as video backbones."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import timm
import torch
from jaxtyping import Float, Int64
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from backbones.contract import Backbone, Features, Grid, clip_sides
from backbones.layers import Block, unit_length
from backbones.teacher import Lesson, Teacher, as_frames, taught_layers


class FrameTeacher(Teacher):
    """Any backbone for clips of one frame, run on every frame by itself.

    Features are the outputs of its last blocks through the final norm, divided by their length. Saliency is the
    attention of the last block from the class token, as for CLIP; a backbone without class token or without attention
    has none.

    Args:
        backbone: trained on stills: clips of one frame, tubelets of one frame.
        num_layers: taught layers, counted from the last.
        interval: blocks from one taught layer to the next.
        class_token: teach the class token too: its mean over frames, as one prefix token.

    Raises:
        ValueError: for a backbone whose tubelets are longer than a frame, and for layers that do not exist.
    """

    def __init__(
        self, backbone: Backbone, *, num_layers: int = 1, interval: int = 1, class_token: bool = False
    ) -> None:
        super().__init__()
        if backbone.tubelet[0] != 1:
            raise ValueError(f"tubelets of {backbone.tubelet[0]} frames: a teacher of frames needs tubelets of 1")
        self.layers = taught_layers(backbone.depth, num_layers, interval)
        self.backbone = backbone
        self.out_dim, self.num_layers, self.class_token = backbone.embed_dim, num_layers, class_token
        self.input_size: tuple[int, int] | None = None

    def match(self, grid: Grid) -> None:
        """Resize frames so that they have the rows and columns of `grid`."""
        self.input_size = (grid.height * self.backbone.tubelet[1], grid.width * self.backbone.tubelet[2])

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Lesson:
        """See `Teacher.forward`; the grid has one time step for each frame.

        Raises:
            ValueError: when the class token is to be taught and there is none.
        """
        clips, time = video.shape[0], clip_sides(video)[0]
        frames = as_frames(video, self.input_size or (video.shape[3], video.shape[4]))[:, :, None]
        before_last = [self.backbone.depth - 2] if self.backbone.depth > 1 else []
        # Un-normed, because the attention of the last block is computed from its input; one run gives both.
        states = self.backbone.forward_intermediates(frames, [*self.layers, *before_last], norm=False)
        grid = Grid(time, *states[0].grid[1:])
        found = [self._taught(it, clips, grid) for it in states[: self.num_layers]]
        saliency = self._saliency(states[-1]) if before_last else None
        return Lesson(found, saliency if saliency is None else saliency.unflatten(0, (clips, time)))

    def _taught(self, state: Features, clips: int, grid: Grid) -> Features:
        tokens = unit_length(self.backbone.norm(state.tokens)).unflatten(0, (clips, -1)).flatten(1, 2)
        cls = state.prefix[:, : int(self.class_token)]
        if cls.shape[1] < self.class_token:
            raise ValueError("class_token=True, but this backbone has no class token to teach")
        return Features(tokens, unit_length(self.backbone.norm(cls).unflatten(0, (clips, -1)).mean(1)), grid, None)

    def _saliency(self, state: Features) -> Float[Tensor, "images positions"] | None:
        """Attention of the last block from the class token, given that block's input."""
        block, num_prefix = self.backbone.blocks[-1], state.prefix.shape[1]
        if not isinstance(block, Block) or num_prefix == 0:
            return None
        x = torch.cat([state.prefix, state.tokens], 1)
        return block.attn.class_attention(block.norm1(x), num_prefix)


class FrameBackbone(Backbone):
    """A plain vision transformer of timm on every frame by itself, such as DINOv2's.

    Patch tokens of all frames stay; prefix tokens (class and register tokens) are averaged over frames, so time is
    seen by what comes after only. The network's parts keep their names, which are ours too, so files of timm load.

    Args:
        model: timm's VisionTransformer without classifier, with learned positions (`dynamic_img_size=True`).

    Raises:
        ValueError: for another kind of network.
    """

    drops_tokens = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        parts: Any = model
        needed = ("patch_embed", "pos_embed", "blocks", "norm", "norm_pre", "num_prefix_tokens", "no_embed_class")
        if lacking := [name for name in needed if getattr(model, name, None) is None]:
            raise ValueError(f"{type(model).__name__} is no plain vision transformer of timm: it has no {lacking[0]!r}")
        self.embed_dim, self.depth = parts.embed_dim, len(parts.blocks)
        self.tubelet = (1, *parts.patch_embed.patch_size)
        self.pool = "mean"
        self.patch_embed, self.norm_pre, self.blocks, self.norm = (
            getattr(parts, name) for name in ("patch_embed", "norm_pre", "blocks", "norm")
        )
        self.cls_token, self.pos_embed = parts.cls_token, parts.pos_embed
        self.reg_token = getattr(parts, "reg_token", None)
        self.num_prefix, self.bare_prefix = parts.num_prefix_tokens, parts.no_embed_class

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
        x = self.norm_pre(self._embed(as_frames(video, (video.shape[3], video.shape[4])), grid))
        found = {}
        for index in range(max(wanted, default=-1) + 1):
            x = self.run_block(index, x)
            if index in wanted:
                out = self.norm(x) if norm else x
                prefix, tokens = out.unflatten(0, (video.shape[0], -1)).split(
                    [self.num_prefix, grid.height * grid.width], 2
                )
                found[index] = Features(tokens.flatten(1, 2), prefix.mean(1), grid, None)
        return [found[index] for index in wanted]

    def _embed(
        self, frames: Float[Tensor, "images 3 height width"], grid: Grid
    ) -> Float[Tensor, "images sequence dim"]:
        """Patches and prefix tokens with their positions, in timm's order."""
        patches = self.patch_embed.proj(frames).flatten(2).transpose(1, 2)
        patches = self.patch_embed.norm(patches)
        with_class = 0 if self.bare_prefix else self.num_prefix
        table = resample_abs_pos_embed(self.pos_embed, [grid.height, grid.width], num_prefix_tokens=with_class)
        prefix = [it.expand(frames.shape[0], -1, -1) for it in (self.cls_token, self.reg_token) if it is not None]
        if self.bare_prefix:
            return torch.cat([*prefix, patches + table], 1)
        return torch.cat([*prefix, patches], 1) + table

    def layer_of(self, parameter_name: str) -> int:
        """See `Backbone.layer_of`."""
        return 0 if parameter_name.partition(".")[0] in ("norm_pre", "reg_token") else super().layer_of(parameter_name)

    def no_weight_decay(self) -> set[str]:
        """See `Backbone.no_weight_decay`."""
        return super().no_weight_decay() | ({"reg_token"} if self.reg_token is not None else set())


def timm_vit(
    *,
    name: str = "vit_base_patch16_224",
    img_size: int = 224,
    num_frames: int = 8,
    patch_size: int = 16,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    drop_path_rate: float = 0.0,
) -> FrameBackbone:
    """A vision transformer of timm, without weights, on every frame of a clip.

    Args:
        name: timm's name of the form: norms, branch scales, registers.
        img_size: side of the frames that the position table is made for, in pixels; others are interpolated.
        num_frames: frames of a clip; any number runs.
        patch_size: side of a patch in pixels.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.

    Raises:
        ValueError: when patches do not divide the frames, or heads the width.
    """
    if img_size % patch_size or num_frames < 1:
        raise ValueError(f"{num_frames} frames of {img_size} px cannot be cut into patches of {patch_size} px")
    if embed_dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide a width of {embed_dim}")
    model = timm.create_model(
        name,
        pretrained=False,
        num_classes=0,
        dynamic_img_size=True,
        img_size=img_size,
        patch_size=patch_size,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        drop_path_rate=drop_path_rate,
    )
    return FrameBackbone(model)


# The released files of facebookresearch/dinov2 have tables for 518 px; timm resizes them when it loads.
timm_vit_base_dinov2 = partial(timm_vit, name="vit_base_patch14_dinov2", patch_size=14)
timm_vit_large_dinov2 = partial(
    timm_vit, name="vit_large_patch14_dinov2", patch_size=14, embed_dim=1024, depth=24, num_heads=16
)
# For the embedded clips of 16 x 24 x 24.
timm_vit_pico = partial(timm_vit, img_size=24, num_frames=16, patch_size=8, embed_dim=64, depth=4, num_heads=4)


def timm_network(name: str, *, pretrained: bool, img_size: int, drop_path_rate: float = 0.0) -> FrameBackbone:
    """A vision transformer of timm by its name, on every frame of a clip.

    Args:
        name: timm's name, with a tag where weights are wanted, such as "vit_small_patch14_dinov2.lvd142m".
        pretrained: with its weights; timm resizes their position table to `img_size`.
        img_size: side of the frames that the position table is made for, in pixels.
        drop_path_rate: drop-path rate of the last block.

    Raises:
        ValueError: for a network of another kind, and for weights out of reach.
    """
    try:
        model = timm.create_model(
            name,
            pretrained=pretrained,
            num_classes=0,
            dynamic_img_size=True,
            img_size=img_size,
            drop_path_rate=drop_path_rate,
        )
    except TypeError as error:
        raise ValueError(f"{name!r} is no plain vision transformer of timm ({error})") from error
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name!r} of timm cannot be had ({str(error).strip().splitlines()[0]})") from error
    # Relatives with the same parts compute something else with them (rotary positions, attention pooling).
    if type(model) is not VisionTransformer:
        raise ValueError(f"{name!r} is a {type(model).__name__}, no plain vision transformer of timm")
    return FrameBackbone(model)


def timm_config(name: str) -> dict[str, Any]:
    """What timm says of a network's pictures: `input_size`, `mean`, `std`, `interpolation`, `crop_pct`, `license`.

    Raises:
        UnknownNetworkError: for a name that timm does not have.
    """
    stem, _, tag = name.partition(".")
    tags = timm.list_pretrained(f"{stem}.*") if timm.is_model(stem) else []
    if not timm.is_model(stem) or (tag and name not in tags):
        raise UnknownNetworkError(name, tags or timm.list_models())
    found = timm.get_pretrained_cfg(name)
    return found.to_dict() if found is not None else {}


class UnknownNetworkError(ValueError):
    """A network that another library does not have.

    Attributes:
        name: the name.
        valid: names that it has.
    """

    def __init__(self, name: str, valid: Sequence[str]) -> None:
        super().__init__(name, valid)
        self.name, self.valid = name, list(valid)
