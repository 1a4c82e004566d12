"""`zoo data check`: decode every video, and write down which are sound."""

import argparse
import json
import os
from pathlib import Path

from benchmarks.commands.numbers import positive
from benchmarks.data_tools import options as common
from benchmarks.data_tools.options import DataError, seconds

WORDS = "decode every video of a suite or of lists, and write a manifest of what was found"
EXAMPLES = """\
examples:
  zoo data check k400 --data /data/k400 --jobs 16
  zoo data check --list train.csv --list val.csv --root /data/k400 --quick
  zoo data check ssv2 --data /data/ssv2 --split validation --for videomae_base.ssv2_f16

Stop it with Ctrl-C at any time: the same command goes on where it stopped. Files whose size and time of change are the
same are not read again. Exit status 1 when a video is short, corrupt or missing."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    common.videos(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of manifest.jsonl (runs/data/NAME)")
    parser.add_argument("--quick", action="store_true", help="read the index and three frames only, not all frames")
    parser.add_argument("--min-frames", type=positive, metavar="N", help="videos with fewer frames are short (1)")
    parser.add_argument(
        "--for", dest="network", default="", metavar="NAME", help="short is what is shorter than this network's clips"
    )
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes (cores)")
    parser.add_argument(
        "--seconds", type=seconds, metavar="S", help="limit for each file (120, and 2 for each megabyte)"
    )
    parser.add_argument("--retry", action="store_true", help="read files again that were corrupt")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Check, and say what was found."""
    from rich.console import Console

    from benchmarks.data_tools import check_report
    from benchmarks.data_tools.check import MANIFEST, Wishes, check, empty_parts
    from benchmarks.data_tools.listing import listing_of

    min_frames = _min_frames(arguments)
    listing = listing_of(arguments)
    out = arguments.out or common.RUNS / listing.name
    wishes = Wishes(
        quick=arguments.quick,
        min_frames=min_frames,
        jobs=arguments.jobs,
        seconds=arguments.seconds,
        retry=arguments.retry,
    )
    entries = check(listing, wishes, out=out, console=Console(stderr=True))
    parts = empty_parts(listing, entries)
    if arguments.json:
        print(json.dumps(check_report.as_json(listing, entries, parts, out / MANIFEST)))  # noqa: T201
    else:
        check_report.show(Console(), listing, entries, parts, out / MANIFEST)
    return int(bool(parts) or any(entry.status != "ok" for entry in entries.values()))


def _min_frames(arguments: argparse.Namespace) -> int:
    """Frames that a video must have."""
    if not arguments.network:
        return int(arguments.min_frames or 1)
    if arguments.min_frames:
        raise DataError("--min-frames and --for say the same; give one of them")
    from benchmarks.data_tools.clips import clip_of, frames_needed

    return frames_needed(clip_of(arguments.network))
