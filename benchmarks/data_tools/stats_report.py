"""What `zoo data stats` shows: tables, JSON and a picture."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.stats import FileStats, ListStats, Overlap, Range, range_of

FIRST = 5
PLOTS = (".png", ".svg", ".pdf")


def as_json(
    listing: Listing, lists: Sequence[ListStats], overlaps: Sequence[Overlap], files: FileStats | None
) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "name": listing.name,
        "root": str(listing.root),
        "lists": [asdict(it) for it in lists],
        "overlaps": [it._asdict() for it in overlaps],
        "notes": list(listing.notes),
        "files": None if files is None else asdict(files),
    }


def show(
    console: Console,
    listing: Listing,
    lists: Sequence[ListStats],
    overlaps: Sequence[Overlap],
    files: FileStats | None,
) -> None:
    """Everything, for people."""
    console.print(_lists_table(listing, lists))
    for it in lists:
        if it.empty:
            more = f" and {len(it.empty) - FIRST:,} more" if len(it.empty) > FIRST else ""
            names = ", ".join(it.empty[:FIRST]) + more
            title = listing.title(it.task, it.split)
            console.print(Text(f"{title}: {len(it.empty):,} classes without videos: {names}", "yellow"), soft_wrap=True)
    for found in overlaps:
        one, other = listing.title(found.task, found.one), listing.title(found.task, found.other)
        more = ", ..." if len(found.names) > FIRST else ""
        words = f"{one} and {other} share {len(found.names):,} videos: {', '.join(found.names[:FIRST])}{more}"
        console.print(Text(words, "bold red"), soft_wrap=True)
    if not overlaps and len(lists) > 1:
        console.print("no two lists of a task share a video (by path)", highlight=False)
    for note in listing.notes:
        console.print(Text(note), soft_wrap=True)
    if files is not None:
        console.print(_files_table(files))


def _lists_table(listing: Listing, lists: Sequence[ListStats]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("list")
    for column in ("videos", "rows", "classes", "empty", "rows per class"):
        table.add_column(column, justify="right")
    table.add_column("as long as the copy of", overflow="fold")
    table.add_column("split hash", no_wrap=True)
    for it in lists:
        table.add_row(
            Text(listing.title(it.task, it.split)),
            f"{it.videos:,}",
            f"{it.rows:,}",
            f"{it.classes:,}" if it.classes else "–",
            f"{len(it.empty):,}" if it.classes else "–",
            _words(it.per_class) if it.targets is None else f"targets {_words(it.targets)}",
            Text(_copies(it)),
            it.split_hash,
        )
    table.caption = "rows per class: least / median / most, of the classes that have any"
    return table


def _copies(it: ListStats) -> str:
    if it.copies:
        return ", ".join(it.copies)
    return "none: " + ", ".join(f"{copy} has {length:,}" for copy, length in it.known.items()) if it.known else "–"


def _words(found: Range | None) -> str:
    return "–" if found is None else " / ".join(f"{value:,.4g}" if value < 1000 else f"{value:,.0f}" for value in found)


def _files_table(files: FileStats) -> Table:
    table = Table(
        box=None, show_header=False, padding=(0, 2, 0, 0), title=f"files ({files.source})", title_justify="left"
    )
    table.add_column()
    table.add_column(overflow="fold")
    rows = {
        "looked at": f"{files.files:,} of {files.listed:,}",
        "not sound": f"{files.bad:,}",
        "duration in s": f"{_words(range_of(files.durations_s))}; {files.hours:,.2f} hours in all",
        "frames per s": _first(files.fps),
        "width x height": _first(files.sizes),
        "codec": _first(files.codecs),
        "size": f"{files.bytes / 1e6:,.1f} MB",
    }
    for name, words in rows.items():
        table.add_row(name, Text(words))
    return table


def _first(counted: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} ({count:,})" for name, count in itertools.islice(counted.items(), FIRST))
    return shown + (f", {len(counted) - FIRST:,} more" if len(counted) > FIRST else "")


def check_plot(path: Path, *, force: bool) -> None:
    """Refuse a picture that could not be written, before any work is done.

    Raises:
        DataError: an unknown ending, no such folder, or a file that is there.
    """
    if path.suffix.lower() not in PLOTS:
        raise DataError(f"--plot {str(path)!r}: the ending must be one of {', '.join(PLOTS)}")
    if not path.parent.is_dir():
        raise DataError(f"--plot {str(path)!r}: there is no folder {str(path.parent)!r}")
    if path.exists() and not force:
        raise DataError(f"--plot {str(path)!r} is there; replace it with --force")


def plot(path: Path, listing: Listing, lists: Sequence[ListStats], files: FileStats | None) -> None:
    """A picture of durations, and of the rows per class from the largest class to the smallest."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from benchmarks.figures import COLORS

    style: Any = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}
    with mpl.rc_context({**style, "axes.axisbelow": True, "grid.color": "#dddddd", "legend.frameon": False}):
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        figure.suptitle(listing.name)
        left, right = figure.subplots(1, 2)
        if files is not None and files.durations_s:
            left.hist(files.durations_s, bins=40, color=COLORS[0])
        left.set(xlabel="duration in s", ylabel="videos", title=f"{files.files:,} files" if files else "no files read")
        for it, color in zip([it for it in lists if it.per_row], itertools.cycle(COLORS)):
            counts = sorted(it.per_row, reverse=True)
            right.step(range(len(counts)), counts, where="mid", color=color, label=listing.title(it.task, it.split))
        right.set(xlabel="class, the largest first", ylabel="rows", title="rows per class")
        right.set_ylim(bottom=0)
        if any(it.per_row for it in lists):
            right.legend()
        partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        try:
            figure.savefig(partial, dpi=150)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
