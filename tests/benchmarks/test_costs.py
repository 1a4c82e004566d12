import io

import pytest
from rich.console import Console

from benchmarks import costs
from benchmarks.results import Store
from benchmarks.session import Request, open_session
from benchmarks.suites import table
from tests.benchmarks.tiny_suite import SUITE, tiny_points


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, "digits", SUITE)
    request = Request(
        names=("vit_pico", "timesformer_pico"), budget="smoke", out=tmp_path / "out", cache=tmp_path / "cache"
    )
    return open_session(request, Console(file=io.StringIO()))


def test_costs_are_measured_once_for_all_systems_together(opened, monkeypatch):
    calls = []

    def sweep(builds, frames, **options):
        calls.append((list(builds), tuple(frames), options["img_size"], options["rounds"]))
        return tiny_points()

    monkeypatch.setattr(costs, "sweep", sweep)
    store = Store(opened.request.out / "results")
    assert len(costs.missing(opened, store)) == 2
    for _ in range(2):
        costs.measure(opened, store, jobs=1, progress=lambda *_: None)
    assert calls == [(["vit_pico", "timesformer_pico"], (16,), 24, 2)]
    assert costs.missing(opened, store) == []
    found = {result.identity.system: result for result in store.results()}
    assert found["vit_pico"].details["points"][1]["gflops"] == 1.6
    assert found["vit_pico"].details["parameters"] != found["timesformer_pico"].details["parameters"]


def test_one_missing_system_measures_all_again(opened, monkeypatch):
    monkeypatch.setattr(costs, "sweep", tiny_points)
    store = Store(opened.request.out / "results")
    costs.measure(opened, store, jobs=1, progress=lambda *_: None)
    next(store.folder.glob("cost-vit_pico*.json")).unlink()
    assert len(costs.missing(opened, store)) == 2
