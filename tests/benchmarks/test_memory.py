import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.memory import PeakMeter

ROOT = Path(__file__).parents[2]
SCRIPT = """
import torch
from benchmarks.memory import PeakMeter
earlier = torch.ones(300 * 2**18)  # 300 MiB that are over when the measurement starts
del earlier
meter = PeakMeter("cpu")
meter.start()
block = torch.ones(40 * 2**18)
double = block * 2
del block, double
print(meter.stop())
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the high-water mark cannot be reset here")
def test_the_peak_counts_from_the_start_and_includes_what_was_freed_before_the_stop():
    words = [sys.executable, "-c", SCRIPT]
    peak = float(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    # Threads and lazily loaded libraries add a few MiB; the 300 MiB from before the start must not count.
    assert 79 <= peak <= 100


def test_no_limit_leaves_the_process_as_it_is():
    PeakMeter("cpu").limit(None)
    assert bytearray(2**20)
