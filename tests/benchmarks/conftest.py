import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from types import SimpleNamespace

import pytest

from benchmarks import figures, points
from benchmarks.processes import fresh_processes


@pytest.fixture(scope="session", autouse=True)
def _server():
    """One server for all tests of this process, with the imports of the heaviest: the first call decides."""
    fresh_processes()


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes seconds, and most tests of reports look at words."""
    for name in ("accuracies", "learning", "gains", "costs", "trade_off"):
        monkeypatch.setattr(figures, name, lambda _: "<svg></svg>")


class _Here:
    """Runs in a thread what would run in a process of its own."""

    exitcode = None

    def __init__(self, *, target, args, daemon):
        # As a new process does, it keeps the pipe open that its parent closes.
        pipe = Connection(os.dup(args[0].fileno()))
        self._thread = threading.Thread(target=target, args=(pipe, *args[1:]), daemon=daemon)
        self.start, self.is_alive = self._thread.start, self._thread.is_alive

    def kill(self, timeout=None):
        """It ends by itself once its pipe is closed."""

    join = kill


@pytest.fixture
def in_threads(monkeypatch):
    """Points of cost measurements without processes: at once, and with networks that no other process knows."""
    context = SimpleNamespace(Pipe=multiprocessing.Pipe, Process=_Here)
    monkeypatch.setattr(points, "fresh_processes", lambda: context)
    monkeypatch.setattr(points.gc, "collect", lambda: 0)  # of all that pytest holds
