"""The table of implementations: adding one is one file beside this one and one row here."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

import backbones.ops.selective_scan.fused as fused
import backbones.ops.selective_scan.mamba_ssm as mamba_ssm
from backbones.ops.selective_scan.chunked import chunked_scan
from backbones.ops.selective_scan.contract import Implementation
from backbones.ops.selective_scan.reference import reference_scan


def _anything(u: Tensor) -> bool:
    return True


class Row(NamedTuple):
    """One implementation of the selective scan.

    Attributes:
        function: does the work.
        available: whether it runs on this machine.
        reason: what it needs, or why it is not available.
        takes: whether "auto" may give it an input u: its device and dtype.
    """

    function: Implementation
    available: bool
    reason: str
    takes: Callable[[Tensor], bool] = _anything


def implementations() -> dict[str, Row]:
    """Name -> row, the preferred one first; "auto" takes the first that is available and takes the input."""
    no_triton, no_mamba_ssm = fused.unusable(), mamba_ssm.unusable()
    return {
        "triton": Row(
            fused.triton_scan,
            no_triton is None,
            no_triton or "a CUDA device; both directions, sum and gate in one launch, recomputed in backward",
            fused.takes,
        ),
        "chunked": Row(chunked_scan, True, "torch alone; blocks that fit the cache, recomputed in backward"),
        "mamba_ssm": Row(
            mamba_ssm.mamba_ssm_scan,
            no_mamba_ssm is None,
            no_mamba_ssm or "mamba-ssm's CUDA kernel; one call per direction, with copies that flip",
            mamba_ssm.takes,
        ),
        "reference": Row(reference_scan, True, "torch alone; one token after the other, defines correctness"),
    }


def choose(name: str, u: Tensor | None = None) -> Implementation:
    """The function behind a name; "auto" is the first available row that takes u.

    Args:
        name: a name from `implementations()`, or "auto".
        u: the input to scan; None only checks the name.

    Raises:
        ValueError: for an unknown name, with the closest ones, and for one that is not available here.
    """
    table = implementations()
    if name == "auto":
        return next(row.function for row in table.values() if row.available and (u is None or row.takes(u)))
    if name not in table:
        close = difflib.get_close_matches(name, [*table, "auto"], n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(f"no implementation {name!r} of the selective scan; {meant}there are {['auto', *table]}")
    if not table[name].available:
        raise ValueError(f"implementation {name!r} of the selective scan is not available: {table[name].reason}")
    return table[name].function
