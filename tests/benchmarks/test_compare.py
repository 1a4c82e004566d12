import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks import budgets, compare, costs, session
from benchmarks.results import Store
from benchmarks.session import Request
from benchmarks.suites import table
from tests.benchmarks.tiny_suite import LEAKING, SUITE, tiny_budget, tiny_points

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setitem(table.SUITES, "digits", SUITE)
    monkeypatch.setitem(budgets.BUDGETS, "quick", tiny_budget())
    monkeypatch.setattr(costs, "sweep", tiny_points)


def request(folder: Path, **options: object) -> Request:
    return Request(names=("vit_pico",), out=folder / "out", cache=folder / "cache", **options)


def said(asked: Request, **options: object) -> tuple[int, str]:
    text = io.StringIO()
    status = compare.compare(asked, console=Console(file=text, width=200), **options)
    return status, text.getvalue()


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """One comparison with two workers."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table.SUITES, "digits", SUITE)
        patch.setitem(budgets.BUDGETS, "quick", tiny_budget())
        patch.setattr(costs, "sweep", tiny_points)
        status, text = said(request(folder, jobs=2))
    shutil.copy(folder / "out" / "report.html", folder / "first.html")  # tests write the report again
    return folder, status, text


def test_a_comparison_runs_everything_and_leaves_a_report(compared):
    folder, status, text = compared
    assert status == 0, text
    store = Store(folder / "out" / "results")
    kinds = [result.identity.kind for result in store.results()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"pretrain": 1, "evaluate": 4, "control": 4, "cost": 1}
    page = (folder / "first.html").read_text()
    assert "What pretraining masks and predicts" in page
    assert "What the tokens tell apart" in page
    assert "zoo compare vit_pico" in page
    for name in ("table.md", "table.csv", "table.tex", "costs.csv"):
        assert "vit_pico" in (folder / "out" / name).read_text().replace("\\_", "_")
    assert "[9/9]" in text
    assert "report.html" in text
    assert not list((folder / "out" / "work").iterdir())


@pytest.mark.usefixtures("undrawn")
def test_running_again_repeats_nothing(compared):
    folder, _, _ = compared
    before = {path: path.stat().st_mtime_ns for path in (folder / "out" / "results").iterdir()}
    status, text = said(request(folder, jobs=1))
    assert status == 0
    assert "9 finished before" in text
    assert {path: path.stat().st_mtime_ns for path in (folder / "out" / "results").iterdir()} == before


def test_the_report_can_be_written_again_from_the_files_alone(compared):
    folder, _, _ = compared
    (folder / "out" / "report.html").unlink()
    assert compare.report_again(folder / "out", console=Console(file=io.StringIO())) == 0
    assert (folder / "out" / "report.html").read_text() == (folder / "first.html").read_text()


@pytest.mark.slow  # a second comparison
@pytest.mark.usefixtures("undrawn")
def test_the_same_seeds_give_the_same_accuracies_whatever_the_number_of_workers(compared, tmp_path):
    folder, _, _ = compared
    status, _ = said(request(tmp_path, jobs=1))
    assert status == 0
    first, second = Store(folder / "out" / "results"), Store(tmp_path / "out" / "results")
    results, others = first.finished(), second.finished()
    assert results.keys() == others.keys()
    for key, result in results.items():
        assert result.metrics == others[key].metrics
        if "predictions" in result.arrays:
            np.testing.assert_array_equal(
                first.arrays(result, "predictions")["probabilities"],
                second.arrays(others[key], "predictions")["probabilities"],
            )


def test_a_dry_run_lists_the_runs_and_does_nothing(compared, tmp_path):
    status, text = said(request(tmp_path), dry_run=True)
    assert status == 0
    assert text.count("to do") == 10
    assert "vit_pico on drift, from MAE" in text
    assert not list((tmp_path / "out" / "results").iterdir())
    folder, _, _ = compared
    assert said(request(folder), dry_run=True)[1].count("finished ") >= 10


@pytest.mark.usefixtures("undrawn")
def test_a_leaking_suite_is_loud_in_the_report_and_in_the_exit_status(compared, monkeypatch):
    folder, _, _ = compared
    monkeypatch.setitem(table.SUITES, "digits", LEAKING)
    status, text = said(request(folder))
    assert status == 1
    assert "The suite leaks" in text
    assert "first frame" in text
    assert "The suite leaks" in (folder / "out" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_missing_result_makes_the_status_say_incomplete(compared, tmp_path):
    folder, _, _ = compared
    target = tmp_path / "out" / "results"
    target.mkdir(parents=True)
    for path in (folder / "out" / "results").iterdir():
        if "control" not in path.name:
            os.link(path, target / path.name)
    os.link(folder / "out" / session.REQUEST_FILE, tmp_path / "out" / session.REQUEST_FILE)
    assert compare.report_again(tmp_path / "out", console=Console(file=io.StringIO())) == 1


SCRIPT = """
import sys
from pathlib import Path
from benchmarks import budgets, compare, costs
from benchmarks.suites import table
from benchmarks.session import Request
from tests.benchmarks.tiny_suite import SUITE, tiny_budget, tiny_points
if __name__ == "__main__":
    table.SUITES["digits"] = SUITE
    budgets.BUDGETS["quick"] = tiny_budget(int(sys.argv[2]))
    costs.sweep = tiny_points
    folder = Path(sys.argv[1])
    sys.exit(compare.compare(Request(names=("vit_pico",), out=folder / "out", cache=folder / "cache", jobs=2)))
"""


@pytest.mark.slow  # waits for a run
def test_ctrl_c_keeps_finished_runs_and_says_how_to_go_on(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), "40"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment, start_new_session=True
    )
    results = tmp_path / "out" / "results"
    limit = time.monotonic() + 240
    while not list(results.glob("pretrain*.json")) and time.monotonic() < limit:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.2)
    time.sleep(1.0)  # the next run is under way
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to parent and workers
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in text
    assert "script.py" in text or "zoo" in text
    assert "Traceback" not in text
    finished = Store(results)
    assert finished.finished()
    assert not finished.problems
