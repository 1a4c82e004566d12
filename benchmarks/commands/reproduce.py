"""`zoo reproduce`: rows of a paper's table measured again, each by its own protocol, with a verdict."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.numbers import counting, positive

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.reproduce import Asked, Job, Options
    from benchmarks.results import Result

WORDS = "measure rows of a paper's table again, and say whether they hold"
EXAMPLES = """\
examples:
  zoo reproduce videomamba:k400 --dry-run                         what it would download, run and cost
  zoo reproduce videomamba:k400:tiny_f8 --data /data/k400 --workers 8
  zoo reproduce videomamba:k400:tiny_f8 --data /data/k400 --limit 50         how fast it is; never a verdict
  zoo reproduce videomamba:k400:tiny_f8 --data /data/k400 --checkpoint mine.safetensors
  zoo data synth k400 --out /tmp/k400 && zoo reproduce videomamba:k400:tiny_f8 --data /tmp/k400 --shrink
  zoo reproduce vjepa:frozen_ssv2:large --data /data/ssv2 --train            by its recipe, then by its protocol

A row is measured as it states, with the views, frames, crops and merge rule of its weights; protocols are never mixed.
Results are kept in --out and shared with zoo eval: what is there is not measured again. Stop it with Ctrl-C at any
time; the same command goes on where it stopped.

exit status:
  0  every row that can be measured was, and its printed numbers lie in the 95 % intervals; with --shrink, every video
     was scored
  1  a number is outside, incomplete (--limit, videos that failed, another list), of another protocol, or not measured
  2  bad input, or nothing of what was named can be measured: rows that are reported only are skipped in a table and
     refused when named"""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("rows", metavar="PAPER:TABLE[:ROW]", help="see zoo table")
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder of the suite's official files")
    parser.add_argument("--dry-run", action="store_true", help="say what would be downloaded and run, and leave")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of yours, for a single row")
    weights.add_argument(
        "--shrink", action="store_true", help="small networks with random weights, to try it out on generated data"
    )
    parser.add_argument(
        "--train", action="store_true", help="make the weights first, by the row's published recipe (zoo recipe show)"
    )
    parser.add_argument(
        "--network", default="", metavar="NAME", help="architecture of a row without released weights, with the above"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="the first N videos only; never a verdict")
    parser.add_argument("--tolerate", default="0", metavar="N|PERCENT", help="videos that may fail (0)")
    parser.add_argument("--budget", default="full", metavar="{smoke,quick,full}", help="of protocols that train (full)")
    parser.add_argument("--batch-size", type=positive, default=16, metavar="N", help="views per device and step (16)")
    parser.add_argument("--workers", type=counting, default=0, metavar="N", help="loading processes per device (0)")
    parser.add_argument("--accelerator", default="auto", help="as Lightning takes it (auto)")
    parser.add_argument("--devices", type=positive, default=1, metavar="N", help="(1)")
    parser.add_argument("--precision", metavar="P", help="32-true, bf16-mixed or 16-mixed (the protocol's)")
    parser.add_argument("--decoder", default="pyav", metavar="{pyav,decord}", help="(pyav)")
    parser.add_argument("--seed", type=counting, default=0, metavar="N", help="of fresh weights and training (0)")
    parser.add_argument(
        "--out", "--results", type=Path, default=Path("runs/eval"), metavar="DIR", help="of results (runs/eval)"
    )
    parser.add_argument("--format", default="text", metavar="{text,md,csv,html,latex}", help="of the verdicts (text)")
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing and print the verdicts; see EXAMPLES for the status."""
    from rich.console import Console

    from benchmarks.commands.table import write
    from benchmarks.reproduce import asked_for, carry_out, look_up, plan, refuse_nothing
    from benchmarks.reproduce_text import exit_status, lines_of, verdict_sheet
    from benchmarks.session import RequestError
    from benchmarks.sheets import check_format
    from zoo.folders import require_writable
    from zoo.training.fit import is_first_process

    check_format(arguments.format)
    if arguments.format != "text" and (arguments.json or arguments.dry_run):
        raise RequestError(f"--format is for the verdicts, not for {'--json' if arguments.json else '--dry-run'}")
    wanted, asked = _options(arguments), asked_for(arguments.rows)
    jobs = plan(asked, wanted)
    # What is written in a format goes into a file, which holds the verdicts alone.
    console = _console(Console, quiet=arguments.json or arguments.format != "text" or not is_first_process())
    if arguments.dry_run:
        return _dry_run(console, asked, jobs, wanted, as_json=arguments.json)
    refuse_nothing(asked, jobs)
    require_writable("--out", arguments.out)
    progress = is_first_process() and sys.stderr.isatty()
    found = []
    try:
        steps = look_up(jobs, wanted, single=asked.single, progress=progress)
        for step in steps:
            if step.one is not None:
                what = (
                    "measured before" if step.result is not None else f"{step.one.rows} videos of {step.one.suite.name}"
                )
                console.print(f"{step.job.name}: {what}", highlight=False, markup=False)
            found.append(carry_out(step, progress=progress))
    except KeyboardInterrupt:
        kept = f"what was computed is kept in {wanted.out}; the same command goes on from there"
        raise KeyboardInterrupt(kept) from None
    lines = lines_of(found, asked, wanted)
    if arguments.json:
        print(json.dumps([line.to_dict() for line in lines]))  # noqa: T201
    elif is_first_process():
        write(verdict_sheet(lines, f"{arguments.rows}: reported beside measured"), arguments.format)
    # A small network's numbers say nothing, but a part of the list is not all videos.
    return exit_status(lines, shrink=wanted.shrink and wanted.limit is None)


def _console(make: "type[Console]", *, quiet: bool) -> "Console":
    # What goes into a pipe or a file must keep every entry on one line.
    return make(width=None if sys.stdout.isatty() else 250, quiet=quiet)


def _options(arguments: argparse.Namespace) -> "Options":
    """What the command line wants of all rows."""
    from benchmarks.reproduce import Options
    from zoo.suggest import unknown
    from zoo.training.fit import Hardware

    if arguments.decoder not in ("pyav", "decord"):
        raise unknown("decoder", arguments.decoder, ("pyav", "decord"))
    hardware = Hardware(accelerator=arguments.accelerator, devices=arguments.devices, precision=arguments.precision)
    hardware.check()
    return Options(
        data=arguments.data,
        out=arguments.out,
        checkpoint=arguments.checkpoint,
        network=arguments.network,
        train=arguments.train,
        shrink=arguments.shrink,
        limit=arguments.limit,
        tolerate=arguments.tolerate,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        hardware=hardware,
        decoder=arguments.decoder,
        budget=arguments.budget,
        seed=arguments.seed,
    )


def _dry_run(console: "Console", asked: "Asked", jobs: "list[Job]", wanted: "Options", *, as_json: bool) -> int:
    """Say what would be done."""
    from benchmarks.reproduce_text import data_lines, job_lines
    from zoo.catalogue_text import print_columns

    head, finished = data_lines(asked, jobs), _stored(wanted.out)
    rows = [job_lines(job, asked, finished) for job in jobs]
    if as_json:
        print(json.dumps({"table": head, "rows": rows}))  # noqa: T201
    for lines in (head, *rows):
        print_columns(console, lines)
        console.print()
    return 0


def _stored(folder: Path) -> "list[Result]":
    """Results that are there, without making their folder."""
    from benchmarks.results import Store

    return Store(folder).results() if folder.is_dir() else []
