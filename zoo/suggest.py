"""What to say about a name that is in no table."""

import difflib
import re
from collections.abc import Iterable


class UnknownNameError(KeyError, ValueError):
    """A name or option that does not exist; the message gives the closest ones.

    It is a KeyError for whoever looks something up and a ValueError for whoever passed an argument.
    """

    def __str__(self) -> str:
        # KeyError would print the representation of the message, with its quotes escaped.
        return Exception.__str__(self)


# Below this likeness (difflib's, 0 to 1) a name is no slip of the pen; tables up to this length are then shown whole.
ALIKE, FEW = 0.5, 30


def closest(name: str, valid: Iterable[str], count: int = 3, *, cutoff: float = 0.0) -> list[str]:
    """The `count` valid names most like `name`, best first, of those that are as like as `cutoff`."""
    names: dict[str, list[str]] = {}
    for it in valid:
        names.setdefault(it.lower(), []).append(it)
    near = difflib.get_close_matches(name.lower(), names, n=count, cutoff=cutoff)
    return [it for lower in near for it in names[lower]][:count]


def unknown(what: str, name: str, valid: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not among the valid ones."""
    names = list(valid)
    if 0 < len(names) <= FEW and not closest(name, names, cutoff=ALIKE):
        return UnknownNameError(f"unknown {what} {name!r}; valid: {', '.join(names)}")
    near = closest(name, names)
    hint = f"; did you mean {' or '.join(repr(it) for it in near)}?" if near else "; there is none at all"
    return UnknownNameError(f"unknown {what} {name!r}{hint}")


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key under which f8 comes before f16."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]
