"""The table of implementations: adding one is one file beside this one and one row here."""

import difflib
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

import torch

import backbones.ops.selective_scan.kernel as kernel
from backbones.ops.selective_scan.chunked import chunked_scan
from backbones.ops.selective_scan.compiled import compiled_scan
from backbones.ops.selective_scan.contract import Implementation
from backbones.ops.selective_scan.reference import reference_scan

VARIABLE = "ZOO_SCAN"
DEVICES = ("cpu", "cuda")
_logger = logging.getLogger(__name__)
# Looked up once, and not in `implementations`, because torch.compile traces through that.
_no_kernel = kernel.obstacle()
_automatic: dict[str, str] = {}


def _ready(build: bool) -> str:
    return ""


def _load_kernel(build: bool) -> str:
    return kernel.load(build=build)


class Row(NamedTuple):
    """One implementation of the selective scan.

    Attributes:
        function: does the work.
        available: whether it runs on this machine.
        reason: what it needs, or why it is not available.
        devices: types of device that it runs on; none for any.
        prepare: makes it ready and returns "", or returns why it is not. It is told whether it may build something.
    """

    function: Implementation
    available: bool
    reason: str
    devices: tuple[str, ...] = ()
    prepare: Callable[[bool], str] = _ready


def implementations() -> dict[str, Row]:
    """Name -> row, the preferred one first; "auto" takes the first that is available."""
    built = "C++ for this processor; built at its first use by name, with a compiler and ninja"
    return {
        "compiled": Row(compiled_scan, not _no_kernel, _no_kernel or built, ("cpu",), _load_kernel),
        "chunked": Row(chunked_scan, True, "torch alone; blocks that fit the cache, recomputed in backward"),
        "reference": Row(reference_scan, True, "torch alone; one token after the other, defines correctness"),
    }


def choose(name: str, device: str = "cpu") -> Implementation:
    """The function behind a name; "auto" is the first available row for the device that needs no build.

    What has to be built is taken by "auto" once an earlier use by name, in any process, has built it. The environment
    variable ZOO_SCAN puts a row of the table before all others, and has it built where needed; when that fails, one
    line says why and the next row serves. All this is decided at the first call in a process and holds as long as the
    process does.

    Args:
        name: from `implementations()`, or "auto".
        device: type of the device that the tensors are on.

    Raises:
        ValueError: for an unknown name, with the closest ones, and for one that is not available here.
    """
    if name == "auto":
        if not _automatic and not torch.compiler.is_compiling():
            _automatic.update({each: _decide(each) for each in DEVICES})
        return implementations()[_automatic.get(device, "chunked")].function
    row = _row(name, "implementation")
    if problem := _problem(row, build=True):
        raise ValueError(f"implementation {name!r} of the selective scan is not available: {problem}")
    return row.function


def _row(name: str, asked_by: str) -> Row:
    table = implementations()
    if name not in table:
        close = difflib.get_close_matches(name, [*table, "auto"], n=3, cutoff=0.4)
        meant = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(f"no {asked_by} {name!r} of the selective scan; {meant}there are {['auto', *table]}")
    return table[name]


def _problem(row: Row, *, build: bool) -> str:
    return row.prepare(build) if row.available else row.reason


def _decide(device: str) -> str:
    """The row that "auto" stands for on a type of device."""
    wanted = os.environ.get(VARIABLE) or "auto"
    if wanted != "auto":
        row = _row(wanted, f"implementation ({VARIABLE})")
        serves = not row.devices or device in row.devices
        if serves and not (problem := _problem(row, build=True)):
            return wanted
        if serves:
            _logger.warning("selective scan on %s: not %r, because %s", device, wanted, problem)
    for name, row in implementations().items():
        if row.devices and device not in row.devices:
            continue
        problem = _problem(row, build=False)
        if not problem:
            return name
        _logger.info("selective scan on %s: not %r, because %s", device, name, problem)
    return "reference"
