"""`zoo table`: papers' tables with their sources and conflicts, our numbers beside them, and papers side by side."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.commands.numbers import positive

if TYPE_CHECKING:
    from benchmarks.paper_text import Ours
    from benchmarks.sheets import Sheet

WORDS = "show papers' tables, with our own numbers beside the printed ones"
RESULTS = Path("runs/eval")  # where `zoo eval` writes
EXAMPLES = """\
examples:
  zoo table                                         every table, with the rows that can be run
  zoo table videomamba                              those of a paper
  zoo table videomamba:k400
  zoo table videomamba:k400 --measured              with what `zoo eval` wrote to runs/eval
  zoo table umt:ssv2 --measured --results runs/a runs/b --format md
  zoo table --suite ssv2 --frames 16 --sort gflops  rows of all papers side by side"""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("name", nargs="?", default="", metavar="PAPER[:TABLE]", help="a paper, or one of its tables")
    parser.add_argument("--suite", type=_named, metavar="S", help="rows of all papers on this suite")
    parser.add_argument("--frames", type=positive, metavar="N", help="with --suite, clips of so many frames only")
    parser.add_argument("--task", default="", metavar="T", help="with --suite, only this task of it")
    parser.add_argument("--sort", default="", metavar="{reported,params,gflops}", help="with --suite (reported)")
    parser.add_argument("--measured", action="store_true", help="with our numbers and a verdict on each row")
    parser.add_argument(
        "--results", nargs="+", type=Path, metavar="DIR", help=f"with --measured, folders of results ({RESULTS})"
    )
    parser.add_argument("--format", default="text", metavar="{text,md,csv,html,latex}", help="(text)")


def _named(text: str) -> str:
    """An option that must not be empty, as an unset variable of a shell would make it."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; leave it out, or name a suite")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Print a table; 1 when files of results could not be read.

    Raises:
        UnknownNameError: for a paper, table, suite, task, order or format that does not exist.
        RequestError: for options that do not go together, and folders that are not there.
    """
    from benchmarks.session import RequestError
    from benchmarks.sheets import check_format

    check_format(arguments.format)
    if arguments.results and not arguments.measured:
        raise RequestError("--results needs --measured")
    if arguments.name and arguments.suite:
        raise RequestError("give either PAPER:TABLE or --suite, not both")
    alone = [f"--{word}" for word in ("frames", "task", "sort") if getattr(arguments, word) and not arguments.suite]
    if alone:
        raise RequestError(f"{' and '.join(alone)}: only with --suite")
    if arguments.measured and ":" not in arguments.name and not arguments.suite:
        raise RequestError("--measured needs PAPER:TABLE or --suite")
    ours, unreadable = _measured(arguments.results) if arguments.measured else (None, False)
    write(_chosen(arguments, ours), arguments.format)
    return int(unreadable)


def _chosen(arguments: argparse.Namespace, ours: "Ours | None") -> "Sheet":
    from benchmarks.paper_tables import get_paper, papers
    from benchmarks.paper_text import listing, sheet_of

    if arguments.suite:
        from benchmarks.comparable import in_order, lines_of, side_by_side

        lines = lines_of(list(papers().values()), arguments.suite, arguments.frames, arguments.task)
        of = f", clips of {arguments.frames} frames" if arguments.frames else ""
        title = f"{arguments.suite}: rows of all papers{of}"
        return side_by_side(in_order(lines, arguments.sort or "reported"), title=title, ours=ours)
    paper, _, table = arguments.name.partition(":")
    if not paper:
        return listing(list(papers().values()))
    found = get_paper(paper)
    return sheet_of(found, found.table(table), ours) if ":" in arguments.name else listing([found])


def _measured(folders: list[Path] | None) -> "tuple[Ours, bool]":
    """Looks up what we measured for a row, and whether files could not be read."""
    from benchmarks.commands.results import gather
    from benchmarks.measured import measured

    stored, problems = gather(folders or ([RESULTS] if RESULTS.is_dir() else []))
    for problem in problems:
        print(f"zoo table: {problem.path}: {problem.reason}", file=sys.stderr)  # noqa: T201
    results = [one.result for one in stored]
    return (lambda row, table: measured(row, table, results)), bool(problems)


def write(sheet: "Sheet", form: str) -> None:
    """Print a sheet in one of the formats of `benchmarks.sheets`."""
    from benchmarks.sheets import WRITERS, show

    if form != "text":
        print(WRITERS[form](sheet), end="")  # noqa: T201
        return
    from rich.console import Console

    # A file has no width: nothing is folded.
    show(sheet, Console(width=None if sys.stdout.isatty() else 250, highlight=False))
