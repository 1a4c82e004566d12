"""Names to networks: every architecture of `zoo.cards`, and those that a process adds for itself."""

import fnmatch
import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backbones.contract import Backbone, as_pool
from backbones.meta import meta_device
from zoo import cards, foreign
from zoo.card import Architecture, Card, Classifier, ClipSpec
from zoo.checkpoints import Saved, load_checkpoint, read_saved
from zoo.data.labels import find_order
from zoo.model import ModelSpec, VideoModel, build_head, build_predictor
from zoo.options import check_classes, check_options
from zoo.pretrained import head_of, load_pretrained, require_buildable
from zoo.reshape import Inflation, as_inflation
from zoo.suggest import UnknownNameError, natural, unknown
from zoo.weight_files import SPARE_BYTES, CheckpointError, extent

DEFAULT_NUM_CLASSES = 400  # Kinetics-400, on which the families' published classifiers are trained
OWN_OPTIONS = (
    "num_classes",
    "global_pool",
    "drop_rate",
    "pretrained",
    "checkpoint_path",
    "classifier",
    "resize_positions",
    "inflate",
)
PUSHED = ("local-dir:", "hf-hub:")
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
    dataset: str = "",
    task: str = "",
    frames: int | None = None,
    licence: str = "all",
) -> list[str]:
    """Names of architectures, or of released weights, in natural order.

    Args:
        filter: wildcards such as "videomamba_*"; several are alternatives; empty for all.
        pretrained: names `architecture.tag` of released weights instead of architectures.
        exclude_filters: wildcards of names to leave out.
        family: only this family.
        dataset: weights last trained on it, such as "ssv2".
        task: weights for it: "classification", "pretraining", "probe", "detection" or "teacher".
        frames: weights for clips of this many frames.
        licence: "permissive" or "noncommercial" weights; where none is stated for them the code's counts.

    Raises:
        UnknownNameError: for a data set, task or licence that no weights have, with the closest ones.
        ValueError: when architectures are asked for and something is said that only weights have.
    """
    from zoo import catalogue  # which knows this file

    known, weights = architectures(), released()
    if pretrained:
        weights = catalogue.select(weights, dataset=dataset, task=task, frames=frames, licence=licence)
    elif dataset or task or frames is not None or licence != "all":
        raise ValueError("dataset, task, frames and licence choose among released weights: pass pretrained=True")
    names: Iterable[str] = weights if pretrained else known
    wanted, unwanted = _patterns(filter), _patterns(exclude_filters)
    found = [name for name in names if not wanted or _fits(name, wanted)]
    found = [name for name in found if not _fits(name, unwanted)]
    if family:
        found = [it for it in found if family == (catalogue.family_of(weights[it]) if pretrained else known[it].family)]
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
    """Whether `create_model` can build the name, with or without a tag."""
    if foreign.is_foreign(name):
        try:
            return bool(foreign.describe(name))
        except ValueError:
            return False
    known = released()
    return name in architectures() or (name in known and not known[name].missing)


def get_architecture(name: str) -> Architecture:
    """The architecture of a name; a tag is ignored.

    Raises:
        UnknownNameError: when there is none, with the closest names, or why there is none for released weights.
        TypeError: for a name that is no text.
    """
    if not isinstance(name, str):
        raise TypeError(f"a model is named by a text such as 'videomae_base', not by {name!r}")
    if foreign.is_foreign(name):
        return foreign.describe(name).architecture
    if name.startswith(PUSHED):
        way = "name that (its config.json says which), and give its model.safetensors as the checkpoint"
        raise UnknownNameError(f"{name!r} is one model and no architecture: {way}")
    known = architectures()
    stem = name.partition(".")[0]
    if stem in known:
        return known[stem]
    for card in released().values():
        if card.architecture == stem:
            require_buildable(card)
    raise unknown("model", stem, known)


def get_card(name: str) -> Card:
    """The card of released weights by its full name `architecture.tag`.

    Raises:
        UnknownNameError: when the architecture or the tag is unknown.
    """
    known = released()
    if isinstance(name, str) and name in known:
        return known[name]
    architecture = get_architecture(name)
    tags = sorted((entry for entry in known if entry.startswith(f"{architecture.name}.")), key=natural)
    if tags and not has_tag(name):
        raise UnknownNameError(f"{name!r} has several released weights; name the ones you mean: {', '.join(tags)}")
    if tags:
        raise unknown("weights", name, tags)
    raise UnknownNameError(
        f"no released weights of {architecture.name!r} are known to this version of the zoo; "
        f"build it without weights, or give a file of yours as checkpoint_path"
    )


def has_tag(name: str) -> bool:
    """Whether a name is one of released weights, `architecture.tag`."""
    return "." in name and not foreign.is_foreign(name)


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
    architecture, card = _named(name)
    return architecture.build(**{**(card.overrides if card else {}), **_checked(architecture, overrides)})


def _named(name: str, *, pretrained: bool = False) -> tuple[Architecture, Card | None]:
    """What a name stands for.

    Raises:
        UnknownNameError: for an unknown name, and for weights whose network does not exist.
    """
    released_ones = isinstance(name, str) and (has_tag(name) or (pretrained and not foreign.is_foreign(name)))
    card = get_card(name) if released_ones else None
    if card is not None:
        require_buildable(card)
    return get_architecture(name), card


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
    check_options(architecture.name, architecture.build, options)
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
    resize_positions: bool = False,
    inflate: str | None = None,
    **overrides: Any,
) -> VideoModel:
    """A network by name.

    Args:
        name: architecture ("videomae_base"), released weights ("videomae_base.k400_f16"), a network of another library
            ("hf:facebook/dinov2-base", "timm:NAME"), or what `zoo push` wrote ("local-dir:/path", "hf-hub:user/name").
        pretrained: load the released weights; `model.load_report` tells what became of every tensor.
        num_classes: rows of the classifier; 0 for pooled features. None for as many as a card or a file of ours says
            (a file must then bring its classifier) or as weights of another library bring, and 400 without weights.
        checkpoint_path: load this file instead; options that a file of ours records need not be repeated. With
            `pretrained` it stands for the download: it must be the very file of the card, or a folder that has it.
        global_pool: "mean", "cls" or "first" in place of the family's way to pool. Norm in the head (fc_norm) goes with
            the mean only: another way puts the norm back into the backbone, as in the authors' code.
        drop_rate: dropout before the classifier.
        classifier: another form of head altogether, such as an attentive one.
        resize_positions: interpolate learned position tables of a file for another grid or clip length.
        inflate: "center" or "mean" turns image weights into video weights.
        overrides: options of the architecture, such as img_size, num_frames or depth (`zoo info NAME` lists them).

    Raises:
        UnknownNameError: for an unknown name or option, with the closest ones, and for weights that no network takes.
        ValueError: for a value that the option does not take.
        CheckpointError: when the file does not fit; a FetchError when it cannot be had.
    """
    if isinstance(name, str) and name.startswith(PUSHED):
        # The weights come with it, also when nobody asks for them.
        name, path = pushed(name)
        pretrained, checkpoint_path = False, checkpoint_path or path
    architecture, card = _named(name, pretrained=pretrained)
    filled_by = card if pretrained else None
    saved = None
    if checkpoint_path is not None and not filled_by:
        saved = read_description(checkpoint_path, architecture.name)
    classifier = _head_form(classifier or _usual_head(architecture, card, saved, num_classes), global_pool, drop_rate)
    classes = _num_classes(num_classes, card, saved, classifier)
    spec = _spec(architecture, card, saved, classifier, classes, _checked(architecture, overrides, OWN_OPTIONS))
    if pretrained and card is None and checkpoint_path is None:
        return foreign.create(name, spec, num_classes=num_classes)
    model = _unfilled(spec, classes)
    _fill(
        model,
        filled_by,
        local=checkpoint_path,
        new_classes=num_classes is not None,
        resize_positions=resize_positions,
        inflate=as_inflation(inflate),
    )
    return model


def _spec(
    architecture: Architecture,
    card: Card | None,
    saved: Saved | None,
    classifier: Classifier,
    num_classes: int,
    overrides: Mapping[str, Any],
) -> ModelSpec:
    """How a model is made, from what a card and a file of ours say and what the caller wants."""
    # A card says what its file is, against the form that the authors' other classifiers have.
    known = {**classifier.options, **(card.overrides if card else {}), **(saved.overrides if saved else {})}
    options = {**known, **overrides}
    return ModelSpec(
        architecture=architecture,
        classifier=classifier,
        clip=_clip_for((saved or card or architecture).clip, options),
        overrides=options,
        label_names=_label_names(saved, card, num_classes),
    )


def _unfilled(spec: ModelSpec, num_classes: int) -> VideoModel:
    """The network with random weights."""
    backbone = spec.architecture.build(**spec.overrides)
    head = build_head(spec.classifier, backbone.embed_dim, num_classes)
    return VideoModel(backbone, head, spec, build_predictor(spec, backbone))


def read_description(path: str | Path, name: str = "") -> Saved | None:
    """What a file of ours says about its model, of which a model can be made; None for any other file.

    The model is made on the meta device before anybody makes it of memory: a damaged or hostile description may ask for
    any amount of it.

    Args:
        path: the file.
        name: architecture that it must have; empty for any.

    Raises:
        CheckpointError: when it is damaged, when no model can be made of it, or a far larger one than the file holds.
    """
    saved = read_saved(path, name)
    if saved is None:
        return None
    architecture, (tensors, size) = get_architecture(saved.architecture), extent(path)
    try:
        # Every block has tensors in the file. On the meta device a block still costs time.
        if (depth := max(saved.overrides.get("depth", 0), saved.classifier.depth)) > tensors:
            raise ValueError(f"it asks for {depth} blocks, and the file has {tensors} tensors")
        with meta_device():
            spec = _spec(architecture, None, saved, saved.classifier, saved.num_classes, {})
            model = _unfilled(spec, saved.num_classes)
        wanted = sum(it.numel() * it.element_size() for it in (*model.parameters(), *model.buffers()))
        # Twice, because half precision is read into float32.
        if wanted > 2 * size + SPARE_BYTES:
            raise ValueError(f"it asks for a model of {wanted:,} bytes, and the file has {size:,}")
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(path, f"its description of the model is damaged ({error})") from None
    return saved


def _usual_head(
    architecture: Architecture, card: Card | None, saved: Saved | None, num_classes: int | None
) -> Classifier:
    """The form of the head when nobody asks for another."""
    if saved is not None:
        return saved.classifier
    return head_of(card, architecture, num_classes) if card is not None else architecture.classifier


def _num_classes(asked_for: int | None, card: Card | None, saved: Saved | None, classifier: Classifier) -> int:
    """Rows of the classifier.

    Raises:
        ValueError: for a number that cannot be one.
    """
    if asked_for is not None:
        check_classes(asked_for)
        return asked_for
    if saved is not None:
        return saved.num_classes
    if classifier.questions:
        return sum(classifier.questions.values())
    return card.weights.num_classes if card is not None else DEFAULT_NUM_CLASSES


def _fill(
    model: VideoModel,
    card: Card | None,
    *,
    local: str | Path | None,
    new_classes: bool,
    resize_positions: bool,
    inflate: Inflation | None,
) -> None:
    """Load a card's files or a user's, which must bring the classifier when nobody asked for a fresh one."""
    if card is not None:
        backbone = get_card(card.backbone) if card.backbone else None
        load_pretrained(
            model,
            card,
            backbone,
            local=local,
            new_classes=new_classes,
            resize_positions=resize_positions,
            inflate=inflate,
        )
    elif local is not None:
        report = load_checkpoint(model, local, resize_positions=resize_positions, inflate=inflate)
        report.tell(_logger)
        if lacking := [name for name in report.missing if not name.startswith("head.")]:
            reason = f"{len(lacking)} tensors of the model are not in it ({', '.join(lacking[:3])}, ...)"
            raise CheckpointError(local, f"{reason}: load the file that has them too, with zoo.load_checkpoint")
        if report.missing and not new_classes:
            found = "; ".join(sorted(set(report.dropped.values()))) or "none at all"
            reason = f"no classifier for {model.num_classes} classes is in it ({found}); a fine-tuned file has one"
            raise CheckpointError(local, f"{reason}. With num_classes the model gets an untrained one")


def pushed(name: str) -> tuple[str, Path]:
    """Architecture and file of what `zoo push` wrote.

    Args:
        name: "local-dir:" and a folder, or "hf-hub:" and user/name.

    Raises:
        PushError: when there is none.
        CheckpointError: when its weights are damaged.
    """
    from zoo import push  # which knows this file

    path, saved = (push.read_hub if name.startswith(push.HUB_PREFIX) else push.read_folder)(name)
    return saved.architecture, path


def _label_names(saved: Saved | None, card: Card | None, num_classes: int) -> tuple[str, ...]:
    """Names of the classes, where they are known and as many as the classifier has rows."""
    order = find_order(card.labels) if card and not saved else None
    names = saved.label_names if saved else order.names if order else ()
    return names if len(names) == num_classes else ()


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
