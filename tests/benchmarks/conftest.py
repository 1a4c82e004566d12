import pytest

from benchmarks import figures
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
