"""Networks of transformers behind our contracts: CLIP as a teacher and as a backbone, VideoMAE as a backbone.

The only file that imports transformers, and only when something is built. Their modules are used piece by piece: names
and forms of the pieces are stable over transformers' versions, while the calls of whole models are not.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor

from backbones.clip import ClipBackbone, attend, from_openai
from backbones.contract import Backbone, Features, Grid, clip_sides
from backbones.hf import ANATOMIES, HfBackbone
from backbones.layers import first_row, unit_length
from backbones.meta import meta_device
from backbones.positions import resize_spatial_table
from backbones.teacher import Lesson, Teacher, as_frames, taught_layers

STATISTICS = ("student", "clip")
CLIP = "clip_vision_model"  # transformers' name of the kind


class ClipTeacher(Teacher):
    """OpenAI CLIP's image encoder, run on every frame by itself, as UMT and VideoMamba use it.

    Features are the outputs of the last blocks, each through the one post-norm and the projection, divided by their
    length. Saliency is the attention of the last block from the class token to the patches, averaged over heads.
    Source: OpenGVLab/unmasked_teacher single_modality/models/clip.py, OpenGVLab/VideoMamba video_sm/models/clip.py.

    The default sizes are CLIP's ViT-B/16. UMT's teacher of L/16 students is ViT-L/14 with an input of 196 px, so that
    14 x 14 tokens of both lie on each other. VideoMamba's teacher is `num_layers=1, class_token=True, post_norm=False`.

    Args:
        image_size: side of the square frames that the position table is made for, in pixels.
        patch_size: side of a patch in pixels.
        width: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        out_dim: width of the projection, and so of the features.
        num_layers: taught layers, counted from the last (K = 6 for UMT, 1 for VideoMamba).
        interval: blocks from one taught layer to the next.
        input_size: side in pixels that frames are resized to (bicubic), with the position table resized to match;
            None for `image_size`.
        class_token: teach the class token too: its mean over frames, as one prefix token (VideoMamba).
        post_norm: put features through the post-norm; VideoMamba leaves it out.
        unit: divide features by their length ("l2" of the authors' option clip_norm_type, against "none").
        statistics: "student" takes the clips as they are normalised for the student, which is what the authors do and
            not what CLIP was trained on; "clip" undoes ImageNet's statistics and applies CLIP's.

    Raises:
        ValueError: for layers that do not exist, unknown statistics, and an input that patches do not divide.
    """

    def __init__(
        self,
        *,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        out_dim: int = 512,
        num_layers: int = 6,
        interval: int = 1,
        input_size: int | None = None,
        class_token: bool = False,
        post_norm: bool = True,
        unit: bool = True,
        statistics: str = "student",
    ) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        size = input_size or image_size
        if statistics not in STATISTICS:
            raise ValueError(f"unknown statistics {statistics!r}; choose from {STATISTICS}")
        if size % patch_size:
            raise ValueError(f"frames of {size} px cannot be cut into patches of {patch_size} px")
        if width % num_heads:
            raise ValueError(f"{num_heads} heads do not divide a width of {width}")
        self.layers = taught_layers(depth, num_layers, interval)
        self.out_dim, self.num_layers, self.patch_size, self.input_size = out_dim, num_layers, patch_size, (size, size)
        self.class_token, self.post_norm, self.unit, self.statistics = class_token, post_norm, unit, statistics
        config = CLIPVisionConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            projection_dim=out_dim,
        )
        self.model: Any = CLIPVisionModelWithProjection(config).eval().requires_grad_(False)

    def match(self, grid: Grid) -> None:
        """Resize frames so that they have the rows and columns of `grid`."""
        self.input_size = (grid.height * self.patch_size, grid.width * self.patch_size)

    @torch.no_grad()
    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Lesson:
        """See `Teacher.forward`; the grid has one time step for each frame."""
        clips, time = video.shape[0], clip_sides(video)[0]
        parts = self.model.vision_model
        x = parts.pre_layrnorm(self._embed(as_frames(video, self.input_size)))
        found, saliency = [], x.new_zeros(0)
        for index, layer in enumerate(parts.encoder.layers[: self.layers[-1] + 1]):
            update, query, key = attend(layer.self_attn, layer.layer_norm1(x))
            x = x + update
            x = x + layer.mlp(layer.layer_norm2(x))
            if index == self.layers[-1]:
                saliency = first_row(query, key).split([1, x.shape[1] - 1], 1)[1]
            if index in self.layers:
                found.append(self._taught(x, clips))
        return Lesson(found, saliency.unflatten(0, (clips, time)))

    def _embed(self, frames: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images sequence dim"]:
        """Class token and patches with their positions; the class token's row is not resized."""
        if self.statistics == "clip":
            frames = _restated(frames)
        parts = self.model.vision_model.embeddings
        patches = parts.patch_embedding(frames).flatten(2).transpose(1, 2)
        cls, table = _resized(parts.position_embedding.weight, self._sides).split([1, patches.shape[1]])
        return torch.cat([(parts.class_embedding + cls).expand(frames.shape[0], 1, -1), patches + table], 1)

    def _taught(self, x: Float[Tensor, "images sequence dim"], clips: int) -> Features:
        """The output of a block as it is taught."""
        x = self.model.vision_model.post_layernorm(x) if self.post_norm else x
        cls, patches = x.unflatten(0, (clips, -1)).split([1, x.shape[1] - 1], 2)
        prefix = cls.mean(1) if self.class_token else cls[:, 0, :0]
        tokens, prefix = (self.model.visual_projection(part) for part in (patches.flatten(1, 2), prefix))
        if self.unit:
            tokens, prefix = unit_length(tokens), unit_length(prefix)
        return Features(tokens, prefix, Grid(patches.shape[1], *self._sides), None)

    @property
    def _sides(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return self.input_size[0] // self.patch_size, self.input_size[1] // self.patch_size

    def load_openai(self, state: Mapping[str, Tensor]) -> None:
        """Fill in weights under OpenAI's names: the image encoder of its CLIP, with or without the prefix "visual.".

        A position table for another size than the network's is resized (bicubic, class row kept).

        Raises:
            ValueError: for weights that are missing, left over, or of other shapes.
        """
        own = self.model.state_dict()
        found = from_openai(state)
        table = "vision_model.embeddings.position_embedding.weight"
        if table in found:
            side = round((len(own[table]) - 1) ** 0.5)
            found[table] = _resized(found[table], (side, side))
        wrong = sorted(own.keys() ^ found.keys()) or sorted(it for it in own if own[it].shape != found[it].shape)
        if wrong:
            raise ValueError(f"these weights are not of this CLIP: {len(wrong)} do not fit, such as {wrong[0]!r}")
        self.model.load_state_dict(found)


def clip_teacher(
    name: str,
    *,
    num_layers: int = 6,
    interval: int = 1,
    input_size: int | None = None,
    class_token: bool = False,
    post_norm: bool = True,
    statistics: str = "student",
) -> ClipTeacher:
    """A CLIP teacher with the weights of a model of transformers; see `ClipTeacher`.

    Args:
        name: a folder that `save_pretrained` wrote, or a name on the hub ("openai/clip-vit-base-patch16",
            "openai/clip-vit-large-patch14").
        num_layers: taught layers.
        interval: blocks from one taught layer to the next.
        input_size: side that frames are resized to, in pixels.
        class_token: teach the class token too.
        post_norm: put features through the post-norm.
        statistics: "student" or "clip".

    Raises:
        ValueError: when there are no such weights within reach, and when some are missing in what was found.
    """
    from transformers import CLIPVisionModelWithProjection

    try:
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(name, output_loading_info=True)
    except OSError as error:
        raise ValueError(
            f"CLIP {name!r} is no folder with a model of transformers and cannot be fetched ({error}); without a "
            "network, save it elsewhere with save_pretrained and give that folder"
        ) from error
    model, told = loaded
    if missing := sorted(told["missing_keys"]):
        raise ValueError(f"CLIP {name!r} lacks {len(missing)} weights of an image encoder, such as {missing[0]!r}")
    config = model.config
    with meta_device():
        teacher = ClipTeacher(
            image_size=config.image_size,
            patch_size=config.patch_size,
            width=config.hidden_size,
            depth=config.num_hidden_layers,
            num_heads=config.num_attention_heads,
            out_dim=config.projection_dim,
            num_layers=num_layers,
            interval=interval,
            input_size=input_size,
            class_token=class_token,
            post_norm=post_norm,
            statistics=statistics,
        )
    teacher.model = model.eval().requires_grad_(False)
    return teacher


def _resized(table: Float[Tensor, "rows dim"], sides: tuple[int, int]) -> Float[Tensor, "new_rows dim"]:
    """CLIP's position table, class row first, for frames of other sides."""
    cls, patches = table.split([1, len(table) - 1])
    side = round(len(patches) ** 0.5)
    return torch.cat([cls, resize_spatial_table(patches[None], (side, side), sides)[0]])


def _restated(frames: Float[Tensor, "images 3 height width"]) -> Float[Tensor, "images 3 height width"]:
    """Frames normalised by ImageNet's statistics, normalised by CLIP's instead."""
    statistics = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    mean, std, clip_mean, clip_std = (frames.new_tensor(values)[:, None, None] for values in statistics)
    return (frames * std + mean - clip_mean) / clip_std


def clip_visual(
    *,
    img_size: int = 224,
    num_frames: int = 1,
    patch_size: int = 16,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
) -> ClipBackbone:
    """CLIP's image encoder of these sizes, without weights, on every frame of a clip.

    Args:
        img_size: side of the square frames that the position table is made for, in pixels; others are interpolated.
        num_frames: frames of a clip; any number runs.
        patch_size: side of a patch in pixels.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.

    Raises:
        ValueError: when patches do not divide the frames, or heads the width.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    if img_size % patch_size or num_frames < 1:
        raise ValueError(f"{num_frames} frames of {img_size} px cannot be cut into patches of {patch_size} px")
    if embed_dim % num_heads:
        raise ValueError(f"{num_heads} heads do not divide a width of {embed_dim}")
    config = CLIPVisionConfig(
        image_size=img_size,
        patch_size=patch_size,
        hidden_size=embed_dim,
        intermediate_size=4 * embed_dim,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
    )
    return ClipBackbone(CLIPVisionModelWithProjection(config))


# Sizes: OpenAI's CLIP (arXiv 2103.00020, Table 20), as in unmasked_teacher single_modality/models/clip.py.
clip_visual_base_patch16 = partial(clip_visual)
clip_visual_large_patch14 = partial(clip_visual, patch_size=14, embed_dim=1024, depth=24, num_heads=16)
clip_visual_large_patch14_336 = partial(clip_visual_large_patch14, img_size=336)


def hf_videomae(
    *,
    img_size: int = 224,
    num_frames: int = 16,
    patch_size: int = 16,
    tubelet_size: int = 2,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    final_norm: bool = True,
) -> HfBackbone:
    """Transformers' VideoMAE of these sizes, without weights.

    Args:
        img_size: side of the square clips that the position table is made for, in pixels.
        num_frames: frames of those clips.
        patch_size: side of a tubelet in pixels.
        tubelet_size: frames of a tubelet.
        embed_dim: width of the tokens.
        depth: number of blocks.
        num_heads: number of heads.
        final_norm: norm the tokens; False is their form with mean pooling.

    Raises:
        ValueError: when the tubelet does not divide the clip, or the heads the width.
    """
    from transformers import VideoMAEConfig, VideoMAEModel

    if img_size % patch_size or num_frames % tubelet_size:
        raise ValueError(
            f"clips of {num_frames} frames of {img_size} px cannot be cut into tubelets of {tubelet_size} frames "
            f"of {patch_size} px"
        )
    config = VideoMAEConfig(
        image_size=img_size,
        num_frames=num_frames,
        patch_size=patch_size,
        tubelet_size=tubelet_size,
        hidden_size=embed_dim,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
        intermediate_size=4 * embed_dim,
        use_mean_pooling=not final_norm,
    )
    return HfBackbone(VideoMAEModel(config))


# For the embedded clips of 16 x 24 x 24.
hf_videomae_pico = partial(hf_videomae, img_size=24, patch_size=8, embed_dim=64, depth=4, num_heads=4)


class Found(NamedTuple):
    """A network of transformers as a backbone, and the linear classifier that its file brings.

    Attributes:
        backbone: the network.
        head: classifier under our names: `linear.weight`, `linear.bias`, and `norm.*` where it has one; empty for none.
    """

    backbone: Backbone
    head: dict[str, Tensor]


def hf_config(name: str) -> Any:
    """The configuration of a network of transformers; of CLIP that of its image encoder.

    Args:
        name: a folder with a config.json, or a name on the hub.

    Raises:
        ValueError: when it is not within reach, or of a kind that has no adapter.
    """
    from transformers import AutoConfig

    # Transformers would explain which names the hub allows.
    if name.startswith(("/", "./", "../")) and not Path(name).is_dir():
        raise ValueError(f"no configuration of {name!r} within reach (there is no such folder)")
    try:
        config: Any = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ValueError(f"no configuration of {name!r} within reach ({first_line(error)})") from error
    vision = config.vision_config if config.model_type == "clip" else config
    if vision.model_type not in (*ANATOMIES, CLIP):
        known = ", ".join(sorted((*ANATOMIES, CLIP)))
        raise ValueError(
            f"{name!r} is a {vision.model_type!r} of transformers, for which there is no adapter ({known})"
        )
    vision.architectures = config.architectures
    return vision


def hf_processor(name: str) -> dict[str, Any]:
    """What a network of transformers says about pixels (mean, deviation, sizes); empty when it says nothing.

    Args:
        name: a folder, or a name on the hub.
    """
    from transformers.utils import cached_file

    for file in ("video_preprocessor_config.json", "preprocessor_config.json"):
        try:
            path = cached_file(name, file, _raise_exceptions_for_missing_entries=False)
        except OSError:
            path = None  # the hub is out of reach; the other file may be in its cache
        if path is not None:
            told = json.loads(Path(path).read_text(encoding="utf-8"))
            return told if isinstance(told, dict) else {}
    return {}


def hf_network(name: str, *, pretrained: bool) -> Found:
    """A network of transformers by its name or folder.

    Args:
        name: a folder that `save_pretrained` wrote (config.json is enough without weights), or a name on the hub.
        pretrained: with its weights, and with its classifier where that is a linear one.

    Raises:
        ValueError: when something is out of reach, of a kind without an adapter, damaged, or lacks weights.
    """
    import transformers

    config = hf_config(name)
    is_clip = config.model_type == CLIP
    if not pretrained:
        make: Any = transformers.CLIPVisionModel if is_clip else transformers.AutoModel.from_config
        return Found(_adapted(make(config)), {})
    classifies = next(iter(config.architectures or ()), "").endswith("ForVideoClassification")
    classifies = classifies and config.model_type != "vjepa2"  # whose classifier pools by attention
    base = transformers.CLIPVisionModel if is_clip else transformers.AutoModel
    source: Any = transformers.AutoModelForVideoClassification if classifies else base
    try:
        model, told = source.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"no weights of {name!r} within reach ({first_line(error)})") from error
    except (SafetensorError, EOFError) as error:
        raise ValueError(f"the weights of {name!r} are damaged or cut off ({first_line(error)})") from error
    if missing := sorted(key for key in told["missing_keys"] if "pooler" not in key):
        raise ValueError(f"{name!r} lacks {len(missing)} weights of its network, such as {missing[0]!r}")
    if broken := [key for key, it in model.state_dict().items() if not torch.isfinite(it).all()]:
        raise ValueError(f"the weights of {name!r} hold NaN or infinity, first in {broken[0]!r}")
    if not classifies:
        return Found(_adapted(model), {})
    head = {f"linear.{key}": it for key, it in model.classifier.state_dict().items()}
    norm = getattr(model, "fc_norm", None)
    head |= {f"norm.{key}": it for key, it in norm.state_dict().items()} if norm is not None else {}
    return Found(_adapted(model.base_model), head)


def _adapted(model: Any) -> Backbone:
    return ClipBackbone(model) if model.config.model_type == CLIP else HfBackbone(model)


def first_line(error: BaseException) -> str:
    """The beginning of a message of another library, which may go on for a page."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
