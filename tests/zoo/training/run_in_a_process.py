"""A training run in a process of its own, which ends itself on demand; used by test_fit.py."""

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from zoo.training.fit import fit
from zoo.training.pretrain import Pretrain


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--kill-at", type=int, default=-1)
    parser.add_argument("--terminate-at", type=int, default=-1)
    options = parser.parse_args()

    def progress(step, row):
        if step == options.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == options.terminate_at:
            os.kill(os.getpid(), signal.SIGTERM)

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module = Pretrain(MeanColour(), replace(RECIPE, ema_decay=0.7, steps=options.steps))
    data = TinyData(num_workers=options.workers)
    fit(module, data, run_dir=options.run, checkpoint_every=2, progress=progress)


if __name__ == "__main__":
    main()
