"""`zoo data stats`: what the lists of a data set hold."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.numbers import counting, positive
from benchmarks.data_tools import options as common

if TYPE_CHECKING:
    from benchmarks.data_tools.listing import Listing
    from benchmarks.data_tools.stats import FileStats

WORDS = "count videos, classes and overlaps of the lists, and describe their files"
EXAMPLES = """\
examples:
  zoo data stats k400 --data /data/k400                    with the manifest of zoo data check, if there is one
  zoo data stats --list train.csv --list val.csv --root /data/k400 --sample 500
  zoo data stats ssv2 --data /data/ssv2 --sample 0 --json  the lists alone, no file is opened
  zoo data stats k400 --data /data/k400 --plot k400.png"""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    common.videos(parser)
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="of zoo data check (runs/data/NAME/manifest.jsonl, if it is there)",
    )
    parser.add_argument(
        "--sample", type=counting, default=200, metavar="N", help="files to probe without a manifest; 0 for none (200)"
    )
    parser.add_argument("--seed", type=counting, default=0, metavar="N", help="of the sample (0)")
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, metavar="N", help="processes (cores)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture of durations and classes (.png)")
    parser.add_argument("--force", action="store_true", help="replace the picture")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Count and show."""
    from rich.console import Console

    from benchmarks.data_tools import stats, stats_report
    from benchmarks.data_tools.listing import listing_of

    if arguments.plot is not None:
        stats_report.check_plot(arguments.plot, force=arguments.force)
    listing = listing_of(arguments)
    lists, overlaps = stats.list_stats(listing), stats.overlaps(listing)
    files = _files(arguments, listing)
    if arguments.json:
        print(json.dumps(stats_report.as_json(listing, lists, overlaps, files)))  # noqa: T201
    else:
        stats_report.show(Console(), listing, lists, overlaps, files)
    if arguments.plot is not None:
        stats_report.plot(arguments.plot, listing, lists, files)
    return 0


def _files(arguments: argparse.Namespace, listing: "Listing") -> "FileStats | None":
    """Numbers of the files: of a manifest, else of a sample."""
    from rich.console import Console

    from benchmarks.data_tools import stats
    from benchmarks.data_tools.check import MANIFEST, read_manifest

    usual = common.RUNS / listing.name / MANIFEST
    if arguments.manifest is not None:
        return stats.from_manifest(listing, arguments.manifest)
    if usual.is_file() and read_manifest(usual)[0] == os.path.abspath(listing.root):
        return stats.from_manifest(listing, usual)
    if not arguments.sample:
        return None
    console = Console(stderr=True)
    return stats.from_sample(
        listing, sample=arguments.sample, jobs=arguments.jobs, seed=arguments.seed, console=console
    )
