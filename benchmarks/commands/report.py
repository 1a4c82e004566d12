"""`zoo report`: the report of a comparison again, or the leaderboard of everything printed and measured."""

import argparse
import sys
from pathlib import Path

WORDS = "write the report of a comparison again, or a leaderboard of all papers and results"
EXAMPLES = """\
examples:
  zoo report runs/compare                       writes report.html and the tables again, from the result files
  zoo report --all                              a page with every printed number, and those of runs/eval
  zoo report --all --results runs/eval --results runs/compare --out runs/leaderboard.html

The page sorts, filters and draws its rows without a network. What is chosen stands in its address and can be linked:
leaderboard.html#suite=ssv2&how=fine-tuned&sort=gflops"""
USUAL = Path("runs/eval")


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="the --out of a comparison")
    parser.add_argument("--all", action="store_true", help="the leaderboard of all papers and results")
    parser.add_argument(
        "--results", action="append", type=Path, metavar="DIR", help="with --all: a folder of results (runs/eval)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="with --all: the page (runs/leaderboard.html)")


def run(arguments: argparse.Namespace) -> int:
    """Write what is asked for; 1 when files could not be read.

    Raises:
        RequestError: for options that do not go together, and a folder that does not exist.
    """
    from benchmarks.session import RequestError

    if arguments.all == (arguments.folder is not None):
        raise RequestError("give either the folder of a comparison or --all")
    if arguments.all:
        return _leaderboard(arguments.results, arguments.out or Path("runs/leaderboard.html"))
    for option in ("results", "out"):
        if getattr(arguments, option) is not None:
            raise RequestError(f"--{option} belongs to --all")
    from benchmarks.compare import report_again

    return report_again(arguments.folder)


def _leaderboard(folders: list[Path] | None, out: Path) -> int:
    from benchmarks.commands.results import gather
    from benchmarks.leaderboard import page
    from benchmarks.paper_tables import papers
    from benchmarks.report import replace_file
    from benchmarks.session import RequestError
    from zoo.folders import require_writable

    if out.is_dir():
        raise RequestError(f"--out {out}: this is a folder; name a file, such as {out / 'leaderboard.html'}")
    require_writable("--out", out.parent)
    # The usual folder need not be there: a leaderboard of printed numbers alone is one too.
    stored, problems = gather(folders or [folder for folder in (USUAL,) if folder.is_dir()])
    replace_file(out, page(stored, list(papers().values())))
    print(out)  # noqa: T201
    for problem in problems:
        print(f"zoo report: {problem.path}: {problem.reason}", file=sys.stderr)  # noqa: T201
    return int(bool(problems))
