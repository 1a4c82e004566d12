"""The table of implementations: adding one is one file beside this one and one row here."""

import difflib
from typing import NamedTuple

from backbones.ops.selective_scan.chunked import chunked_scan
from backbones.ops.selective_scan.contract import Implementation
from backbones.ops.selective_scan.reference import reference_scan


class Row(NamedTuple):
    """One implementation of the selective scan.

    Attributes:
        function: does the work.
        available: whether it runs on this machine.
        reason: what it needs, or why it is not available.
    """

    function: Implementation
    available: bool
    reason: str


def implementations() -> dict[str, Row]:
    """Name -> row, the preferred one first; "auto" takes the first that is available."""
    return {
        "chunked": Row(chunked_scan, True, "torch alone; blocks that fit the cache, recomputed in backward"),
        "reference": Row(reference_scan, True, "torch alone; one token after the other, defines correctness"),
    }


def choose(name: str) -> Implementation:
    """The function behind a name; "auto" is the first available row.

    Raises:
        ValueError: for an unknown name, with the closest ones, and for one that is not available here.
    """
    table = implementations()
    if name == "auto":
        return next(row.function for row in table.values() if row.available)
    if name not in table:
        close = difflib.get_close_matches(name, [*table, "auto"], n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(f"no implementation {name!r} of the selective scan; {meant}there are {['auto', *table]}")
    if not table[name].available:
        raise ValueError(f"implementation {name!r} of the selective scan is not available: {table[name].reason}")
    return table[name].function
