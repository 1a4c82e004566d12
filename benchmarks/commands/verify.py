"""`zoo verify`: whether released weights on this machine are what their cards say."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks.commands.names import chosen

if TYPE_CHECKING:
    from zoo.verify import Verdict

WORDS = "check released weights: file, hash, strict load, finite and unchanged output"
EXAMPLES = """\
examples:
  zoo verify videomamba_tiny.in1k_res224            downloads the file if it is not here
  zoo verify "videomamba_*" --no-download           what is here of a family
  zoo verify --all --no-download --json
  zoo verify NAME --record                          keeps the output, for later runs to compare with"""
COLORS = {"ok": "green", "failed": "bold red", "not downloaded": "yellow", "no network": "dim"}
WIDE = 250  # columns; no name and status together are longer


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("names", nargs="*", metavar="NAME", help='released weights, or a pattern such as "umt_*"')
    parser.add_argument("--all", action="store_true", help="every card")
    parser.add_argument("--record", action="store_true", help="keep the output as golden where there is none yet")
    parser.add_argument("--no-download", action="store_true", help="only what is on this machine")
    parser.add_argument("--json", action="store_true", help="verdicts as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Verify and print; 1 when anything failed, or when weights that were named are not to be had."""
    from rich.console import Console

    from zoo.verify import verify

    names = chosen(arguments.names, everything=arguments.all)
    verdicts: list[Verdict] = []
    try:
        with Console(stderr=True).status("") as status:
            for number, name in enumerate(names, 1):
                status.update(f"{number} of {len(names)}: {name}")
                verdicts.append(
                    # The status line is in the place of a bar.
                    verify(name, record=arguments.record, download=not arguments.no_download, progress=False)
                )
    finally:
        # Also after Ctrl-C: what is done has cost time.
        _show(verdicts, as_json=arguments.json, only_local=arguments.no_download)
    bad = {"failed"} if arguments.all or arguments.no_download else {"failed", "not downloaded", "no network"}
    return int(any(verdict.status in bad for verdict in verdicts))


def _show(verdicts: "list[Verdict]", *, as_json: bool, only_local: bool) -> None:
    if as_json:
        print(json.dumps([asdict(verdict) for verdict in verdicts]))  # noqa: T201
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("weights", "status", "sha256", "golden"):
        table.add_column(column, no_wrap=True)
    for it in verdicts:
        table.add_row(it.name, Text(it.status, style=COLORS[it.status]), it.sha256[:12], it.golden)
    if not verdicts:
        return
    # What goes into a pipe or a file must keep every name and status whole.
    Console(width=None if sys.stdout.isatty() else WIDE).print(table)
    # Reasons stand below, unbroken: names leave a column of theirs no room, and paths are there to be copied.
    for reason, names in _reasons(verdicts, only_local=only_local).items():
        print(f"\n{', '.join(names)}:\n  {reason.replace(chr(10), chr(10) + '  ')}")  # noqa: T201


def _reasons(verdicts: "list[Verdict]", *, only_local: bool) -> dict[str, list[str]]:
    """Why weights are not ok, and of which that is true."""
    reasons: dict[str, list[str]] = {}
    for it in verdicts:
        if it.reason and not (only_local and it.status == "not downloaded"):
            reasons.setdefault(it.reason, []).append(it.name)
    return reasons
