import pytest

from benchmarks import figures


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes seconds, and most tests of reports look at words."""
    for name in ("accuracies", "learning", "gains", "costs", "trade_off"):
        monkeypatch.setattr(figures, name, lambda _: "<svg></svg>")
