"""Options that the commands of `zoo data` share; numbers on the command line are refused with a reason."""

import argparse
import math
from pathlib import Path

from benchmarks.commands.numbers import counting

RUNS = Path("runs/data")


class DataError(ValueError):
    """Something about files or options that a person can mend; the message says how."""


def videos(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which videos are meant."""
    parser.add_argument("suite", nargs="?", default="", metavar="SUITE", help="a suite, such as k400 or ssv2")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the suite's videos and annotations")
    parser.add_argument("--task", default="", metavar="T", help="only this task of the suite (all)")
    parser.add_argument("--split", default="", metavar="S", help="only this split of the suite (all)")
    parser.add_argument(
        "--list",
        dest="lists",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="instead of a suite, a list with a path and a label on each line; may be repeated",
    )
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help="what the paths of the lists lie in (the list's folder)"
    )
    parser.add_argument("--outside", action="store_true", help="lists may hold absolute paths, and paths with '..'")


def several(text: str) -> tuple[int, ...]:
    """Whole numbers from 0 on, separated by commas, each once."""
    return tuple(dict.fromkeys(counting(part.strip()) for part in text.split(",")))


def seconds(text: str) -> float:
    """A time that is more than nothing."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value
