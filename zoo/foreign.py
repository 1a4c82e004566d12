"""Networks of other libraries by name: `hf:facebook/vjepa2-vitl-fpc64-256`, `timm:vit_small_patch14_dinov2.lvd142m`.

`hf:` takes names on the hub and folders (`hf:/path`, `hf:./path`) that transformers' `save_pretrained` wrote; a folder
with a config.json alone gives random weights. They are architectures like ours from here on: every head, suite and the
efficiency harness takes them. What they say about pixels becomes the clip protocol. A linear classifier that comes with
weights of transformers is kept together with its class names, unless another number of classes is asked for.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from backbones import frames, frozen
from backbones.contract import Backbone
from backbones.hf import ANATOMIES, native_clip
from zoo.card import IMAGENET_MEAN, IMAGENET_STD, Architecture, Classifier, ClipSpec
from zoo.model import ModelSpec, VideoModel, build_head
from zoo.suggest import unknown

PREFIXES = ("hf:", "timm:")
FRAMES_OF_IMAGES = 8  # timm and image networks have no rule for clips
NOTES = (
    "computes every token: it cannot be the student of a masked objective",
    "a network of another library: released cards do not describe it",
)
_BICUBIC = 3  # PIL's number, which processors of transformers write


class ForeignError(ValueError):
    """A network of another library that cannot be had, or not as asked for."""


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A network of another library.

    Attributes:
        architecture: as the zoo sees it.
        load: with its weights, given the options of the builder.
        label_names: names of the classes of the classifier that comes with the weights; empty for none.
    """

    architecture: Architecture
    load: Callable[[Mapping[str, Any]], frozen.Found]
    label_names: tuple[str, ...] = ()


def is_foreign(name: str) -> bool:
    """Whether a name is of another library."""
    return name.startswith(PREFIXES)


def is_local(name: str) -> bool:
    """Whether a name is of a folder on this machine."""
    rest = name.removeprefix("hf:")
    return name.startswith("hf:") and (rest.startswith((".", "/", "~")) or Path(rest).exists())


def split_objective(words: str) -> tuple[str, str]:
    """NAME or NAME:OBJECTIVE as a pair; the objective is empty where none is named. A prefix belongs to the name."""
    prefix = next((it for it in PREFIXES if words.startswith(it)), "")
    name, colon, objective = words[len(prefix) :].partition(":")
    if colon and not objective:
        return words, ""
    return prefix + name, objective


def describe(name: str) -> Foreign:
    """What is known of a network by its configuration alone, which is fetched where it is not at hand.

    Raises:
        ForeignError: for one that cannot be had or has no adapter.
        UnknownNameError: for a name that timm does not have, with the closest ones.
    """
    prefix, _, rest = name.partition(":")
    if not rest:
        raise ForeignError(f"{name!r} names no network; write {prefix}: and its name")
    return _timm(name, rest) if prefix == "timm" else _hf(name, os.path.expanduser(rest))


def create(name: str, spec: ModelSpec, *, num_classes: int | None) -> VideoModel:
    """A network of another library with its weights, and with its classifier where nobody asks for another one.

    Args:
        name: with its prefix.
        spec: how it is to be made.
        num_classes: rows of the classifier; None for the classifier that comes with the weights, and for none where
            none comes.

    Raises:
        ForeignError: when the network or its weights cannot be had.
    """
    found = describe(name)
    loaded = found.load(spec.overrides)
    rows = len(loaded.head["linear.weight"]) if "linear.weight" in loaded.head else 0
    # Dropout changes how a classifier is trained on, not what it has learned.
    same_form = replace(spec.classifier, dropout=found.architecture.classifier.dropout) == found.architecture.classifier
    keeps = rows > 0 and num_classes in (None, rows) and same_form
    count = rows if num_classes is None and keeps else num_classes or 0
    names = found.label_names if keeps and len(found.label_names) == rows else ()
    head = build_head(spec.classifier, loaded.backbone.embed_dim, count)
    if keeps:
        _fill(head, loaded.head, name)
    return VideoModel(loaded.backbone, head, replace(spec, label_names=names))


def _fill(head: torch.nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    own = head.state_dict()
    if own.keys() != state.keys() or any(own[key].shape != state[key].shape for key in own):
        raise ForeignError(f"the classifier of {name!r} has another form than its adapter knows: {sorted(state)}")
    head.load_state_dict(dict(state))


def _hf(name: str, source: str) -> Foreign:
    """A network of transformers."""
    try:
        config, told = frozen.hf_config(source), frozen.hf_processor(source)
        num_frames, side = native_clip(config)
    except ValueError as error:
        raise ForeignError(f"{name}: {error}") from error
    is_clip = config.model_type == frozen.CLIP
    by_frames = is_clip or ANATOMIES[config.model_type].sees == "frames"

    def load(options: Mapping[str, Any], pretrained: bool = True) -> frozen.Found:
        _check_clip(name, options, (num_frames, side), by_frames)
        try:
            return frozen.hf_network(source, pretrained=pretrained)
        except ValueError as error:
            raise ForeignError(f"{name}: {error}") from error

    def build(*, img_size: int = side, num_frames: int = num_frames) -> Backbone:
        return load({"img_size": img_size, "num_frames": num_frames}, pretrained=False).backbone

    labels = getattr(config, "id2label", None) or {}
    classifies = next(iter(config.architectures or ()), "").endswith("ForVideoClassification")
    architecture = Architecture(
        name=name,
        family="adapter",
        build=build,
        clip=_hf_clip(told, num_frames, side),
        classifier=Classifier(pool="cls") if is_clip else _classifier(config, classifies),
        source=f"transformers {config.model_type}, {source}",
        code_licence="Apache-2.0",
        notes=(*NOTES, *(("frame by frame: time is seen by the head only",) if by_frames else ())),
    )
    names = tuple(str(labels[index]) for index in sorted(labels)) if classifies else ()
    return Foreign(architecture=architecture, load=load, label_names=names)


def _classifier(config: Any, classifies: bool) -> Classifier:
    """The form of a kind; VideoMAE's mean goes through a norm of its own, or its first token is taken without one."""
    if config.model_type == "videomae" and config.use_mean_pooling:
        return Classifier(pool="mean", norm=True, norm_eps=1e-5)  # torch's default, which transformers leaves
    if config.model_type == "videomae" and classifies:
        return Classifier(pool="first")
    return Classifier(pool=ANATOMIES[config.model_type].pool)


def _check_clip(name: str, options: Mapping[str, Any], native: tuple[int, int], by_frames: bool) -> None:
    """Refuse clips other than those a network of transformers is made for.

    Raises:
        ForeignError: naming both.
    """
    frames_now, side = options.get("num_frames", native[0]), options.get("img_size", native[1])
    if (frames_now, side) != native and not (by_frames and side == native[1]):
        raise ForeignError(
            f"{name} is made for clips of {native[0]} frames of {native[1]} px, not {frames_now} frames of {side} px; "
            "its tables are not resized when it is built"
        )


def _hf_clip(told: Mapping[str, Any], num_frames: int, side: int) -> ClipSpec:
    """The clip protocol of a processor's file; ImageNet's statistics where there is none."""
    mean, std = told.get("image_mean") or IMAGENET_MEAN, told.get("image_std") or IMAGENET_STD
    if told.get("offset"):
        # ViViT's processor maps pixels to -1..1 before it applies the statistics; in pixels of 0-1 that is this.
        scale = 255 * told.get("rescale_factor", 1 / 127.5)
        mean, std = [(value + 1) / scale for value in mean], [value / scale for value in std]
    size = told.get("size") or {}
    short_side = size.get("shortest_edge", side) if isinstance(size, Mapping) else size
    return ClipSpec(
        num_frames=num_frames,
        sampling="uniform",
        img_size=side,
        short_side=short_side if isinstance(short_side, int) and short_side > side else None,
        mean=_three(mean),
        std=_three(std),
        interpolation="bicubic" if told.get("resample") == _BICUBIC else "bilinear",
    )


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _timm(name: str, rest: str) -> Foreign:
    """A vision transformer of timm."""
    try:
        config = frames.timm_config(rest)
    except frames.UnknownNetworkError as error:
        raise unknown("network of timm", error.name, error.valid) from None
    side = int(config.get("input_size", (3, 224, 224))[1])
    kind: Literal["bilinear", "bicubic"] = "bilinear" if config.get("interpolation") == "bilinear" else "bicubic"

    def network(options: Mapping[str, Any], pretrained: bool) -> Backbone:
        try:
            chosen = {key: it for key, it in options.items() if key != "num_frames"}
            return frames.timm_network(rest, pretrained=pretrained, **{"img_size": side, **chosen})
        except ValueError as error:
            raise ForeignError(f"{name}: {error}") from error

    def build(*, img_size: int = side, num_frames: int = FRAMES_OF_IMAGES, drop_path_rate: float = 0.0) -> Backbone:
        return network({"img_size": img_size, "drop_path_rate": drop_path_rate}, pretrained=False)

    architecture = Architecture(
        name=name,
        family="adapter",
        build=build,
        clip=ClipSpec(
            num_frames=FRAMES_OF_IMAGES,
            sampling="uniform",
            img_size=side,
            short_side=round(side / config.get("crop_pct", 1.0)),
            mean=_three(config.get("mean", IMAGENET_MEAN)),
            std=_three(config.get("std", IMAGENET_STD)),
            interpolation=kind,
        ),
        classifier=Classifier(pool="mean"),
        source=f"timm {rest}",
        code_licence="Apache-2.0",
        notes=(
            *NOTES,
            "frame by frame: time is seen by the head only",
            *((f"weights: {config['license']}",) if config.get("license") else ()),
        ),
    )
    return Foreign(architecture=architecture, load=lambda options: frozen.Found(network(options, True), {}))
