"""`zoo data benchmark`: how many clips per second the loader delivers."""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.commands.numbers import counting, positive
from benchmarks.data_tools import options as common
from benchmarks.data_tools.options import DataError, several

if TYPE_CHECKING:
    from benchmarks.data_tools.listing import Listing
    from benchmarks.data_tools.throughput import Plan, Speed
    from zoo.card import ClipSpec
    from zoo.data.records import Record

WORDS = "time how many clips per second are loaded, per decoder and number of workers"
EXAMPLES = """\
examples:
  zoo data benchmark k400 --data /data/k400 --split train --for videomae_base
  zoo data benchmark --list train.csv --root /data/k400 --for umt_base --workers 0,4,8 --rounds 5
  zoo data benchmark ssv2 --data /data/ssv2 --for vjepa_large_16_224 --eval --decoders pyav --json

Settings are timed in turns, several rounds of each. Files that were just read come from memory: to time a disk, let
--videos be more than fits there."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    common.videos(parser)
    parser.add_argument("--for", dest="network", required=True, metavar="NAME", help="network whose clips are loaded")
    parser.add_argument("--workers", type=several, default=(0, 1, 2), metavar="N,N", help="worker processes (0,1,2)")
    parser.add_argument("--decoders", default="", metavar="NAME,NAME", help="pyav, decord (those that are installed)")
    parser.add_argument("--batch-size", type=positive, default=8, metavar="N", help="clips of a batch (8)")
    parser.add_argument("--clips", type=positive, default=64, metavar="N", help="clips of each timing (64)")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="timings of each setting (3)")
    parser.add_argument("--videos", type=positive, default=256, metavar="N", help="videos to choose at random (256)")
    parser.add_argument("--seed", type=counting, default=0, metavar="N", help="of the choice of videos (0)")
    parser.add_argument("--eval", dest="evaluation", action="store_true", help="all views of a video, not random clips")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Time, and show; 1 when a setting could not be timed.

    A decoder that nobody asked for and that cannot read these videos at all is only said to be unable.
    """
    from rich.console import Console

    from benchmarks.data_tools.listing import listing_of
    from benchmarks.data_tools.throughput import Plan, installed, measure

    decoders, missing = installed([name.strip() for name in arguments.decoders.split(",") if name.strip()])
    listing = listing_of(arguments)
    plan = Plan(
        spec=_spec(arguments.network, listing),
        decoders=decoders,
        workers=arguments.workers,
        batch_size=arguments.batch_size,
        clips=arguments.clips,
        rounds=arguments.rounds,
        evaluation=arguments.evaluation,
    )
    records = _records(listing, arguments.videos, arguments.seed)
    with Console(stderr=True).status("") as status:
        speeds = measure(records, plan, tell=lambda done, total: status.update(f"timing {done} of {total}"))
    if arguments.json:
        print(json.dumps(_report(listing.name, arguments.network, plan, len(records), speeds)))  # noqa: T201
    else:
        _show(Console(), plan, speeds, f"{len(records):,} videos of {listing.name} for {arguments.network}", missing)
    able = {speed.setting.decoder for speed in speeds if speed.rounds}
    wrong = [speed for speed in speeds if speed.error and (arguments.decoders or speed.setting.decoder in able)]
    return int(bool(wrong) or not able)


def _spec(network: str, listing: "Listing") -> "ClipSpec":
    """The network's clips, by the sampling of the suite's first task."""
    from benchmarks.data_tools.clips import clip_of

    task = listing.task(next(iter(listing.lists))[0])
    return clip_of(network) if task is None else task.clip_spec(clip_of(network))


def _records(listing: "Listing", count: int, seed: int) -> "list[Record]":
    """Some of the records whose files are there, at random."""
    from benchmarks.data_tools.check import stamp_of
    from zoo.data.records import Record

    records = [record for records in listing.lists.values() for record in records]
    distinct = list({(record.path, record.span): record for record in records}.values())
    random.Random(seed).shuffle(distinct)
    found: list[Record] = []
    for record in distinct:
        if len(found) < count and stamp_of(record.path) is not None:
            found.append(Record(record.path, 0, len(found), record.span))
    if not found:
        raise DataError(f"none of the {len(distinct):,} listed videos is there below {str(listing.root)!r}")
    return found


def _report(name: str, network: str, plan: "Plan", videos: int, speeds: "Sequence[Speed]") -> dict[str, Any]:
    from benchmarks.provenance import now, provenance

    origin = asdict(provenance(threads=1))
    rows = [{**speed.setting._asdict(), **speed._asdict()} for speed in speeds]
    for row in rows:
        del row["setting"]
    return {
        "name": name,
        "network": network,
        "when": now(),
        **origin,
        "videos": videos,
        **_settings(plan),
        "rows": rows,
    }


def _settings(plan: "Plan") -> dict[str, Any]:
    return {
        "clip": plan.spec.to_dict(),
        "batch_size": plan.batch_size,
        "clips": plan.clips,
        "views": "evaluation" if plan.evaluation else "training",
    }


def _show(console: Any, plan: "Plan", speeds: "Sequence[Speed]", title: str, missing: str) -> None:
    from rich.table import Table
    from rich.text import Text

    spec = plan.spec
    kind = "views of evaluation" if plan.evaluation else "training clips"
    console.print(f"{title}: {kind}, {spec.num_frames} frames {spec.sampling}, {spec.img_size} px", highlight=False)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("decoder")
    for column in ("workers", "clips per s", "slowest to fastest of " + str(plan.rounds), "videos that failed"):
        table.add_column(column, justify="right")
    for speed in speeds:
        measured = f"{speed.median:,.1f}", f"{speed.low:,.1f} to {speed.high:,.1f}"
        numbers = measured if speed.rounds else ("not able", "–")
        table.add_row(speed.setting.decoder, str(speed.setting.workers), *numbers, str(speed.failures))
    console.print(table)
    for speed in speeds:
        if speed.error:
            console.print(Text(f"{speed.setting.decoder}, {speed.setting.workers} workers: {speed.error}"))
    if missing:
        console.print(Text(f"left out: {missing}"))
