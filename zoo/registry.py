"""Names to networks: every architecture of `zoo.cards`, and those that a process adds for itself."""

import fnmatch
import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backbones.contract import Backbone, as_pool
from zoo import cards
from zoo.card import Architecture, Card, Classifier, ClipSpec
from zoo.checkpoints import load_checkpoint, read_saved
from zoo.model import ModelSpec, VideoModel, build_head, build_predictor
from zoo.options import check_classes, check_options
from zoo.suggest import UnknownNameError, natural, unknown
from zoo.weight_files import CheckpointError

DEFAULT_NUM_CLASSES = 400  # Kinetics-400, on which the families' published classifiers are trained
OWN_OPTIONS = ("num_classes", "global_pool", "drop_rate", "pretrained", "checkpoint_path")
_logger = logging.getLogger(__name__)
_added: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Make an architecture available by name in this process.

    Raises:
        ValueError: when the name is taken.
    """
    if architecture.name in architectures():
        raise ValueError(f"there is already an architecture called {architecture.name!r}")
    _added[architecture.name] = architecture


def architectures() -> dict[str, Architecture]:
    """Every architecture by name, in the order of the cards."""
    return {entry.name: entry for entry in (*cards.ARCHITECTURES, *_added.values())}


def released() -> dict[str, Card]:
    """Every card of released weights by its full name `architecture.tag`."""
    return {card.name: card for card in cards.CARDS}


def list_models(
    filter: str | Iterable[str] = "",  # noqa: A002 - timm's name
    *,
    pretrained: bool = False,
    exclude_filters: str | Iterable[str] = "",
    family: str = "",
) -> list[str]:
    """Names of architectures, or of released weights, in natural order.

    Args:
        filter: wildcards such as "videomamba_*"; several are alternatives; empty for all.
        pretrained: names `architecture.tag` of released weights instead of architectures.
        exclude_filters: wildcards of names to leave out.
        family: only this family.
    """
    known = architectures()
    names = released() if pretrained else known
    wanted, unwanted = _patterns(filter), _patterns(exclude_filters)
    found = [name for name in names if not wanted or _fits(name, wanted)]
    found = [name for name in found if not _fits(name, unwanted)]
    if family:
        # The network of a card need not exist yet.
        stems = {name: known.get(name.partition(".")[0]) for name in found}
        found = [name for name, entry in stems.items() if entry is not None and entry.family == family]
    return sorted(found, key=natural)


def list_pretrained(
    filter: str | Iterable[str] = "",  # noqa: A002 - timm's name
    *,
    exclude_filters: str | Iterable[str] = "",
) -> list[str]:
    """Names of released weights; see `list_models`."""
    return list_models(filter, pretrained=True, exclude_filters=exclude_filters)


def _patterns(filters: str | Iterable[str]) -> list[str]:
    return [it for it in ([filters] if isinstance(filters, str) else filters) if it]


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_model(name: str) -> bool:
    """Whether `create_model` knows the name, with or without a tag."""
    return name in architectures() or name in released()


def get_architecture(name: str) -> Architecture:
    """The architecture of a name; a tag is ignored.

    Raises:
        UnknownNameError: when there is none, with the closest names.
        TypeError: for a name that is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a model is named by a text such as 'videomae_base', not by {name!r}")
    known = architectures()
    stem = name.partition(".")[0]
    if stem not in known:
        if reasons := [card.missing for card in released().values() if stem == card.architecture]:
            raise UnknownNameError(f"no network {stem!r} can be built yet: {reasons[0]}")
        raise unknown("model", stem, known)
    return known[stem]


def get_card(name: str) -> Card:
    """The card of released weights by its full name `architecture.tag`.

    Raises:
        UnknownNameError: when the architecture or the tag is unknown.
    """
    architecture, known = get_architecture(name), released()
    if name in known:
        return known[name]
    tags = [entry for entry in known if entry.startswith(f"{architecture.name}.")]
    if tags:
        raise unknown("weights", name, tags)
    raise UnknownNameError(
        f"no released weights of {architecture.name!r} are known to this version of the zoo; "
        f"build it without weights, or give a file of yours as checkpoint_path"
    )


def builder_options(architecture: Architecture) -> dict[str, Any]:
    """Every override of an architecture and its default."""
    return {name: entry.default for name, entry in inspect.signature(architecture.build).parameters.items()}


def create_backbone(name: str, **overrides: Any) -> Backbone:
    """A backbone without a head, in its pretraining form and with random weights.

    Args:
        name: architecture, such as "videomae_base"; a tag brings the options of its weights.
        overrides: options of its builder, such as `img_size` or `depth`; None leaves the default.

    Raises:
        UnknownNameError: for an unknown name or option, with the closest ones.
        ValueError: for a value that the option does not take.
    """
    architecture = get_architecture(name)
    known = get_card(name).overrides if "." in name else {}
    return architecture.build(**{**known, **_checked(architecture, overrides)})


def _checked(architecture: Architecture, overrides: Mapping[str, Any], also: Iterable[str] = ()) -> dict[str, Any]:
    """The overrides that are not None.

    Args:
        architecture: whose options they are.
        overrides: option -> value.
        also: further options of the caller, to suggest.

    Raises:
        UnknownNameError: for an option that the builder does not have.
        ValueError: for a value that it does not take.
    """
    valid = builder_options(architecture)
    for name in overrides:
        if name not in valid:
            raise unknown(f"option of {architecture.name}", name, [*valid, *also])
    options = {name: value for name, value in overrides.items() if value is not None}
    check_options(architecture, options)
    return options


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    num_classes: int | None = None,
    checkpoint_path: str | Path | None = None,
    global_pool: str | None = None,
    drop_rate: float | None = None,
    classifier: Classifier | None = None,
    **overrides: Any,
) -> VideoModel:
    """A network by name.

    Args:
        name: architecture, such as "videomae_base", or released weights, such as "videomae_base.k400_f16".
        pretrained: load the released weights.
        num_classes: rows of the classifier; 0 for pooled features. None for as many as a card or a file of ours says,
            or 400; a file must then bring its classifier.
        checkpoint_path: load this file instead; options that a file of ours records need not be repeated.
        global_pool: "mean", "cls" or "first" in place of the family's way to pool. Norm in the head (fc_norm) goes with
            the mean only: another way puts the norm back into the backbone, as in the authors' code.
        drop_rate: dropout before the classifier.
        classifier: another form of head altogether, such as an attentive one.
        overrides: options of the architecture: img_size, num_frames, tubelet_size, patch_size, embed_dim, depth,
            num_heads, drop_path_rate, ... (`zoo info NAME` lists them).

    Raises:
        UnknownNameError: for an unknown name or option, with the closest ones.
        ValueError: for a value that the option does not take.
        CheckpointError: when the file does not fit.
    """
    architecture, card = get_architecture(name), get_card(name) if pretrained or "." in name else None
    if pretrained and checkpoint_path is None:
        raise UnknownNameError(f"the weights of {name!r} cannot be fetched yet; give the file as checkpoint_path")
    saved = read_saved(checkpoint_path, architecture.name) if checkpoint_path is not None else None
    published = (card.classifier if card else None) or architecture.classifier
    classifier = classifier or (saved.classifier if saved else published)
    classifier = _head_form(classifier, global_pool, drop_rate)
    known = {**(card.overrides if card else {}), **classifier.options, **(saved.overrides if saved else {})}
    options = {**known, **_checked(architecture, overrides, OWN_OPTIONS)}
    classes_asked_for = num_classes is not None
    if num_classes is not None:
        check_classes(num_classes)
    else:
        num_classes = saved.num_classes if saved else _default_classes(classifier, card)
    spec = ModelSpec(
        architecture=architecture,
        classifier=classifier,
        clip=_clip_for(saved.clip if saved else card.clip if card else architecture.clip, options),
        overrides=options,
        label_names=saved.label_names if saved and len(saved.label_names) == num_classes else (),
    )
    backbone = architecture.build(**options)
    head = build_head(classifier, backbone.embed_dim, num_classes)
    model = VideoModel(backbone, head, spec, build_predictor(spec, backbone))
    if checkpoint_path is not None:
        _fill(model, checkpoint_path, needs_classifier=not classes_asked_for)
    return model


def _default_classes(classifier: Classifier, card: Card | None) -> int:
    """Classes of a head when nobody asks for a number."""
    if classifier.questions:
        return sum(classifier.questions.values())
    return card.weights.num_classes if card else DEFAULT_NUM_CLASSES


def _fill(model: VideoModel, path: str | Path, *, needs_classifier: bool) -> None:
    """Load a file, which must bring the classifier when nobody said how many classes a fresh one should have."""
    report = load_checkpoint(model, path)
    _logger.info("%s", report)
    if lacking := [name for name in report.missing if not name.startswith("head.")]:
        reason = f"{len(lacking)} tensors of the model are not in it ({', '.join(lacking[:3])}, ...)"
        raise CheckpointError(path, f"{reason}: load the file that has them too, with zoo.load_checkpoint")
    if report.missing and needs_classifier:
        found = "; ".join(sorted(set(report.dropped.values()))) or "none at all"
        reason = f"no classifier for {model.num_classes} classes is in it ({found}); a fine-tuned file has one"
        raise CheckpointError(path, f"{reason}. With num_classes the model gets an untrained one")


def _head_form(classifier: Classifier, global_pool: str | None, drop_rate: float | None) -> Classifier:
    """The classifier with the wished changes."""
    if global_pool is not None and global_pool != classifier.pool:
        classifier = replace(classifier, pool=as_pool(global_pool))
        if global_pool != "mean":
            classifier = replace(classifier, norm=False, options={})
    return classifier if drop_rate is None else replace(classifier, dropout=drop_rate)


def _clip_for(clip: ClipSpec, options: Mapping[str, Any]) -> ClipSpec:
    """The clip protocol at the overridden size; a square model only has one size."""
    num_frames, img_size = options.get("num_frames", clip.num_frames), options.get("img_size", clip.img_size)
    if not isinstance(img_size, int):
        img_size = min(img_size)
    if img_size == clip.img_size:
        return replace(clip, num_frames=num_frames)
    # The ratio of short side and crop is what the protocol means.
    short_side = round(clip.short_side * img_size / clip.img_size) if clip.short_side else None
    return replace(clip, num_frames=num_frames, img_size=img_size, short_side=short_side)
