"""Run-time shape checks for every test, except where torch.compile must see through the code.

`ZOO_SHAPE_CHECKS=0` is for those; `all`, in the slow tier, adds `benchmarks`, which holds few tensors and so many
functions that decorating them takes 11 s in each process of the fast tier.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# What "auto" stands for must not depend on what somebody built on this machine.
os.environ.setdefault("ZOO_SCAN", "chunked")
# Tests run side by side: numpy's matrix products on all cores in each of them would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

if (checks := os.environ.get("ZOO_SHAPE_CHECKS", "1")) != "0":
    from jaxtyping import install_import_hook

    packages = ["backbones", "heads", "zoo"]
    install_import_hook([*packages, "benchmarks"] if checks == "all" else packages, "beartype.beartype")

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    """Tests run side by side on few cores, and must not depend on each other's random draws."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


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
