"""Names of classes, in the order of the labels.

An order is identified by its hash: scoring a network on another order of the same names gives chance accuracy without
any error (Kinetics-400 has three orders in public use).
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.data import scenes


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
            ValueError: when the two do not have the same names.
        """
        only_here, only_there = set(self.names) - set(other.names), set(other.names) - set(self.names)
        if only_here or only_there:
            raise ValueError(
                f"the orders have different classes: only in the first {sorted(only_here)[:5]}, only in the second "
                f"{sorted(only_there)[:5]}"
            )
        place = {name: label for label, name in enumerate(other.names)}
        return [place[name] for name in self.names]


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
