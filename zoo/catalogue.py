"""Released weights as facts: which there are, what each is, where it comes from. Builds no network.

`zoo list --pretrained` and `zoo info CARD` read this; it works for cards whose architecture does not exist too.
"""

import re
from dataclasses import asdict
from typing import Any

from zoo.card import Card, Reported
from zoo.data.labels import ORDERS, find_order
from zoo.registry import architectures
from zoo.suggest import unknown

LICENCES = ("all", "permissive", "noncommercial")
# What may be sold: the licences of the registry's repositories that ask for no more than to be named.
_PERMISSIVE = re.compile(r"(MIT|Apache|BSD|ISC|CC0|CC-BY-4|CC-BY-3|Unlicense|public domain)\b", re.IGNORECASE)
_NONCOMMERCIAL = re.compile(r"\bNC\b|non-?commercial|research[- ]only|academic", re.IGNORECASE)


def licence_kind(text: str) -> str:
    """What a licence allows: "permissive", "noncommercial", or "unknown" for everything else and for none."""
    if _NONCOMMERCIAL.search(text):
        return "noncommercial"
    return "permissive" if _PERMISSIVE.match(text.strip()) else "unknown"


def licence_of(card: Card) -> tuple[str, str]:
    """Licence under which the weights may be used, and whose it is: "weights", or "code" where none is stated."""
    if card.weights.weight_licence:
        return card.weights.weight_licence, "weights"
    return code_licence(card), "code"


def code_licence(card: Card) -> str:
    """Licence of the authors' repository."""
    architecture = architectures().get(card.architecture)
    return card.weights.code_licence or (architecture.code_licence if architecture else "")


def family_of(card: Card) -> str:
    """Family of the card's architecture; for one that does not exist, the family whose name it begins with."""
    known = architectures()
    if card.architecture in known:
        return known[card.architecture].family
    families = {it.family for it in known.values() if f"{card.architecture}_".startswith(f"{it.family}_")}
    return max(families, key=len, default=card.architecture.partition("_")[0])


def select(
    cards: dict[str, Card],
    *,
    dataset: str = "",
    frames: int | None = None,
    task: str = "",
    licence: str = "all",
) -> dict[str, Card]:
    """The cards that fit all of these.

    Args:
        cards: by name.
        dataset: what they were last trained on.
        frames: of a clip.
        task: such as "classification".
        licence: "permissive" or "noncommercial", by the licence of the weights; one that is not known is neither.

    Raises:
        UnknownNameError: for a data set, task or licence that no card has, with the closest ones.
    """
    for what, wanted, valid in (
        ("data set", dataset, {card.dataset for card in cards.values()}),
        ("task", task, {card.task for card in cards.values()}),
        ("kind of licence", licence, set(LICENCES)),
    ):
        if wanted and wanted not in valid:
            raise unknown(what, wanted, sorted(valid - {""}))
    return {
        name: card
        for name, card in cards.items()
        if dataset in ("", card.dataset)
        and task in ("", card.task)
        and frames in (None, card.clip.num_frames)
        and licence in ("all", licence_kind(licence_of(card)[0]))
    }


def headline(card: Card) -> Reported | None:
    """The reported number that stands for a card: the first one on its own data set, or else the first."""
    own = [it for it in card.reported if it.dataset.lower().replace("-", "") == card.dataset.lower()]
    return next(iter(own or card.reported), None)


def record(card: Card) -> dict[str, Any]:
    """Everything that is known of a card, as plain values for JSON."""
    weights, (licence, whose) = card.weights, licence_of(card)
    return {
        "name": card.name,
        "architecture": card.architecture,
        "tag": card.tag,
        "family": family_of(card),
        "dataset": card.dataset,
        "task": card.task,
        "clip": card.clip.to_dict(),
        "overrides": {key: list(it) if isinstance(it, tuple) else it for key, it in card.overrides.items()},
        "backbone": card.backbone,
        "sources": [source._asdict() for source in weights.sources],
        "layout": weights.layout,
        "entry": weights.entry,
        "num_classes": weights.num_classes,
        "sha256": weights.sha256,
        "md5_prefix": weights.md5_prefix,
        "resize_positions": card.resize_positions,
        "classifier": asdict(card.classifier) if card.classifier else None,
        "labels": _labels(card),
        "code_licence": code_licence(card),
        "weight_licence": weights.weight_licence,
        "licence": {"text": licence, "of": whose, "kind": licence_kind(licence)},
        "reported": [it._asdict() for it in card.reported],
        "notes": list(card.notes),
        "missing": card.missing,
    }


def _labels(card: Card) -> dict[str, Any] | None:
    """The class order: its name, where it stands, and its names' hash where they are within reach."""
    if not card.labels:
        return None
    if card.labels not in ORDERS:
        return {"name": card.labels, "source": "", "sha256": None}
    found = find_order(card.labels)
    return {"name": card.labels, "source": ORDERS[card.labels].source, "sha256": found.sha256 if found else None}
