"""Names of classes, in the order of the labels.

An order is identified by its hash: scoring a network on another order of the same names gives chance accuracy without
any error (Kinetics-400 has three orders in public use). Two names are the same when they differ in capitals and
punctuation only, because lists, folders and files of one data set spell their classes differently.

`ORDERS` names the orders that released classifiers use. Some of them nobody could find; they are read from a file of
the user's, given directly or as `NAME.txt` (or `.json`) in the folder that the environment variable ZOO_LABELS names.
"""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from zoo.data import scenes
from zoo.suggest import closest, unknown

FACTS = Path(__file__).parent / "orders"
FOLDER_VARIABLE = "ZOO_LABELS"


class LabelError(ValueError):
    """Class names that are missing or do not go together; the message says which and what to do."""


@dataclass(frozen=True)
class LabelOrder:
    """Class names; label i is called `names[i]`.

    Attributes:
        names: distinct, in order.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        seen: dict[str, int] = {}
        for label, name in enumerate(self.names):
            if not name.strip():
                raise ValueError(f"class {label} has no name")
            if name in seen:
                raise ValueError(f"classes {seen[name]} and {label} are both called {name!r}")
            seen[name] = label
        if not self.names:
            raise ValueError("a label order needs at least one class")

    @property
    def sha256(self) -> str:
        """Hash of the names in order."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()

    def mapping_to(self, other: "LabelOrder") -> list[int]:
        """Label in `other` of each class here.

        Raises:
            LabelError: when the two do not have the same names.
        """
        only_here, only_there = self._lacking(other), other._lacking(self)
        if only_here or only_there:
            raise LabelError(
                f"the orders have different classes: only in the first {only_here[:5]}, only in the second "
                f"{only_there[:5]}"
            )
        return self.places_in(other)

    def places_in(self, larger: "LabelOrder") -> list[int]:
        """Label in `larger` of each class here; it may have further classes.

        Raises:
            LabelError: naming the classes that it does not have, and the most alike that it has.
        """
        if lacking := self._lacking(larger):
            near = closest(lacking[0], larger.names, 1)[0]
            raise LabelError(
                f"{len(lacking)} of {len(self.names)} classes are not among the {len(larger.names)} others: "
                f"{', '.join(repr(name) for name in lacking[:5])}{', ...' if len(lacking) > 5 else ''}; the most like "
                f"{lacking[0]!r} is {near!r}"
            )
        found = [larger.find(name) for name in self.names]
        return [label for label in found if label is not None]

    def find(self, name: str) -> int | None:
        """Label of the class of this name, in whatever spelling; None when there is none, or more than one."""
        label = self._labels.get(name)
        return label if label is not None else self._labels.get(key(name))

    @cached_property
    def _labels(self) -> dict[str, int]:
        """Label of each name as it is written, and of its letters and digits where no other class has the same."""
        keys = [key(name) for name in self.names]
        shared = {name for name, count in Counter(keys).items() if count > 1}
        loose = {name: label for label, name in enumerate(keys) if name not in shared}
        return loose | {name: label for label, name in enumerate(self.names)}

    def _lacking(self, other: "LabelOrder") -> list[str]:
        """Names that the other order does not have, sorted."""
        return sorted(name for name in self.names if other.find(name) is None)


def key(name: str) -> str:
    """What the spellings of a class name have in common: its letters and digits.

    Orders differ in it: "passing American football (in game)" is a folder `passing_American_football_-in_game-`.
    """
    return " ".join(re.findall(r"\w+", name.lower().replace("_", " ")))


def read_order(path: str | os.PathLike[str], *, sha256: str | None = None) -> LabelOrder:
    """A label order from a file: one name per line, or a JSON list of names.

    Args:
        path: the file, UTF-8.
        sha256: hash that the order must have (`LabelOrder.sha256`).

    Raises:
        ValueError: for a file that holds no distinct names, or another order than expected.
    """
    text = Path(path).read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        names = _from_json(text, path)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        order = LabelOrder(tuple(names))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)!r}: {error}") from error
    if sha256 is not None and order.sha256 != sha256:
        raise ValueError(f"{os.fspath(path)!r} holds the order {order.sha256}, expected {sha256}")
    return order


def _from_json(text: str, path: str | os.PathLike[str]) -> Sequence[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)!r} is not valid JSON: {error}") from error
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"{os.fspath(path)!r} must be a list of names")
    return list(names)


DIGITS = {
    "appearance": LabelOrder(tuple(str(digit) for digit in range(10))),
    "motion": LabelOrder(scenes.MOTION_CLASSES),
    "order": LabelOrder(scenes.ORDER_CLASSES),
}


@dataclass(frozen=True, kw_only=True)
class KnownOrder:
    """What is known of an order that released classifiers use.

    Attributes:
        dataset: whose classes they are, as cards call it.
        num_classes: how many.
        source: where the order stands, for a person who looks for it.
        sha256: hash of the order; empty while nobody here has seen the whole of it.
        beginning: whether `NAME_beginning.txt` holds its first names.
    """

    dataset: str
    num_classes: int
    source: str
    sha256: str = ""
    beginning: bool = False


# The group's lists for Kinetics-600, 700 and 710 lie in a cloud drive that UniFormerV2's DATASET.md links to.
_DRIVE = "the data lists that OpenGVLab/UniFormerV2 DATASET.md links to (a cloud drive; no public repository has them)"
ORDERS = {
    "k400_alphabetical": KnownOrder(
        dataset="k400",
        num_classes=400,
        source="torchvision's Kinetics weights; open-mmlab/mmaction2 tools/data/kinetics/label_map_k400.txt; VideoMAE",
        sha256="a8dafb93a1204d4ecfa904f943ce5ee0c62ddeeb1df71aa1f96983fca17d777e",
    ),
    "k400_opengvlab": KnownOrder(
        dataset="k400",
        num_classes=400,
        source="Sense-X/UniFormer video_classification/data_list/k400/kinetics_400_categroies.txt; the demo of "
        "VideoMamba (camenduru/VideoMamba-hf kinetics_class_index.py)",
        sha256="12054c1d688d9841466933ceebc1927766fda98337a90b5c780489d52186ddc4",
    ),
    "k400_vjepa": KnownOrder(
        dataset="k400",
        num_classes=400,
        source="a comment of an author of V-JEPA of 2024-02-20 in https://github.com/facebookresearch/jepa/issues/18",
        beginning=True,
    ),
    "k600_opengvlab": KnownOrder(dataset="k600", num_classes=600, source=_DRIVE),
    "k700_opengvlab": KnownOrder(dataset="k700", num_classes=700, source=_DRIVE),
    "k710_opengvlab": KnownOrder(dataset="k710", num_classes=710, source=_DRIVE),
    "ssv2": KnownOrder(
        dataset="ssv2",
        num_classes=174,
        source="the data set's own labels.json, which is alphabetical; as open-mmlab/mmaction2 "
        "tools/data/sthv2/label_map.txt prints it",
        sha256="a31a2ad624a558d609762c50f4d5d4778246d3ace6717cf24b993b0bf2d9a68b",
    ),
}
# Rows of a Kinetics-710 classifier of OpenGVLab. The first 400 are those of Kinetics-400 (OpenGVLab/unmasked_teacher
# single_modality/run_class_finetuning.py); the lists are OpenGVLab/InternVideo
# InternVideo2/single_modality/k710/label_mixto600.json and label_mixto700.json. Together they name all 710 rows.
_ROWS_OF_K710 = {"k400": "", "k600": "k710_to_k600.json", "k700": "k710_to_k700.json"}


def order(name: str, *, path: str | os.PathLike[str] | None = None) -> LabelOrder:
    """The class order of this name.

    Args:
        name: one of `ORDERS`.
        path: a file with the order, for those that the zoo does not have; it is held against what is known of it.

    Raises:
        UnknownNameError: for a name that is not in `ORDERS`, with the closest ones.
        LabelError: when nobody has given the file yet, saying where the order can be found, and for a file that
            holds something else.
    """
    if name not in ORDERS:
        raise unknown("class order", name, ORDERS)
    known = ORDERS[name]
    if known.sha256 and path is None:
        return _shipped(name)
    found = path if path is not None else _in_folder(name)
    if found is None:
        raise LabelError(
            f"the class order {name!r} is not part of the zoo. It stands in {known.source}: save it with one class a "
            f"line, and put it as {name}.txt into the folder that the environment variable {FOLDER_VARIABLE} names"
        )
    result = read_order(found, sha256=known.sha256 or None)
    if len(result.names) != known.num_classes:
        raise LabelError(f"{os.fspath(found)!r} has {len(result.names)} classes; {name} has {known.num_classes}")
    for label, wanted in enumerate(_beginning(name).names if known.beginning else ()):
        if key(result.names[label]) != key(wanted):
            given = result.names[label]
            raise LabelError(f"{os.fspath(found)!r} is not {name}: class {label} is {wanted!r} there, not {given!r}")
    return result


def find_order(name: str) -> LabelOrder | None:
    """The class order of this name if it is within reach; None for a card without one and for one not found yet.

    Raises:
        UnknownNameError: for a name that is not in `ORDERS`.
        LabelError: for a file in the user's folder that holds something else.
    """
    if not name or (name in ORDERS and not ORDERS[name].sha256 and _in_folder(name) is None):
        return None
    return order(name)


def known_part(name: str) -> LabelOrder | None:
    """The class order of this name, or its first names where only these are known; None where nothing is."""
    return find_order(name) or (_beginning(name) if ORDERS[name].beginning else None)


def rows_of_k710(dataset: str) -> list[int]:
    """Rows of a Kinetics-710 classifier of OpenGVLab, in the order of the labels of another Kinetics of theirs.

    `load_checkpoint(model, path, classes=rows_of_k710("k600"))` makes a Kinetics-600 classifier of it.

    Args:
        dataset: "k400", "k600" or "k700".

    Raises:
        UnknownNameError: for another one.
    """
    if dataset not in _ROWS_OF_K710:
        raise unknown("part of Kinetics-710", dataset, _ROWS_OF_K710)
    file = _ROWS_OF_K710[dataset]
    rows: list[int] = json.loads((FACTS / file).read_text(encoding="utf-8")) if file else list(range(400))
    return rows


@cache
def _shipped(name: str) -> LabelOrder:
    return read_order(FACTS / f"{name}.txt", sha256=ORDERS[name].sha256)


@cache
def _beginning(name: str) -> LabelOrder:
    return read_order(FACTS / f"{name}_beginning.txt")


def _in_folder(name: str) -> Path | None:
    """The user's file of an order."""
    folder = os.environ.get(FOLDER_VARIABLE)
    files = [Path(folder) / f"{name}{ending}" for ending in (".txt", ".json")] if folder else []
    return next((file for file in files if file.is_file()), None)
