"""A model filled with the released weights of its card: find or fetch, load strictly, record what was trusted."""

import logging
from dataclasses import replace
from pathlib import Path

from zoo.card import Architecture, Card, Classifier
from zoo.checkpoints import Part, load_parts
from zoo.fetch import fetch
from zoo.load_report import LoadReport
from zoo.model import VideoModel
from zoo.reshape import Inflation
from zoo.suggest import UnknownNameError
from zoo.weight_cache import read_record, remember
from zoo.weight_files import CheckpointError

_logger = logging.getLogger(__name__)


def require_buildable(card: Card) -> None:
    """Refuse a card whose network does not exist.

    Raises:
        UnknownNameError: with the reason that the card gives.
    """
    if card.missing:
        raise UnknownNameError(f"{card.name!r} cannot be built: {card.missing}")


def head_of(card: Card, architecture: Architecture, num_classes: int | None) -> Classifier:
    """The form of the head of a card's model.

    Args:
        card: the released weights.
        architecture: theirs.
        num_classes: what was asked for; None for what the file has.
    """
    if card.classifier is not None:
        return card.classifier
    if card.weights.num_classes == 0 and not num_classes:
        # A file without a classifier is of the pretraining form: its norm stands in the backbone, and a norm or
        # attention of the fine-tuned head would keep random values.
        return Classifier(pool=architecture.classifier.pool)
    return architecture.classifier


def load_pretrained(
    model: VideoModel,
    card: Card,
    backbone: Card | None = None,
    *,
    local: str | Path | None = None,
    resize_positions: bool = False,
    inflate: Inflation | None = None,
    new_classes: bool = False,
) -> LoadReport:
    """Fill a model from the files of its card.

    Args:
        model: unchanged when anything is wrong with any file.
        card: the released weights.
        backbone: of a probe, the card whose file holds the backbone.
        local: file or folder in place of the card's sources; the backbone's file then comes from the folder too, or
            from its own sources when `local` is a file.
        resize_positions: interpolate learned position tables, also where the card does not say so.
        inflate: how image weights become video weights.
        new_classes: the classifier may be a fresh one for other classes than the file's.

    Raises:
        FetchError: when a file cannot be had.
        CheckpointError: when a file is not what the card says.
    """
    wanted = [(card, "head." if backbone else "")]
    if backbone is not None:
        wanted.insert(0, (backbone, "backbone."))
    folder = local if local is not None and Path(local).expanduser().is_dir() else None
    given = [local if it is card else folder for it, _ in wanted]
    paths = [fetch(it.weights, it.name, local=place) for (it, _), place in zip(wanted, given, strict=True)]
    parts = [
        Part(
            source=path,
            prefix=prefix,
            entry=it.weights.entry,
            layout=it.weights.layout,
            resize_positions=resize_positions or it.resize_positions,
            num_classes=it.weights.num_classes if it is card else 0,
        )
        for (it, prefix), path in zip(wanted, paths, strict=True)
    ]
    try:
        report = load_parts(model, parts, inflate=inflate)
        if report.missing and not new_classes:
            raise CheckpointError(paths[-1], f"no classifier for {model.num_classes} classes is in it")
    except CheckpointError as error:
        raise _with_advice(error, [it for it, _ in wanted], paths) from None
    if model.spec is not None:
        model.spec = replace(model.spec, tag=card.tag)
    for (it, _), path, place in zip(wanted, paths, given, strict=True):
        if place is None:  # a file of the user's own may be a copy in another precision; it vouches for nothing
            remember(it.name, path)
    report.tell(_logger)
    return report


def _with_advice(error: CheckpointError, wanted: list[Card], paths: list[Path]) -> CheckpointError:
    """The error, with what else may be wrong when nobody has ever seen this file load."""
    names = [card.name for card, path in zip(wanted, paths, strict=True) if str(path) == error.path]
    if not names or read_record(names[0]) is not None:
        return error
    advice = f"It was taken for {names[0]} and has never been loaded before: if it is another file, move it away"
    return CheckpointError(error.path, f"{error.reason}. {advice}")
