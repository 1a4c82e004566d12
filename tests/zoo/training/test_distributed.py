import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.training.log import read_log

SCRIPT = Path(__file__).with_name("run_distributed.py")


def run(folder, *options):
    command = [sys.executable, str(SCRIPT), str(folder), *options]
    return subprocess.run(command, cwd=Path(__file__).parents[3], timeout=300, check=False).returncode


@pytest.mark.slow
def test_two_processes_train_and_score_as_one_does(tmp_path):
    assert run(tmp_path / "one") == 0
    assert run(tmp_path / "two", "--devices", "2") == 0
    one, two = (torch.load(tmp_path / name / "outcome.pt") for name in ("one", "two"))
    for name, weight in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weight, atol=1e-4, rtol=1e-4, msg=name)
    # 11 videos do not divide by two: nothing is padded, doubled or left out.
    assert two["rows"].tolist() == list(range(11))
    torch.testing.assert_close(two["probabilities"], one["probabilities"], atol=1e-4, rtol=1e-4)
    assert [row["step"] for row in read_log(tmp_path / "two")] == list(range(1, 9))
