"""Facts about networks and released weights: ClipSpec, Converter, Architecture, Card.

What a family module `zoo/cards/<family>.py` exports
    ARCHITECTURES: tuple[Architecture, ...]   every published size and the pico members, in the order `zoo list` shows
    CARDS: tuple[Card, ...]                   released weights; `()` until their files are known
It imports backbones, heads and this file only, registers nothing as a side effect, and is named once in
`zoo/cards/__init__.py`. Converters are ordinary module constants, named by the architectures that understand them.

Our own state dict has the namespaces `backbone.*`, `head.norm.*` (fc_norm) and `head.linear.*` of a `VideoModel`, and
`decoder.*` for the decoder of a pretraining file (a classifier drops it and says so). A converter translates the
authors' keys into these and back.

Example of a family module::

    FINETUNE = Converter(
        name="VideoMAE fine-tuned",
        needs=("blocks.*.attn.q_bias", "fc_norm.weight"),
        rules=(
            rename("fc_norm.*", "head.norm.*"),
            rename("head.*", "head.linear.*"),
            rename("blocks.*.gamma_1", "backbone.blocks.*.ls1.gamma"),
            join(("blocks.*.attn.q.weight", "blocks.*.attn.k.weight", "blocks.*.attn.v.weight"),
                 "backbone.blocks.*.attn.qkv.weight"),
            cut("pos_embed", ("backbone.cls_pos_embed", "backbone.pos_embed"), sizes=(1, -1), dim=1),
            rename("*", "backbone.*"),
        ),
        drop=("distill_head.*",),
    )
    ARCHITECTURES = (
        Architecture(
            name="videomae_base", family="videomae", build=vit.videomae_base,
            clip=ClipSpec(num_frames=16, sampling="dense", stride=4, img_size=224, clips=5, crops=3),
            classifier=Classifier(pool="mean", norm=True, options={"final_norm": False}),
            converters=(FINETUNE,), source="arXiv 2203.12602; MCG-NJU/VideoMAE", code_licence="CC-BY-NC-4.0",
        ),
    )
    CARDS: tuple[Card, ...] = ()
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from backbones.contract import Backbone, Pool, as_pool
from backbones.tokenizer import Tokenizer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """How a video becomes the clips a network was trained on and is evaluated with.

    Attributes:
        num_frames: frames of a clip.
        sampling: "dense" takes every `stride`-th frame of a window, "strided" likewise of a window that begins at a
            multiple of `stride` (VideoMAE's test), "uniform" one frame from each of `num_frames`
            equal segments of the whole video, "segments" likewise by Something-Something's rule of the segments'
            starts and middles, "vjepa" windows of `num_frames * stride` frames by V-JEPA's rule (see
            `zoo.data.sampling`), which moves crops by whole pixels too.
        stride: frames between sampled frames; used by "dense", "strided" and "vjepa" only.
        img_size: side of the square crop, in pixels.
        short_side: short side after resizing, in pixels; None for `img_size`.
        mean: per channel, for pixels in 0-1.
        std: per channel, for pixels in 0-1.
        interpolation: how frames are resized.
        channel_order: "rgb", or "bgr" for networks trained on frames as OpenCV reads them.
        clips: temporal clips per video in the reported evaluation.
        crops: spatial crops per clip in the reported evaluation, evenly spaced along the long side.
        flip: horizontal flips are allowed in training (False where left and right are part of the label).
    """

    num_frames: int
    sampling: Literal["dense", "strided", "uniform", "segments", "vjepa"]
    img_size: int
    stride: int = 1
    short_side: int | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    clips: int = 1
    crops: int = 1
    flip: bool = True

    def __post_init__(self) -> None:
        for name in ("num_frames", "img_size", "stride", "clips", "crops"):
            if getattr(self, name) < 1:
                raise ValueError(f"ClipSpec.{name} must be at least 1, got {getattr(self, name)}")
        for name, valid in _CHOICES.items():
            if getattr(self, name) not in valid:
                raise ValueError(f"ClipSpec.{name} must be one of {valid}, got {getattr(self, name)!r}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"ClipSpec.{name} must hold 3 numbers, one per channel, got {getattr(self, name)}")
        if self.short_side is not None and self.short_side < self.img_size:
            raise ValueError(f"a crop of {self.img_size} px does not fit a short side of {self.short_side} px")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClipSpec":
        """Inverse of `to_dict`, also after a trip through JSON.

        Raises:
            ValueError: for a field that does not exist.
        """
        names = {entry.name for entry in fields(cls)}
        if unknown := sorted(set(values) - names):
            raise ValueError(f"ClipSpec has no field {unknown[0]!r}; its fields are {sorted(names)}")
        # JSON has no tuples.
        plain: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in values.items()}
        return cls(**plain)


_CHOICES: dict[str, tuple[str, ...]] = {
    "sampling": ("dense", "strided", "uniform", "segments", "vjepa"),
    "interpolation": ("bilinear", "bicubic"),
    "channel_order": ("rgb", "bgr"),
}


class Rule(NamedTuple):
    """One line of a converter: tensors named `theirs` become tensors named `ours`.

    `*` in a template stands for any text and takes the same value in all templates of the rule. `forward` gets the
    tensors in the order of `theirs` and returns those of `ours`; `backward` is its exact inverse.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    forward: Callable[[list[Tensor]], list[Tensor]]
    backward: Callable[[list[Tensor]], list[Tensor]]


def rename(theirs: str, ours: str) -> Rule:
    """The same tensor under another name."""
    return Rule((theirs,), (ours,), list, list)


def join(theirs: tuple[str, ...], ours: str, *, dim: int = 0) -> Rule:
    """Several tensors of equal shape become one, concatenated along `dim` (separate q, k and v projections)."""

    def forward(parts: list[Tensor]) -> list[Tensor]:
        if len({part.shape for part in parts}) != 1:
            raise ValueError("they should have equal shapes")
        return [torch.cat(parts, dim)]

    return Rule(theirs, (ours,), forward, lambda whole: list(whole[0].chunk(len(theirs), dim)))


def cut(theirs: str, ours: tuple[str, ...], *, sizes: tuple[int, ...], dim: int = 0) -> Rule:
    """One tensor becomes several; one of `sizes` may be -1 for the rest (class row and patch rows of a table)."""

    def forward(whole: list[Tensor]) -> list[Tensor]:
        rest = whole[0].shape[dim] - sum(size for size in sizes if size >= 0)
        return [part.contiguous() for part in whole[0].split([rest if size < 0 else size for size in sizes], dim)]

    return Rule((theirs,), ours, forward, lambda parts: [torch.cat(parts, dim)])


def unsqueeze(theirs: str, ours: str, *, dim: int) -> Rule:
    """Our tensor has one more axis, of size 1 (image kernels as tubelets of one frame)."""
    return Rule((theirs,), (ours,), lambda parts: [parts[0].unsqueeze(dim)], lambda parts: [parts[0].squeeze(dim)])


class Converted(NamedTuple):
    """Result of a conversion.

    Attributes:
        state: tensors under their new names.
        dropped: keys that have no place in our models, by the converter's own statement.
        unexpected: keys that no rule knows.
    """

    state: State
    dropped: list[str]
    unexpected: list[str]


@dataclass(frozen=True, kw_only=True)
class Converter:
    """A layout of official files, and the way between it and our state dict. The first rule that fits a key wins.

    Attributes:
        name: what messages call the layout, such as "VideoMAE fine-tuned".
        needs: templates of keys that identify the layout; each must fit at least one key.
        lacks: templates that must fit no key.
        rules: exact both ways.
        drop: templates of their keys that have no place in our models.
        optional: templates of our keys that a model may lack (`decoder.*`, and `backbone.norm.*` of a pretraining file
            read into the fine-tuning form); every other leftover is an error.
        fills: templates of our keys that a file of this layout fills, such as `head.*` for a probe, whose backbone has
            a file of its own; everything else keeps its values. Empty for all of the model.
        classifier: fields that the `Classifier` of the model must have for this layout because the shapes do not tell;
            the number of heads may be "encoder", as many as the encoder has.
    """

    name: str
    needs: tuple[str, ...]
    rules: tuple[Rule, ...]
    lacks: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    optional: tuple[str, ...] = ("decoder.*",)
    fills: tuple[str, ...] = ()
    classifier: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, keys: list[str]) -> bool:
        """Whether a file with these keys has this layout."""
        found = [any(fits(template, key) for key in keys) for template in (*self.needs, *self.lacks)]
        return all(found[: len(self.needs)]) and not any(found[len(self.needs) :])

    def to_zoo(self, state: Mapping[str, Tensor]) -> Converted:
        """The authors' keys to ours.

        Raises:
            ValueError: when a tensor that belongs to a group is absent, or two tensors claim one name.
        """
        dropped = [key for key in state if any(fits(template, key) for template in self.drop)]
        rest = {key: tensor for key, tensor in state.items() if key not in set(dropped)}
        return _translate(rest, [(rule.theirs, rule.ours, rule.forward) for rule in self.rules], dropped)

    def to_official(self, state: Mapping[str, Tensor]) -> Converted:
        """Our keys to the authors'.

        Raises:
            ValueError: when a tensor that belongs to a group is absent, or two tensors claim one name.
        """
        return _translate(dict(state), [(rule.ours, rule.theirs, rule.backward) for rule in self.rules], [])


def stars(template: str, key: str) -> tuple[str, ...] | None:
    """What the stars of `template` stand for in `key`; None when the key does not fit."""
    match = _pattern(template).fullmatch(key)
    return match.groups() if match else None


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\*", "(.+?)"))


def fits(template: str, key: str) -> bool:
    """Whether `key` fits `template`."""
    return stars(template, key) is not None


def fill(template: str, values: tuple[str, ...]) -> str:
    """The template with its stars replaced, in order."""
    for value in values:
        template = template.replace("*", value, 1)
    return template


_Step = tuple[tuple[str, ...], tuple[str, ...], Callable[[list[Tensor]], list[Tensor]]]


def _translate(state: State, steps: list[_Step], dropped: list[str]) -> Converted:
    """Apply the first fitting step to every key, whole groups at a time."""
    groups: dict[tuple[int, tuple[str, ...]], dict[str, Tensor]] = {}
    unexpected = []
    for key, tensor in state.items():
        if place := _place(key, steps):
            groups.setdefault(place, {})[key] = tensor
        else:
            unexpected.append(key)
    converted: State = {}
    for (index, values), parts in groups.items():
        sources, targets, transform = steps[index]
        names = [fill(source, values) for source in sources]
        if absent := [name for name in names if name not in parts]:
            raise ValueError(f"{sorted(parts)[0]!r} is there but {absent[0]!r}, which belongs to it, is not")
        results = _transformed(transform, names, parts)
        for target, tensor in zip(targets, results, strict=True):
            name = fill(target, values)
            if name in converted:
                raise ValueError(f"two tensors claim the name {name!r}; one of them is {names[0]!r}")
            converted[name] = tensor
    return Converted(converted, dropped, unexpected)


def _transformed(
    transform: Callable[[list[Tensor]], list[Tensor]], names: list[str], parts: Mapping[str, Tensor]
) -> list[Tensor]:
    """The tensors of a rule's other side.

    Raises:
        ValueError: naming tensors that the rule cannot work on because of their shapes.
    """
    try:
        return transform([parts[name] for name in names])
    except (ValueError, RuntimeError, IndexError) as error:
        shapes = ", ".join(f"{name!r} {list(parts[name].shape)}" for name in names)
        raise ValueError(f"wrong shapes of {shapes}: {error}") from None


def _place(key: str, steps: list[_Step]) -> tuple[int, tuple[str, ...]] | None:
    """Index of the first step that fits `key`, and what the stars stand for."""
    for index, (sources, _, _) in enumerate(steps):
        for source in sources:
            if (values := stars(source, key)) is not None:
                return index, values
    return None


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """How the family's own classifiers turn features into class scores.

    Attributes:
        pool: "mean" of patch tokens, "cls" or "first" token.
        norm: layer norm between pooling and the linear layer (fc_norm).
        dropout: rate before the linear layer.
        norm_eps: epsilon of that norm.
        options: builder options of the classifier's backbone where they differ from the pretraining form, such as
            `{"final_norm": False}`.
        kind: "linear" or "attentive"; the latter pools by attention and ignores `pool`, `norm` and `dropout`.
        num_heads: heads of an attentive classifier; must divide the width.
        depth: blocks of an attentive classifier.
        blocks: where its other blocks work, "tokens" or "query", see `heads.attentive.AttentivePooler`.
        attention_eps: epsilon of its layer norms: 1e-5 in V-JEPA's probes, 1e-6 in transformers' classifiers.
        layers: blocks whose normed outputs the head sees, joined along the tokens; empty for the last one.
        questions: number of classes by the name of the question, in the order of the queries, for an attentive head
            with one query and one linear layer per question; empty for one question without a name.
        fps: frames per second of the clips of a head that also sees predicted tokens of what comes after them; 0 for a
            head that sees the clip only. The predictor is the architecture's.
        seconds: how far such a head looks ahead.
    """

    pool: Pool
    norm: bool = False
    dropout: float = 0.0
    norm_eps: float = 1e-6
    options: Mapping[str, Any] = field(default_factory=dict)
    kind: Literal["linear", "attentive"] = "linear"
    num_heads: int = 16
    depth: int = 1
    blocks: Literal["tokens", "query"] = "tokens"
    attention_eps: float = 1e-5
    layers: tuple[int, ...] = ()
    questions: Mapping[str, int] = field(default_factory=dict)
    fps: int = 0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        as_pool(self.pool)
        if self.kind not in ("linear", "attentive"):
            raise ValueError(f"unknown kind of classifier {self.kind!r}; choose 'linear' or 'attentive'")
        if self.questions and self.kind != "attentive":
            raise ValueError(f"questions {list(self.questions)} need a classifier of kind 'attentive'")
        if self.fps < 0 or self.seconds < 0:
            raise ValueError(f"fps and seconds cannot be negative, got {self.fps} and {self.seconds}")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network by name, without weights.

    Attributes:
        name: snake case, such as "videomae_base"; frames belong to the clip, not to the name.
        family: what `zoo list` groups by, such as "videomae".
        build: builder whose parameters are keyword-only and all have defaults; they are the valid overrides.
        clip: default clip protocol; `num_frames` and `img_size` equal the builder's defaults.
        classifier: form of the family's own classifiers.
        parameters: number of values in the backbone of such a classifier, which `zoo list` shows without building it; 0
            has it built and counted.
        converters: official layouts that this architecture's weights come in.
        objective: name of the family's own pretraining objective on video (`zoo.objectives.matrix.OBJECTIVES`); "none"
            where the authors pretrained on images or not at all.
        source: paper and repository.
        code_licence: licence of the authors' code.
        shrink: overrides that make a small member of the same shape for tests; empty for a pico member.
        notes: what `zoo info` should tell.
        predictor: arguments of `heads.masked_decoder.MaskedDecoder` for the released predictor, without widths of its
            input and output; empty for none.
        tokenizer: builder of the video tokenizer whose encoder `build` makes, for `zoo.tokenizers`; None for a network
            that is no part of one.
    """

    name: str
    family: str
    build: Callable[..., Backbone]
    clip: ClipSpec
    classifier: Classifier
    parameters: int = 0
    converters: tuple[Converter, ...] = ()
    objective: str = "none"
    source: str = ""
    code_licence: str = ""
    shrink: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    predictor: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Callable[..., Tokenizer] | None = None


class Source(NamedTuple):
    """Where a file can be had: a Hugging Face repository and file, or a URL."""

    url: str = ""
    hf_repo: str = ""
    hf_file: str = ""
    hf_revision: str = "main"


class Reported(NamedTuple):
    """A printed number and where it is printed."""

    dataset: str
    metric: str
    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A released file.

    Attributes:
        sources: in order of preference.
        layout: name of the converter that reads the file, one of the architecture's.
        num_classes: rows of the classifier in the file; 0 for none.
        entry: which dictionary of the file holds the weights, such as "target_encoder" or "classifiers.0"; empty where
            there is one only.
        sha256: of the file; None while unknown: the first verified download then records it in the user's cache.
        md5_prefix: beginning of the MD5 that the authors print; empty for none.
        code_licence: of the authors' repository.
        weight_licence: of the weights, as far as stated.
    """

    sources: tuple[Source, ...]
    layout: str = ""
    num_classes: int = 0
    entry: str = ""
    sha256: str | None = None
    md5_prefix: str = ""
    code_licence: str = ""
    weight_licence: str = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Released weights of an architecture with the whole protocol around them.

    Attributes:
        architecture: name of the architecture.
        tag: which weights, such as "k400_mask_ft_f64_res224".
        weights: the file.
        overrides: options of the architecture that the file needs.
        classifier: form of the head in the file; None for the architecture's own, or for a file without a head.
        clip: clip protocol of the reported numbers.
        dataset: what the file was last trained on, as `zoo list --dataset` knows it ("k400", "ssv2", "in1k", ...).
        task: "classification", "pretraining", "probe" (a head on a frozen backbone), "detection" or "teacher".
        backbone: for a probe, name of the card whose file holds the backbone.
        labels: name of the class order (`zoo.data.labels`); empty for weights without a classifier.
        resize_positions: the file's position tables are for other clips and must be interpolated, as a note explains.
        reported: printed numbers.
        notes: known conflicts between paper, tables and files.
        missing: why no network of the zoo can take these weights yet; empty when one can. `architecture` then need not
            exist, `zoo info` works, and `create_model` refuses with this reason.
    """

    architecture: str
    tag: str
    weights: Weights
    clip: ClipSpec
    overrides: Mapping[str, Any] = field(default_factory=dict)
    classifier: Classifier | None = None
    dataset: str = ""
    task: str = "classification"
    backbone: str = ""
    labels: str = ""
    resize_positions: bool = False
    reported: tuple[Reported, ...] = ()
    notes: tuple[str, ...] = ()
    missing: str = ""

    @property
    def name(self) -> str:
        """`architecture.tag`, timm's scheme."""
        return f"{self.architecture}.{self.tag}"
