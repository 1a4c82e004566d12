"""Run-time shape checks for every test, except where torch.compile must see through the code.

`ZOO_SHAPE_CHECKS=0` is for those, and what holds without beartype, as on a GPU machine that lacks it. The fast tier
checks the modules that name shapes: decorating the functions of all others takes each of its processes 10 s, and is
left to `all`, in the slow tier.
"""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What "auto" stands for must not depend on what somebody built on this machine.
os.environ.setdefault("ZOO_SCAN", "chunked")
# Tests run side by side: numpy's matrix products on all cores in each of them would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

if (checks := os.environ.get("ZOO_SHAPE_CHECKS") or ("1" if importlib.util.find_spec("beartype") else "0")) != "0":
    from jaxtyping import install_import_hook

    import tests.type_checks  # noqa: F401  (the hook imports `tests` alone)

    packages, root = ["backbones", "heads", "zoo", "benchmarks"], Path(__file__).parents[1]
    files = [file for package in packages for file in (root / package).rglob("*.py")]
    naming_shapes = [
        ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if "from jaxtyping import" in file.read_text(encoding="utf-8")
    ]
    install_import_hook(packages if checks == "all" else naming_shapes, "tests.type_checks.checked")

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    """Tests run side by side on few cores, and must not depend on each other's random draws."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


def pytest_ignore_collect(collection_path, config):
    """`-m gpu` reads only the files with such tests: a GPU machine may lack what the others import, such as PyAV."""
    if config.option.markexpr == "gpu" and collection_path.suffix == ".py":
        return "mark.gpu" not in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_report_header():
    """Say when shapes are not checked."""
    return "" if checks != "0" else "run-time shape checks are off (ZOO_SHAPE_CHECKS=0, or beartype is missing)"


def pytest_terminal_summary(terminalreporter):
    """Print the largest error that each parity fixture showed, also when everything passed."""
    lines = {
        line
        for report in terminalreporter.stats.get("passed", [])
        for line in report.capstdout.splitlines()
        if line.startswith("parity ")
    }
    if lines:
        terminalreporter.section("parity with the authors' outputs")
        for line in sorted(lines):
            terminalreporter.write_line(line)
