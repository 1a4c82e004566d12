"""`zoo efficiency`: what networks cost as clips grow longer, measured so that papers' claims can be checked."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.commands.numbers import positive
from benchmarks.data_tools.options import seconds

if TYPE_CHECKING:
    from benchmarks.efficiency_runs import Plan
    from benchmarks.results import Result

WORDS = "measure parameters, GFLOPs, latency and memory against the number of frames"
LVMAE = "lvmae:memory"  # its name in `benchmarks.lvmae_report`, which is not imported to read options
EXAMPLES = """\
examples:
  zoo efficiency vit_pico videomamba_pico --frames 8,16,32 --resolution 24
  zoo efficiency videomamba_tiny timesformer_joint_tiny --frames 8,16,32,64 --mode train --dtype bf16
  zoo efficiency videomamba_tiny timesformer_joint_tiny --frames 64 --batch auto --memory 40000 --attention math
  zoo efficiency --paper videomamba:figure1
  zoo efficiency --paper videomamba:figure1 --frames 8 --batch 1 --warm-up 1 --timed 5 --dtype float32
  zoo efficiency --paper lvmae:memory --frames 32,64,128
  ZOO_SCAN=chunked zoo efficiency videomamba_tiny videomae_small --frames 8,16 --compile

A point that runs out of memory, is killed, takes longer than --timeout or is not possible is a cell that says so. Stop
it with Ctrl-C at any time: lengths that are done are kept, and the same command goes on with the others. To measure a
point again, delete its file in OUT/results."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands; only what was given becomes an attribute, under its name in a `Request`."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="architectures, released weights (their architecture), hf:, timm:"
    )
    parser.add_argument(
        "--paper", metavar="FIGURE", help="measure a paper's figure again: videomamba:figure1 or lvmae:memory"
    )
    asked = parser.add_argument_group("how to measure", argument_default=argparse.SUPPRESS)
    asked.add_argument("--frames", type=_lengths, metavar="N,N", help="clip lengths (8,16,32)")
    asked.add_argument("--resolution", type=positive, metavar="PX", help="side of the clips (224)")
    asked.add_argument(
        "--batch",
        type=_batch,
        metavar="auto|N",
        help="clips per call; auto: the largest power of two that fits --memory, 1 on a CPU without it (auto)",
    )
    asked.add_argument(
        "--memory",
        dest="memory_mib",
        type=positive,
        metavar="MIB",
        help="budget of --batch auto (90 %% of a GPU's memory)",
    )
    asked.add_argument("--mode", metavar="{infer,train}", help="train: with backward pass (infer)")
    asked.add_argument("--dtype", metavar="{float32,bf16,float16}", help="(float32)")
    asked.add_argument("--attention", metavar="{sdpa,math}", help="kernel of attention (sdpa)")
    asked.add_argument("--compile", dest="compiled", action="store_true", help="through torch.compile")
    asked.add_argument("--rounds", type=positive, metavar="N", help="timed calls of each point (10)")
    asked.add_argument("--warm-up", dest="warm_up_s", type=seconds, metavar="S", help="repeat calls so long first (0)")
    asked.add_argument("--timed", dest="timed_s", type=seconds, metavar="S", help="repeat each timed call so long (0)")
    asked.add_argument("--device", metavar="{auto,cpu,cuda}", help="(auto)")
    asked.add_argument("--timeout", dest="timeout_s", type=seconds, metavar="S", help="longest wait for a call (600)")
    asked.add_argument("--out", type=Path, metavar="DIR", help="(runs/efficiency)")
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="draw results of zoo compare or zoo eval against costs (runs/compare and runs/eval where they are)",
    )
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
    from benchmarks.efficiency_runs import Request
    from zoo.folders import require_writable

    asked = {one.name for one in fields(Request)}
    given = {name: value for name, value in vars(arguments).items() if name in asked}
    require_writable("--out", given.get("out", Request().out))
    if not arguments.paper:
        return _networks(arguments, given)
    return _lvmae(arguments, given) if arguments.paper == LVMAE else _figure(arguments, given)


def _networks(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    from benchmarks.efficiency_report import as_json, write
    from benchmarks.efficiency_runs import Request, measure, open_plan
    from benchmarks.session import RequestError

    if not given["names"]:
        raise RequestError("name at least one network, such as videomamba_tiny, or a figure with --paper")
    plan = open_plan(Request(**given | {"names": tuple(given["names"])}))
    try:
        with _bar([plan]) as tell:
            measure(plan, plan.missing(), tell)
    finally:  # also after Ctrl-C
        files = write(plan, plan.request.out, _results(arguments.results)) if any(plan.stored().values()) else []
    if arguments.json:
        print(json.dumps(as_json(plan, plan.stored())))  # noqa: T201
    else:
        _show(plan, files)
    return _status([plan])


def _results(folders: list[Path] | None) -> "list[Result]":
    """Results of evaluations: those of the named folders, or of the usual ones as far as they are there."""
    from benchmarks.commands.results import gather

    there = [folder for folder in (Path("runs/compare"), Path("runs/eval")) if folder.is_dir()]
    return [one.result for one in gather(there if folders is None else folders)[0]]


def _figure(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    from benchmarks import paper_costs
    from benchmarks.efficiency_report import as_json
    from benchmarks.efficiency_runs import open_plan

    figure = paper_costs.figure_of(arguments.paper)
    plans = [(one, open_plan(request)) for one, request in paper_costs.requests_of(figure, given)]
    with _bar([plan for _, plan in plans]) as tell:
        found = paper_costs.run_figure(arguments.paper, plans, given, tell)
    if arguments.json:
        print(json.dumps({one.title: as_json(plan, plan.stored()) for one, plan, _ in found}))  # noqa: T201
        return _status([plan for _, plan in plans])
    for procedure, plan, files in found:
        print(f"\n{procedure.title}")  # noqa: T201
        _show(plan, files)
    print()  # noqa: T201
    _print_table(paper_costs.HEAD, paper_costs.rows(figure, found))
    return _status([plan for _, plan in plans])


def _lvmae(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    """Decoder tokens, operations and memory of LVMAE; nothing is stored, since nothing is timed."""
    from benchmarks import lvmae_report
    from benchmarks.efficiency_runs import Request

    found = lvmae_report.measure(lvmae_report.lengths_of(given))
    files = lvmae_report.write(found, given.get("out", Request().out))
    if arguments.json:
        print(files[1].read_text())  # noqa: T201
        return 0
    _print_table(lvmae_report.HEAD, lvmae_report.table(found))
    for line in (*lvmae_report.verdicts(found), *map(str, files)):
        print(line)  # noqa: T201
    return 0


def _status(plans: Sequence["Plan"]) -> int:
    from benchmarks.efficiency_report import points_of
    from benchmarks.efficiency_runs import ANSWERS, NOT_POSSIBLE

    notes = [point["note"] for plan in plans for results in plan.stored().values() for point in points_of(results)]
    failed = any(note and not note.startswith(ANSWERS) for note in notes)
    return int(failed or all(note.startswith(NOT_POSSIBLE) for note in notes))


@contextmanager
def _bar(plans: Sequence["Plan"]) -> Iterator[Callable[[str], None]]:
    """Tell steps to a bar on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console, steps = Console(stderr=True), 0
    for plan in plans:
        missing = len(plan.missing())
        if done := len(plan.request.frames) - missing:
            console.print(f"{done} of {len(plan.request.frames)} clip lengths are stored already", highlight=False)
        steps += missing * (len(plan.request.names) + plan.request.rounds)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=steps)
        yield lambda note: bar.update(task, description=note, advance=1)


def _show(plan: "Plan", files: Sequence[Path]) -> None:
    from rich.console import Console

    from benchmarks.efficiency_report import COLUMNS, GROWTH, growth_rows, rows

    stored = plan.stored()
    _print_table(["Network", "Parameters", *COLUMNS.values(), "Note"], rows(stored))
    if grown := growth_rows(stored):
        _print_table(["Growth exponent", *GROWTH.values()], grown)
    for file in files:
        Console().print(str(file), highlight=False, markup=False, soft_wrap=True)


def _print_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for word in head:
        table.add_column(word, justify="left" if word in (head[0], "Note", "Claim", "Verdict") else "right")
    for row in body:
        table.add_row(*row)
    # What goes into a pipe or a file must keep every point on one line.
    Console(width=None if sys.stdout.isatty() else 250).print(table)
