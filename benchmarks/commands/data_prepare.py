"""`zoo data prepare`: copies of the videos that are smaller and faster to read."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands.numbers import counting, positive
from benchmarks.data_tools import options as common
from benchmarks.data_tools.options import DataError, seconds

if TYPE_CHECKING:
    from benchmarks.data_tools.prepare import Outcome

WORDS = "write copies of the videos with a short side and close key frames, which are faster to read"
EXAMPLES = """\
examples:
  zoo data prepare k400 --data /data/k400 --out /data/k400_320 --jobs 16
  zoo data prepare --list train.csv --list val.csv --root /data/ssv2 --out /data/ssv2_256 --short-side 256 --gop 8

H.264 in mp4, 4:2:0, upright, without sound, with the same frames at the same times; each copy is compared with its
source before it gets its name. Originals are only read. Stop it with Ctrl-C at any time: the same command goes on where
it stopped. Lists and annotation files are copied with the new names. Exit status 1 when a video could not be copied."""
FIRST = 20


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    common.videos(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the copies")
    parser.add_argument(
        "--short-side", type=positive, default=320, metavar="PX", help="smaller videos keep their size (320)"
    )
    parser.add_argument("--gop", type=positive, default=16, metavar="N", help="frames between key frames (16)")
    parser.add_argument("--crf", type=counting, default=18, metavar="Q", help="0 is lossless, 51 worst (18)")
    parser.add_argument(
        "--preset", default="medium", metavar="P", help="effort of x264, ultrafast to veryslow (medium)"
    )
    parser.add_argument(
        "--fps", default="keep", metavar="keep", help="only 'keep': a copy has all frames, at their times"
    )
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes (cores)")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="limit for each file (600, and 10 a megabyte)")
    parser.add_argument("--force", action="store_true", help="replace copies and lists made with other settings")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Copy, and say what could not be copied."""
    if arguments.fps != "keep":
        raise DataError(f"--fps {arguments.fps}: only 'keep'; a copy has the frames of its source, none more or fewer")
    from rich.console import Console

    from benchmarks.data_tools.copied_lists import copy_lists, reads_as
    from benchmarks.data_tools.listing import listing_of
    from benchmarks.data_tools.prepare import Effort, prepare, targets
    from zoo.data.transcode import Encoding

    try:
        encoding = Encoding(
            short_side=arguments.short_side, gop=arguments.gop, crf=arguments.crf, preset=arguments.preset
        )
    except ValueError as error:
        raise DataError(str(error)) from None
    listing = listing_of(arguments)
    effort = Effort(jobs=arguments.jobs, seconds=arguments.seconds)
    console = Console(stderr=True)
    outcome = prepare(listing, encoding, effort, out=arguments.out, force=arguments.force, console=console)
    places = targets(listing, arguments.out)
    lists = copy_lists(listing, places, arguments.out, force=arguments.force)
    odd = reads_as(listing, places, arguments.out)
    if arguments.json:
        print(json.dumps({**_report(outcome, lists, arguments.out), "suite": odd}))  # noqa: T201
    else:
        _say(outcome, lists, arguments.out)
    if odd:
        print(f"zoo data prepare: {listing.name} cannot be read from {str(arguments.out)!r}: {odd}", file=sys.stderr)  # noqa: T201
    return int(bool(outcome.failed or odd))


def _report(outcome: "Outcome", lists: list[Path], out: Path) -> dict[str, Any]:
    return {
        "out": str(out),
        "copied": len(outcome.copied),
        "reused": outcome.reused,
        "failed": outcome.failed,
        "source_bytes": outcome.source_bytes,
        "copy_bytes": outcome.copy_bytes,
        "lists": [str(path) for path in lists],
    }


def _say(outcome: "Outcome", lists: list[Path], out: Path) -> None:
    sizes = f"{outcome.source_bytes / 1e6:,.1f} MB became {outcome.copy_bytes / 1e6:,.1f} MB"
    print(f"{len(outcome.copied):,} copied, {outcome.reused:,} were there, {len(outcome.failed):,} failed; {sizes}")  # noqa: T201
    for path in lists:
        print(f"list: {path}")  # noqa: T201
    for name, reason in list(outcome.failed.items())[:FIRST]:
        print(f"  failed  {name}: {reason}", file=sys.stderr)  # noqa: T201
    if len(outcome.failed) > FIRST:
        more = len(outcome.failed) - FIRST
        print(f"  and {more:,} more, see {out / 'prepared.jsonl'}", file=sys.stderr)  # noqa: T201
