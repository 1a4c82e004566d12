"""`zoo efficiency`: what networks cost as clips grow longer, measured so that papers' claims can be checked."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.numbers import positive
from benchmarks.data_tools.options import seconds

if TYPE_CHECKING:
    from benchmarks.efficiency_runs import Plan, Request

WORDS = "measure parameters, GFLOPs, latency and memory against the number of frames"
EXAMPLES = """\
examples:
  zoo efficiency vit_pico videomamba_pico --frames 8,16,32 --resolution 24
  zoo efficiency videomamba_tiny timesformer_joint_tiny --frames 8,16,32,64 --mode train --dtype bf16
  zoo efficiency videomamba_tiny timesformer_joint_tiny --frames 64 --batch auto --memory 40000 --attention math
  ZOO_SCAN=compiled zoo efficiency videomamba_tiny videomae_small --frames 8,16 --compile

A point that runs out of memory, is killed, takes longer than --timeout or is not possible is a cell that says so. Stop
it with Ctrl-C at any time: lengths that are done are kept, and the same command goes on with the others. To measure a
point again, delete its file in OUT/results."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="architectures, released weights (their architecture), hf:, timm:"
    )
    parser.add_argument("--frames", type=_lengths, default=(8, 16, 32), metavar="N,N", help="clip lengths (8,16,32)")
    parser.add_argument("--resolution", type=positive, default=224, metavar="PX", help="side of the clips (224)")
    parser.add_argument(
        "--batch",
        type=_batch,
        metavar="auto|N",
        help="clips per call; auto: the largest power of two that fits --memory, 1 on a CPU without it (auto)",
    )
    parser.add_argument(
        "--memory", type=positive, metavar="MIB", help="budget of --batch auto (90 %% of a GPU's memory)"
    )
    parser.add_argument("--mode", default="infer", metavar="{infer,train}", help="train: with backward pass (infer)")
    parser.add_argument("--dtype", default="float32", metavar="{float32,bf16,float16}", help="(float32)")
    parser.add_argument("--attention", default="sdpa", metavar="{sdpa,math}", help="kernel of attention (sdpa)")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
    parser.add_argument("--rounds", type=positive, default=10, metavar="N", help="timed calls of each point (10)")
    parser.add_argument("--device", default="auto", metavar="{auto,cpu,cuda}", help="(auto)")
    parser.add_argument("--timeout", type=seconds, default=600.0, metavar="S", help="longest wait for a call (600)")
    parser.add_argument("--out", type=Path, default=Path("runs/efficiency"), metavar="DIR", help="(runs/efficiency)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _lengths(text: str) -> tuple[int, ...]:
    """Whole numbers from 1 on, separated by commas."""
    return tuple(positive(part.strip()) for part in text.split(","))


def _batch(text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return positive(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto nor a whole number from 1 on") from None


def run(arguments: argparse.Namespace) -> int:
    """Measure what is missing and report; 1 when a point failed for a reason of its own, or none was possible."""
    from benchmarks.processes import fresh_processes

    fresh_processes(("torch", "benchmarks.points", "zoo.registry"))  # it imports while this process does
    from benchmarks.efficiency_report import as_json, points_of, write
    from benchmarks.efficiency_runs import ANSWERS, NOT_POSSIBLE, open_plan

    plan = open_plan(request_of(arguments))
    try:
        _measure(plan)
    finally:  # also after Ctrl-C
        stored = plan.stored()
        files = write(plan, arguments.out) if any(stored.values()) else []
    if arguments.json:
        print(json.dumps(as_json(plan, stored)))  # noqa: T201
    else:
        _show(plan, files)
    notes = [point["note"] for results in stored.values() for point in points_of(results)]
    failed = any(note and not note.startswith(ANSWERS) for note in notes)
    return int(failed or all(note.startswith(NOT_POSSIBLE) for note in notes))


def request_of(arguments: argparse.Namespace) -> "Request":
    """The request that a command line makes."""
    from benchmarks.efficiency_runs import Request

    return Request(
        names=tuple(arguments.names),
        frames=arguments.frames,
        resolution=arguments.resolution,
        batch=arguments.batch,
        mode=arguments.mode,
        dtype=arguments.dtype,
        attention=arguments.attention,
        compiled=arguments.compile,
        rounds=arguments.rounds,
        device=arguments.device,
        memory_mib=arguments.memory,
        timeout_s=arguments.timeout,
        out=arguments.out,
    )


def _measure(plan: "Plan") -> None:
    """Measure what is not stored yet, under a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from benchmarks.efficiency_runs import measure

    missing = plan.missing()
    done = len(plan.request.frames) - len(missing)
    console = Console(stderr=True)
    if done:
        console.print(f"{done} of {len(plan.request.frames)} clip lengths are stored already", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        steps = len(missing) * (len(plan.request.names) + plan.request.rounds)
        task = bar.add_task("", total=steps)
        measure(plan, missing, lambda note: bar.update(task, description=note, advance=1))


def _show(plan: "Plan", files: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.efficiency_report import COLUMNS, GROWTH, growth_rows, rows

    # What goes into a pipe or a file must keep every point on one line.
    console = Console(width=None if sys.stdout.isatty() else 250)
    tables = [(["Network", "Parameters", *COLUMNS.values(), "Note"], rows(plan.stored()))]
    tables += [(["Growth exponent", *GROWTH.values()], growth_rows(plan.stored()))]
    for head, body in tables:
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for word in head:
            table.add_column(word, justify="left" if word in (head[0], "Note") else "right")
        for row in body:
            table.add_row(*row)
        if body:
            console.print(table)
    for file in files:
        console.print(str(file), highlight=False, markup=False, soft_wrap=True)
