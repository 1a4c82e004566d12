"""A whole VideoMamba forward pass on one thread of a CPU: the scan in C++ against `chunked`, and joint TimeSformer.

    python -m benchmarks.speed.videomamba_forward [--frames 8 16 32] [--rounds 5] [--train] [--profile] [--out FOLDER]

Ti at 224 px, one clip, random weights, float32, no gradients unless `--train`. Times are CPU times of the process,
rounds are interleaved and every round goes through the candidates in the other order; ratios are medians over rounds.
The crossover is the number of frames from which VideoMamba-Ti is faster than TimeSformer-Ti with joint attention by
PyTorch's fused kernel (SDPA), a power law through the two lengths nearest to it. `--profile` prints where the time of
the C++ form goes.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from backbones.timesformer import timesformer_joint_tiny
from backbones.videomamba import videomamba_tiny
from benchmarks.provenance import now, provenance

RESULTS = Path(__file__).parents[1] / "results"
SIDE = 224
BUILDS: dict[str, Callable[[int], nn.Module]] = {
    "videomamba_tiny, compiled": lambda frames: videomamba_tiny(num_frames=frames, img_size=SIDE, scan="compiled"),
    "videomamba_tiny, chunked": lambda frames: videomamba_tiny(num_frames=frames, img_size=SIDE, scan="chunked"),
    "timesformer_joint_tiny": lambda frames: timesformer_joint_tiny(num_frames=frames, img_size=SIDE),
}
COMPILED, CHUNKED, JOINT = BUILDS


def step(model: nn.Module, video: torch.Tensor, *, train: bool) -> None:
    """A forward pass, or a forward and backward one."""
    if train:
        model.zero_grad(set_to_none=True)
        model(video).mean().backward()
        return
    with torch.inference_mode():
        model(video)


def seconds(frames: int, *, rounds: int, train: bool) -> dict[str, list[float]]:
    """CPU seconds of each candidate in each round, after one that warms up."""
    models = {name: build(frames).train(train) for name, build in BUILDS.items()}
    video = torch.randn(1, 3, frames, SIDE, SIDE)
    found: dict[str, list[float]] = {name: [] for name in models}
    for index in range(rounds + 1):
        for name in list(models)[:: 1 if index % 2 else -1]:
            start = time.process_time()
            step(models[name], video, train=train)
            found[name].append(time.process_time() - start)
    return {name: times[1:] for name, times in found.items()}


def ratio(base: Sequence[float], own: Sequence[float]) -> float:
    """Median over rounds of the base's time over ours."""
    return statistics.median(one / other for one, other in zip(base, own, strict=True))


def crossover(ratios: Mapping[int, float]) -> float | None:
    """Frames at which a ratio that grows with the number of frames is 1; None with fewer than two lengths.

    Between two lengths, or beyond the last two (or ahead of the first two), a power law through both.
    """
    lengths = sorted(ratios)
    if len(lengths) < 2:
        return None
    reached = next((index for index, length in enumerate(lengths) if ratios[length] >= 1), len(lengths) - 1)
    first, second = lengths[max(reached, 1) - 1], lengths[max(reached, 1)]
    slope = math.log(ratios[second] / ratios[first]) / math.log(second / first)
    return second * ratios[second] ** (-1 / slope) if slope > 0 else None


def profiled(frames: int, *, train: bool) -> str:
    """Where the CPU time of the C++ form goes, by operator."""
    model, video = BUILDS[COMPILED](frames).train(train), torch.randn(1, 3, frames, SIDE, SIDE)
    step(model, video, train=train)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        step(model, video, train=train)
    return found.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40)


def main() -> None:
    """Measure, print, and write one result file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", action="store_true", help="forward and backward")
    parser.add_argument("--profile", action="store_true", help="print a profile of the C++ form at the first length")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    when, told = now(), provenance(threads=1)
    if options.profile:
        print(profiled(options.frames[0], train=options.train))
    times = {}
    for frames in options.frames:
        times[frames] = seconds(frames, rounds=options.rounds, train=options.train)
        middle = {name: statistics.median(each) for name, each in times[frames].items()}
        print(f"{frames} frames: " + ", ".join(f"{name} {1e3 * it:,.0f} ms" for name, it in middle.items()), flush=True)
    by_length = {
        base: {frames: ratio(each[base], each[COMPILED]) for frames, each in times.items()} for base in (CHUNKED, JOINT)
    }
    meet = crossover(by_length[JOINT])
    for base, ratios in by_length.items():
        print(f"{base} takes {', '.join(f'{it:.2f}x at {frames}' for frames, it in ratios.items())} frames")
    print(f"crossover with {JOINT}: {'unknown' if meet is None else f'{meet:.0f} frames'}")
    record = {
        "mode": "train" if options.train else "infer",
        "seconds": times,
        "ratios": by_length,
        "crossover_frames": meet,
        "device": told.device,
        "versions": told.versions,
        "commit": told.commit,
    }
    stem = f"speed-videomamba-{record['mode']}-{when.replace(':', '').replace('+0000', 'Z')}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n")
    print(options.out / f"{stem}.json")


if __name__ == "__main__":
    main()
