"""What `zoo data check` says at its end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.data_tools.check import STATUSES, Entry
from benchmarks.data_tools.listing import Listing

FIRST = 20
COLORS = {"ok": "green", "short": "yellow", "corrupt": "bold red", "missing": "red"}


def counts(listing: Listing, entries: Mapping[str, Entry]) -> dict[str, dict[str, int]]:
    """List -> status -> number of its distinct videos; the last row counts each video once."""
    rows = {
        listing.title(task, split): {listing.name_of(record.path) for record in records}
        for (task, split), records in listing.lists.items()
    }
    if len(rows) > 1:
        rows["all, each once"] = set(entries)
    return {
        title: {status: found.get(status, 0) for status in STATUSES}
        for title, names in rows.items()
        for found in [Counter(entries[name].status for name in names)]
    }


def as_json(listing: Listing, entries: Mapping[str, Entry], parts: Sequence[str], manifest: Path) -> dict[str, Any]:
    """The report for programs."""
    bad = [entry for entry in entries.values() if entry.status != "ok"]
    return {
        "name": listing.name,
        "root": str(listing.root),
        "manifest": str(manifest),
        "videos": len(entries),
        "counts": counts(listing, entries),
        "bad": [{"path": entry.path, "status": entry.status, "reason": entry.reason} for entry in bad],
        "parts_without_frames": list(parts),
        "notes": list(listing.notes),
    }


def show(
    console: Console, listing: Listing, entries: Mapping[str, Entry], parts: Sequence[str], manifest: Path
) -> None:
    """Counts, the first bad files, and where the rest is."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("list")
    for column in ("videos", *STATUSES):
        table.add_column(column, justify="right")
    for title, found in counts(listing, entries).items():
        cells = [Text(f"{found[status]:,}", style=COLORS[status] if found[status] else "dim") for status in STATUSES]
        table.add_row(Text(title), f"{sum(found.values()):,}", *cells)
    console.print(table)
    bad = [entry for entry in entries.values() if entry.status != "ok"]
    for entry in bad[:FIRST]:
        line = Text(f"  {entry.status:<8}", style=COLORS[entry.status]) + Text(f"{entry.path}: {entry.reason}")
        console.print(line, soft_wrap=True)
    if len(bad) > FIRST:
        console.print(f"  and {len(bad) - FIRST:,} more, see the manifest", highlight=False)
    for part in parts[:FIRST]:
        console.print(Text(f"  no frames {part}"), soft_wrap=True)
    if len(parts) > FIRST:
        console.print(f"  and {len(parts) - FIRST:,} more parts without frames", highlight=False)
    if entries and all(entry.status == "missing" for entry in entries.values()):
        hint = "--data" if listing.suite else "--root"
        console.print(Text(f"None of the videos is there: is {hint} {listing.root} right?"), soft_wrap=True)
    for note in listing.notes:
        console.print(Text(note), soft_wrap=True)
    console.print(Text(f"manifest: {manifest}"), soft_wrap=True)
