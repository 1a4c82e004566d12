"""What the lists of a data set hold: videos per split and class, overlaps, and what their files are like."""

import contextlib
import itertools
import random
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.data_tools.check import Entry, Job, entry_of, read_manifest, stamp_of
from benchmarks.data_tools.listing import NO_TASK, Listing
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.pool import each, shown
from benchmarks.listed import hash_of
from zoo.data.decode import DecodeError, Limits, probe
from zoo.data.records import Record

PROBE_S = 120.0


class Range(NamedTuple):
    """The least, middle and greatest of some numbers."""

    least: float | int
    median: float | int
    most: float | int


@dataclass(frozen=True, kw_only=True)
class ListStats:
    """A list in numbers.

    Attributes:
        task: of the suite; "" for a plain list.
        split: of the suite, or the name of the list.
        videos: distinct videos.
        rows: what is scored: videos, or parts of them.
        records: lines of the list; more than rows where a row has several windows.
        per_class: rows per class, classes without any left out; None for a regression.
        classes: number of classes: of the suite, or the largest label and one.
        empty: classes without a row.
        per_row: rows in each class, in the order of the labels, empty ones too.
        targets: of a regression.
        copies: public copies of the data set whose list of this split is as long.
        known: lengths of this list in the public copies.
        split_hash: of the list.
    """

    task: str
    split: str
    videos: int
    rows: int
    records: int
    per_class: Range | None
    classes: int
    empty: tuple[str, ...]
    per_row: tuple[int, ...]
    targets: Range | None
    copies: tuple[str, ...]
    known: Mapping[str, int]
    split_hash: str


class Overlap(NamedTuple):
    """Videos that two lists of a task share."""

    task: str
    one: str
    other: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FileStats:
    """The video files in numbers.

    Attributes:
        source: where they come from: a manifest, or a sample that was probed.
        files: number of files that were looked at.
        listed: distinct videos of the lists.
        bad: files that are not sound, as far as is known.
        durations_s: seconds of each file, ascending.
        hours: sum of the durations.
        fps: rate -> files.
        sizes: (width, height) -> files.
        codecs: codec -> files.
        bytes: of all files.
    """

    source: str
    files: int
    listed: int
    bad: int
    durations_s: tuple[float, ...]
    hours: float
    fps: Mapping[str, int]
    sizes: Mapping[str, int]
    codecs: Mapping[str, int]
    bytes: int


def range_of(values: Sequence[float | int]) -> Range | None:
    """Least, median and greatest; None of nothing."""
    return Range(min(values), statistics.median(values), max(values)) if values else None


def list_stats(listing: Listing) -> list[ListStats]:
    """Every list in numbers."""
    return [_one(listing, task, split, records) for (task, split), records in listing.lists.items()]


def _one(listing: Listing, name: str, split: str, records: Sequence[Record]) -> ListStats:
    labels = {record.row: record.label for record in records}
    known = listing.suite.sizes_of(name, split) if listing.suite is not None else {}
    regression = any(record.target is not None for record in records)
    counts: tuple[int, ...] = ()
    names: Sequence[str] = ()
    if not regression:
        names = _class_names(listing, name, max(labels.values(), default=-1) + 1)
        counted = Counter(labels.values())
        counts = tuple(counted[label] for label in range(len(names)))
    return ListStats(
        task=name,
        split=split,
        videos=len({listing.name_of(record.path) for record in records}),
        rows=len(labels),
        records=len(records),
        per_class=range_of([count for count in counts if count]),
        classes=len(names),
        empty=tuple(it for it, count in zip(names, counts, strict=True) if not count),
        per_row=counts,
        targets=range_of([record.target for record in records if record.target is not None]),
        copies=tuple(copy for copy, length in known.items() if length in (len(labels), len(records))),
        known=known,
        split_hash=listing.videos.split_hash(name, split) if listing.videos else hash_of(records, listing.name_of),
    )


def _class_names(listing: Listing, name: str, least: int) -> list[str]:
    """Names of the classes; their numbers where there are no names."""
    task = listing.task(name)
    if task is None or listing.videos is None:
        return [str(label) for label in range(least)]
    names = list(listing.videos.classes(name)) or list(task.classes)
    return names + [str(label) for label in range(len(names), max(least, task.num_classes))]


def overlaps(listing: Listing) -> list[Overlap]:
    """Pairs of lists of one task that share videos; plain lists are all of one task."""
    found = []
    names = {
        key: dict.fromkeys(listing.name_of(record.path) for record in records) for key, records in listing.lists.items()
    }
    for one, other in itertools.combinations(names, 2):
        shared = tuple(name for name in names[one] if name in names[other])
        if one[0] == other[0] and shared:
            found.append(Overlap(one[0] or NO_TASK, one[1], other[1], shared))
    return found


def from_manifest(listing: Listing, manifest: Path) -> FileStats:
    """Numbers of the files that a manifest knows.

    Raises:
        DataError: it is no manifest, or is about other videos.
    """
    _, entries = read_manifest(manifest)
    names = listing.paths()
    found = [entries[name] for name in names if name in entries]
    if not found:
        raise DataError(f"{str(manifest)!r} knows none of these videos; is it about another folder?")
    return _files(found, f"manifest {manifest}", len(names))


def from_sample(listing: Listing, *, sample: int, jobs: int, seed: int, console: Console) -> FileStats:
    """Numbers of a random sample of the files, of which the index is read and nothing else.

    Args:
        listing: the lists.
        sample: most files.
        jobs: processes.
        seed: of the choice.
        console: where progress goes.
    """
    paths = listing.paths()
    chosen = sorted(random.Random(seed).sample(list(paths), min(sample, len(paths))))
    items = [Job(name, str(paths[name]), True, PROBE_S) for name in chosen]
    found: list[Entry] = []
    answers = each(describe, items, jobs=jobs, limit_s=lambda job: job.seconds)
    with contextlib.closing(shown(answers, total=len(items), done=0, words="probing", console=console)) as stream:
        for answer in stream:
            lost = Entry(path=answer.item.name, status="corrupt", reason=answer.lost)
            found.append(answer.made if answer.made is not None else lost)
    everything = len(chosen) == len(paths)
    return _files(found, "all files, probed" if everything else f"a random sample, seed {seed}, probed", len(paths))


def describe(job: Job) -> Entry:
    """What the index of a video tells."""
    if stamp_of(Path(job.path)) is None:
        return Entry(path=job.name, status="missing", reason="there is no such file")
    try:
        return entry_of(job.name, probe(job.path, limits=Limits(seconds=job.seconds)))
    except DecodeError as error:
        return Entry(path=job.name, status="corrupt", reason=error.reason)


def _files(entries: Sequence[Entry], source: str, listed: int) -> FileStats:
    sound = [entry for entry in entries if entry.status in ("ok", "short")]
    durations = tuple(sorted(entry.duration_s for entry in sound))
    return FileStats(
        source=source,
        files=len(entries),
        listed=listed,
        bad=len(entries) - len(sound),
        durations_s=durations,
        hours=sum(durations) / 3600,
        fps=_counted(f"{entry.fps:.2f}" for entry in sound),
        sizes=_counted(f"{entry.width}x{entry.height}" for entry in sound),
        codecs=_counted(entry.codec for entry in sound),
        bytes=sum(entry.size_bytes for entry in sound),
    )


def _counted(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common())
