"""Processes that start clean and start fast: workers of a comparison, and those in which memory is measured."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext, SpawnContext

if sys.platform != "win32":
    from multiprocessing import forkserver, resource_tracker

PRELOADED = ("torch", "benchmarks.runners")
# The runs of a comparison are spread over processes and, when resumed, over days: none may take another scan because
# somebody built a kernel meanwhile, or because a machine has a compiler.
STEADY = {"ZOO_SCAN": "chunked"}


def prepare_workers() -> None:
    """Start the server of a comparison's workers early: it imports for seconds, as this process may do meanwhile.

    The workers agree on `STEADY`, unless the environment says otherwise already.
    """
    for name, value in STEADY.items():
        os.environ.setdefault(name, value)
    fresh_processes()


def fresh_processes(preload: Sequence[str] = PRELOADED) -> ForkServerContext | SpawnContext:
    """How to start processes that have run nothing yet.

    Except on Windows a server imports everything once and runs nothing: its forks are as clean as new processes and
    start in milliseconds. They see the environment variables of the moment when the server started.

    Args:
        preload: modules that the server imports; the first call of a process decides.
    """
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # its start lets Ctrl-C through again, so it comes first
    with _without_ctrl_c():
        forkserver.ensure_running()
    return context


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """What starts within never hears Ctrl-C, which reaches the whole group: this process decides what it means."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
