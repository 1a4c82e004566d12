"""Train and evaluate on several processes, or on one; used by test_distributed.py. Rank 0 writes what came out."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch

from heads.linear import LinearHead
from tests.benchmarks.protocols.clips import CLASSES, tiny_data
from tests.zoo.training.synthetic import TinyBackbone
from zoo.model import VideoModel
from zoo.recipes.recipe import Recipe
from zoo.training.classify import Classify
from zoo.training.fit import Hardware, evaluate, fit

BATCH, STEPS = 6, 8


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--stop-at", type=int, default=-1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # No random numbers per process, so that the number of processes makes no difference but rounding.
    model = VideoModel(TinyBackbone(drop_path=0.0), LinearHead(16, CLASSES, pool="mean"))
    recipe = Recipe(steps=STEPS, global_batch=BATCH, base_lr=0.2, ema_decay=0.9, gradient_clip=1.0)
    module = Classify(model, recipe, num_views=2)
    options.run.mkdir(parents=True, exist_ok=True)
    data = tiny_data(options.run, test=11, batch_size=BATCH // options.devices)
    hardware = Hardware(accelerator="cpu", devices=options.devices, strategy="ddp" if options.devices > 1 else "auto")

    def progress(step, row):
        if step == options.stop_at:
            raise SystemExit(3)

    fit(module, data, run_dir=options.run, checkpoint_every=2, progress=progress, hardware=hardware)
    predictions = evaluate(module, data, hardware=hardware)
    if module.global_rank == 0:
        torch.save({**predictions._asdict(), "weights": model.state_dict()}, options.run / "outcome.pt")


if __name__ == "__main__":
    main()
