"""The table of implementations: adding one is one file beside this one and one row here."""

import difflib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

import backbones.ops.selective_scan.fused as fused
import backbones.ops.selective_scan.kernel as kernel
import backbones.ops.selective_scan.mamba_ssm as mamba_ssm
from backbones.ops.selective_scan.associative import associative_scan
from backbones.ops.selective_scan.chunked import chunked_scan
from backbones.ops.selective_scan.compiled import compiled_scan
from backbones.ops.selective_scan.compiled_conv import compiled_conv_silu
from backbones.ops.selective_scan.contract import Implementation
from backbones.ops.selective_scan.conv import conv_silu
from backbones.ops.selective_scan.reference import reference_scan

VARIABLE = "ZOO_SCAN"
Conv = Callable[[Tensor, Tensor, Tensor | None, bool], Tensor]
EXPORTED = "associative"
COUNTED = "chunked"  # has a formula and shapes for any device; the rows in torch's own operators would count nothing
_logger = logging.getLogger(__name__)
# Looked up once, and not in `implementations`, because torch.compile traces through that.
_no_kernel = kernel.obstacle()
_ready_rows: list[str] = []


def _ready(build: bool) -> str:
    return ""


def _load_kernel(build: bool) -> str:
    return kernel.load(build=build)


def _anything(u: Tensor) -> bool:
    return True


def _on_cpu(u: Tensor) -> bool:
    return u.is_cpu


class Row(NamedTuple):
    """One implementation of the selective scan.

    Attributes:
        function: does the work.
        available: whether it runs on this machine.
        reason: what it needs, or why it is not available.
        takes: whether "auto" may give it an input u: its device and dtype.
        prepare: makes it ready and returns "", or returns why it is not. It is told whether it may build something.
        conv: convolution and SiLU of the tokens in front of the scan.
    """

    function: Implementation
    available: bool
    reason: str
    takes: Callable[[Tensor], bool] = _anything
    prepare: Callable[[bool], str] = _ready
    conv: Conv = conv_silu


def implementations() -> dict[str, Row]:
    """Name -> row, the preferred one first; "auto" takes the first that is ready and takes the input."""
    no_triton, no_mamba_ssm = fused.unusable(), mamba_ssm.unusable()
    return {
        "triton": Row(
            fused.triton_scan,
            no_triton is None,
            no_triton or "a CUDA device; both directions, sum and gate in one launch, recomputed in backward",
            fused.takes,
        ),
        "compiled": Row(
            compiled_scan,
            not _no_kernel,
            _no_kernel or "C++ for this processor; built at its first use, with a compiler and ninja",
            _on_cpu,
            _load_kernel,
            compiled_conv_silu,
        ),
        "chunked": Row(chunked_scan, True, "torch alone; blocks that fit the cache, recomputed in backward"),
        "associative": Row(
            associative_scan,
            True,
            "torch alone, in its own operators, as exported programs need; states of all tokens in memory",
        ),
        "mamba_ssm": Row(
            mamba_ssm.mamba_ssm_scan,
            no_mamba_ssm is None,
            no_mamba_ssm or "mamba-ssm's CUDA kernel; one call per direction, with copies that flip",
            mamba_ssm.takes,
            conv=mamba_ssm.conv_silu,
        ),
        "reference": Row(reference_scan, True, "torch alone; one token after the other, defines correctness"),
    }


def choose(name: str, u: Tensor | None = None) -> Row:
    """The row behind a name; "auto" is the first row that takes u.

    The environment variable ZOO_SCAN puts a row of the table before all others. On a machine without a GPU the first
    call builds the kernel for CPUs, once for all processes; when that or the row of ZOO_SCAN fails, one line says why
    and the next row serves. Which rows are ready is decided at the first call in a process and holds as long as the
    process does.

    Args:
        name: from `implementations()`, or "auto".
        u: the input to scan; None only checks the name and makes what it stands for ready.

    Raises:
        ValueError: for an unknown name, with the closest ones, and for one that is not available here.
    """
    if name == "auto":
        if not _ready_rows and not torch.compiler.is_compiling():
            _ready_rows.extend(_decide())
        table = implementations()
        rows = [table[ready] for ready in _ready_rows or ("chunked",)]
        taken = [row for row in rows if u is None or row.takes(u)]
        if not taken:  # only where `auto_is` says what "auto" stands for
            raise ValueError(f"implementation {_ready_rows[0]!r} of the selective scan does not take {_told(u)}")
        return taken[0]
    row = _row(name, "implementation")
    if problem := _problem(row, build=True):
        raise ValueError(f"implementation {name!r} of the selective scan is not available: {problem}")
    return row


@contextmanager
def auto_is(name: str) -> Iterator[None]:
    """Let "auto" stand for one row of the table, as for a program that is written for other machines.

    torch.export keeps what "auto" stands for while it traces: on its own that is the fastest row of this machine, an
    operator that the program then finds only in a process that ran `choose(name)`. `EXPORTED` is the row without one.

    Raises:
        ValueError: for an unknown name and for one that is not available here.
    """
    choose(name)
    before = list(_ready_rows)
    _ready_rows[:] = [name]
    try:
        yield
    finally:
        _ready_rows[:] = before


def _told(u: Tensor | None) -> str:
    return "" if u is None else f"{u.dtype} on {u.device}"


def _row(name: str, asked_by: str) -> Row:
    table = implementations()
    if name not in table:
        close = difflib.get_close_matches(name, [*table, "auto"], n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(f"no {asked_by} {name!r} of the selective scan; {meant}there are {['auto', *table]}")
    return table[name]


def _problem(row: Row, *, build: bool) -> str:
    return row.prepare(build) if row.available else row.reason


def _decide() -> list[str]:
    """The rows that "auto" may take in this process, the preferred one first."""
    wanted = os.environ.get(VARIABLE) or "auto"
    first = []
    if wanted != "auto":
        problem = _problem(_row(wanted, f"implementation ({VARIABLE})"), build=True)
        first = [] if problem else [wanted]
        if problem:
            _logger.warning("selective scan: not %r, because %s", wanted, problem)
    build = wanted == "auto" and not torch.cuda.is_available()
    ready = []
    for name, row in implementations().items():
        if problem := _problem(row, build=build):
            level = logging.WARNING if build and name == "compiled" else logging.INFO
            _logger.log(level, "selective scan: not %r, because %s", name, problem)
        else:
            ready.append(name)
    return [*first, *ready]
