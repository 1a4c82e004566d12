"""Reading a few frames of a ten-second clip: our PyAV decoder, with every check on, against decord as it comes.

    python -m benchmarks.speed.decode [--rounds 21] [--out FOLDER]

The clips are 340 x 256 pixels at 30 frames per second, moving texture with noise, H.264 as x264 makes it by default,
with a key frame every 12 frames and every 250. A reading opens the file, indexes it, decodes 8, 16, 32 frames from the
middle of as many equal parts, or all, and closes it, on one thread. Its time is the CPU time of the process; rounds are
interleaved and alternate which of the two goes first. Both must return the same pixels, and frame numbers painted into
the clip are compared with those asked for. Goal: at most 1.15 times decord's time for 8, 16 and 32 frames.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from benchmarks.provenance import now, provenance
from zoo.data import decode_decord
from zoo.data.decode import read_frames
from zoo.data.encode import write_video

RESULTS = Path(__file__).parents[1] / "results"
NUM_FRAMES, HEIGHT, WIDTH, FPS = 300, 256, 340, 30
ASKED = (8, 16, 32, NUM_FRAMES)
GOAL = 1.15
GOAL_FOR = (8, 16, 32)

# What x264 does unless told otherwise; `write_video` switches these off for the sake of equal bytes.
DEFAULTS = {"weightp": "2", "mbtree": "1", "rc-lookahead": "40", "sc_threshold": "40"}
CLIPS = {"key frame every 12": {**DEFAULTS, "g": "12"}, "key frame every 250": {**DEFAULTS, "g": "250"}}

# Side of the squares, in pixels, that spell each frame's number in its top rows, lowest bit first.
SQUARE = 16
BITS = 9

Times = dict[str, list[float]]
Pictures = UInt8[np.ndarray, "frames height width 3"]


def clip(num_frames: int = NUM_FRAMES, *, seed: int = 0) -> Pictures:
    """Frames of the clip: a window wandering over smooth noise, a patch moving in it, grain, and the number."""
    generator = np.random.default_rng(seed)
    field = generator.normal(size=(600, 900, 3))
    texture = _stretched(sum(gaussian_filter(field, (width, width, 0)) * width for width in (1, 3, 8, 20)))
    patch = _stretched(gaussian_filter(generator.normal(size=(64, 64, 3)), (2, 2, 0)))
    frames = np.empty((num_frames, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(num_frames):
        top, left = int(150 + 100 * np.cos(number / 80)), int(200 + 150 * np.sin(number / 60))
        frame = texture[top : top + HEIGHT, left : left + WIDTH].copy()
        top, left = int(100 + 80 * np.sin(number / 17)), int(130 + 120 * np.cos(number / 23))
        frame[top : top + 64, left : left + 64] = patch
        frame += generator.normal(size=(HEIGHT, WIDTH, 1)) * 3
        for bit in range(BITS):
            frame[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 255 * (number >> bit & 1)
        frames[number] = frame.clip(0, 255)
    return frames


def _stretched(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / np.ptp(values) * 255


def numbers(frames: Pictures) -> list[int]:
    """Numbers painted into the frames."""
    middles = frames[:, SQUARE // 2, SQUARE // 2 : BITS * SQUARE : SQUARE].mean(axis=-1) > 128
    return [int(sum(1 << bit for bit in np.flatnonzero(row))) for row in middles]


def spread(count: int) -> list[int]:
    """Frames in the middle of so many equal parts of the clip."""
    return [int((part + 0.5) * NUM_FRAMES / count) for part in range(count)]


def readers(path: Path, indices: list[int]) -> dict[str, Callable[[], Pictures]]:
    """Both readings of a file, from opening to closing it."""
    return {
        "pyav": lambda: read_frames(path, indices),
        "decord": lambda: decode_decord.read_unchecked(str(path), indices)[1],
    }


def check(candidates: dict[str, Callable[[], Pictures]], indices: list[int]) -> None:
    """Raise ValueError unless both return exactly the asked frames, in the same pixels."""
    pictures = {name: reading() for name, reading in candidates.items()}
    for name, frames in pictures.items():
        if numbers(frames) != indices:
            raise ValueError(f"{name} returned frames {numbers(frames)} for {indices}")
    if not np.array_equal(pictures["pyav"], pictures["decord"]):
        raise ValueError(f"the decoders return different pixels for {indices}")


def measure(candidates: dict[str, Callable[[], Pictures]], rounds: int) -> Times:
    """CPU seconds of every round."""
    seconds: Times = {name: [] for name in candidates}
    for index in range(rounds):
        for name in list(candidates)[:: 1 if index % 2 else -1]:
            start = time.process_time()
            candidates[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def summary(seconds: Times) -> dict[str, Any]:
    """Medians, and the ratio of PyAV's time to decord's: of the medians, and its range over rounds."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [ours / theirs for ours, theirs in zip(seconds["pyav"], seconds["decord"], strict=True)]
    return {
        "median_s": medians,
        "ratio": medians["pyav"] / medians["decord"],
        "ratio_range": [min(ratios), max(ratios)],
    }


def run(rounds: int) -> list[dict[str, Any]]:
    """All clips and numbers of frames."""
    frames, rows = clip(), []
    with tempfile.TemporaryDirectory() as folder:
        for title, options in CLIPS.items():
            path = Path(folder) / "clip.mp4"
            write_video(path, frames, fps=FPS, options=options)
            for count in ASKED:
                candidates = readers(path, spread(count))
                check(candidates, spread(count))
                seconds = measure(candidates, rounds)
                row = {"clip": title, "bytes": path.stat().st_size, "frames": count, **summary(seconds)}
                rows.append({**row, "seconds": seconds})
    return rows


def main() -> int:
    """Measure, print, and write one result file; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    decode_decord.check_available()
    rows = run(options.rounds)
    missed = [row for row in rows if row["frames"] in GOAL_FOR and row["ratio"] > GOAL]
    origin = asdict(provenance(threads=1, command=["python", "-m", "benchmarks.speed.decode", *sys.argv[1:]]))
    when = now()
    result = {"name": "decode", "when": when, **origin, "rounds": options.rounds, "goal": GOAL, "rows": rows}
    path = options.out / f"speed-decode-{when.replace(':', '').replace('+0000', 'Z')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"Frames of a {NUM_FRAMES // FPS} s clip, {options.rounds} interleaved rounds, {origin['device']}")
    for row in rows:
        ours, theirs = (1000 * row["median_s"][name] for name in ("pyav", "decord"))
        low, high = row["ratio_range"]
        print(
            f"  {row['clip']:20} {row['frames']:4} frames: PyAV {ours:6.1f} ms, decord {theirs:6.1f} ms CPU;", end=" "
        )
        print(f"PyAV / decord {row['ratio']:.2f} ({low:.2f} to {high:.2f})")
    print(
        f"  goal: at most {GOAL} for {', '.join(map(str, GOAL_FOR))} frames: {'missed' if missed else 'met'}\n  {path}"
    )
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
