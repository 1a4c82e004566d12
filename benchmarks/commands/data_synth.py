"""`zoo data synth`: a small generated data set in the official layout of a suite."""

import argparse
import sys
from pathlib import Path

WORDS = "write a small generated data set in the official layout of a suite"
EXAMPLES = """\
examples:
  zoo data synth                             which suites there are
  zoo data synth coin --out /tmp/coin
  zoo data synth lvu --out /tmp/lvu --classes 2 --videos 1
  zoo data synth ek100 --out /tmp/ek100 --seed 1 --size 64

A second call with the same options finishes what an interrupted one began; nothing is ever overwritten."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("suite", nargs="?", metavar="SUITE", help="whose layout; without it, those that can be written")
    parser.add_argument("--out", type=Path, metavar="DIR", help="new or empty folder")
    parser.add_argument("--classes", type=int, default=4, metavar="N", help="classes that have videos (4)")
    parser.add_argument("--videos", type=int, default=4, metavar="N", help="videos per class and split (4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of everything that is drawn (0)")
    parser.add_argument("--size", type=int, default=32, metavar="PX", help="short side of the videos (32)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="length of a video; what suits the data set when left out"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (cores)")


def run(arguments: argparse.Namespace) -> int:
    """Write the data set, read it back, and say what is in its lists.

    Raises:
        UnknownNameError: for an unknown suite.
        SynthError: for options that make no data set, and a folder that holds something else.
        FolderError: for a folder that cannot be written to.
    """
    from benchmarks.suites.table import SUITES

    if arguments.suite is None:
        print("\n".join(name for name, suite in SUITES.items() if suite.layout))  # noqa: T201
        return 0

    from benchmarks.layout import Plan, SynthError
    from benchmarks.synth import write_suite
    from zoo.suggest import UnknownNameError, unknown

    if arguments.suite not in SUITES:
        raise unknown("suite", arguments.suite, [name for name, suite in SUITES.items() if suite.layout])
    suite = SUITES[arguments.suite]

    if arguments.out is None:
        raise SynthError("where should it go? Name a new folder: --out DIR")
    plan = Plan(classes=arguments.classes, videos=arguments.videos, seed=arguments.seed, seconds=arguments.seconds)
    layout = write_suite(
        suite, arguments.out, plan, size_px=arguments.size, workers=arguments.jobs, progress=sys.stderr.isatty()
    )
    total = sum(video.seconds for video in layout.videos)
    print(f"{arguments.out}: {len(layout.videos)} videos of {total:,.0f} s together, {len(layout.files)} files")  # noqa: T201
    videos = suite.prepare(arguments.out, False)
    for task in suite.tasks:
        for split in suite.splits:
            try:
                records = videos.records(task.name, split)
            except UnknownNameError:
                # Official releases have no labels for some lists; common lists may.
                continue
            rows = len({record.row for record in records})
            windows = f" in {len(records)} windows" if len(records) > rows else ""
            name = f"{task.name}/{split}"
            print(f"  {name:<32} {rows:>5} videos{windows}   {videos.split_hash(task.name, split)}")  # noqa: T201
    return 0
