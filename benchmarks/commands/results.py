"""`zoo results`: what was measured so far; and metrics again from stored scores, without the network."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.suggest import unknown

if TYPE_CHECKING:
    from benchmarks.results import Problem, Result
    from benchmarks.side_by_side import Stored

WORDS = "list results, or merge and measure stored scores again"
EXAMPLES = """\
examples:
  zoo results                                        what `zoo eval` wrote to runs/eval
  zoo results runs/eval runs/compare --suite digits --task motion
  zoo results runs/eval --protocol linear --side-by-side markdown
  zoo results --recompute runs/eval/RUN.json --merge mean-of-logits"""


FORMS = ("markdown", "csv", "latex")


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="folders of results (runs/eval)")
    for word in ("suite", "system", "task", "protocol"):
        parser.add_argument(f"--{word}", default="", metavar="NAME", help=f"results of this {word} only")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--side-by-side",
        default="",
        metavar="{" + ",".join(FORMS) + "}",
        help="as tables, one column per task; refused where results of a column were not measured alike",
    )
    parser.add_argument("--recompute", type=Path, metavar="FILE", help="merge and measure the scores of one result")
    parser.add_argument("--merge", default="", metavar="RULE", help="with --recompute, by this rule (the result's own)")


def run(arguments: argparse.Namespace) -> int:
    """Print what fits; 1 when files could not be read.

    Raises:
        RequestError: for a folder that does not exist, and scores that cannot be merged again.
    """
    from benchmarks.session import RequestError

    if arguments.recompute is not None:
        return _recompute(arguments.recompute, arguments.merge, as_json=arguments.json)
    if arguments.merge:
        raise RequestError("--merge needs --recompute FILE")
    if arguments.side_by_side and arguments.side_by_side not in FORMS:
        raise unknown("form of a table", arguments.side_by_side, FORMS)
    stored, problems = gather(arguments.folders or [Path("runs/eval")])
    for word in ("suite", "system", "task", "protocol"):
        stored = _only(stored, word, getattr(arguments, word))
    stored.sort(key=lambda one: one.result.created, reverse=True)
    if arguments.side_by_side:
        _side_by_side(stored, arguments.side_by_side)
    elif arguments.json:
        print(json.dumps([json.loads(one.result.to_json()) for one in stored]))  # noqa: T201
    else:
        _table([one.result for one in stored])
    for problem in problems:
        print(f"zoo results: {problem.path}: {problem.reason}", file=sys.stderr)  # noqa: T201
    return int(bool(problems))


def gather(folders: list[Path]) -> "tuple[list[Stored], list[Problem]]":
    """Results of folders, and files that are none; the folder of a comparison means its results.

    Raises:
        RequestError: for a folder that does not exist.
    """
    from benchmarks.results import Store
    from benchmarks.session import RequestError, no_folder
    from benchmarks.side_by_side import Stored

    found, problems = [], []
    for folder in folders:
        if not folder.is_dir():
            raise RequestError(f"{folder}: {no_folder(folder)}; `zoo eval` and `zoo compare` write results")
        inside = folder / "results"
        store = Store(inside if inside.is_dir() else folder)
        found += [Stored(result, store) for result in store.results()]
        problems += [problem for problem in store.problems if problem.path.name != "request.json"]
    return found, problems


def _only(stored: "list[Stored]", word: str, wanted: str) -> "list[Stored]":
    """The results of a suite, system, task or protocol; all of them for "".

    Raises:
        UnknownNameError: when there are results and none is, with the closest that are there.
    """
    there = {getattr(one.result.identity, word) for one in stored}
    if wanted and there and wanted not in there:
        raise unknown(f"{word} among these results", wanted, sorted(there))
    return [one for one in stored if not wanted or getattr(one.result.identity, word) == wanted]


def _side_by_side(stored: "list[Stored]", form: str) -> None:
    from benchmarks import formats
    from benchmarks.side_by_side import side_by_side

    write = {"markdown": formats.markdown, "csv": formats.comma_separated, "latex": formats.latex}[form]
    found = side_by_side(stored)
    for table in found.tables:
        print(write(table))  # noqa: T201
    for line in found.left_out:
        print(f"left out: {line}", file=sys.stderr)  # noqa: T201


def _table(found: "list[Result]") -> None:
    from rich.console import Console
    from rich.table import Table

    from benchmarks.formats import number_words

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("created", "system", "start", "suite", "task", "protocol", "hash", "videos", "result"):
        table.add_column(column, no_wrap=column != "result")
    for one in found:
        name, interval = next(iter(one.metrics.items()), ("", None))
        headline = f"{name} {number_words(name, interval)}" if interval else one.details.get("no_headline", "no number")
        if one.failed and interval:
            headline += f", {len(one.failed)} failed"
        who = one.identity
        videos = f"{one.n_evaluated}/{one.n_expected}"
        cells = (one.created, who.system, who.init, who.suite, who.task, who.protocol, one.protocol_hash[:8], videos)
        table.add_row(*cells, headline)
    Console(width=None if sys.stdout.isatty() else 250).print(table)


def _recompute(path: Path, rule: str, *, as_json: bool) -> int:
    from benchmarks.formats import number_words
    from benchmarks.recompute import recompute

    again = recompute(path, rule)
    if as_json:
        print(json.dumps({"merge": again.rule, "metrics": {name: list(it) for name, it in again.metrics.items()}}))  # noqa: T201
        return 0
    print(f"{len(again.predictions.rows)} videos, merged by {again.rule}")  # noqa: T201
    for name, interval in again.metrics.items():
        print(f"  {name:11} {number_words(name, interval)}")  # noqa: T201
    return 0
