"""Whether every video of the lists is there and can be decoded from end to end, written down as it is found out."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.data_tools.journal import Journal, read_journal
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.pool import each, shown
from zoo.data.decode import DecodeError, Limits, VideoIndex, decode_all, probe, read_frames

KIND = "zoo data check"
MANIFEST = "manifest.jsonl"
STATUSES = ("ok", "short", "corrupt", "missing")

# Time for a file: a base, and as much per megabyte as a slow core takes that decodes 1080p on one thread.
BASE_S, SECONDS_PER_MB = 120.0, 2.0


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a video.

    Attributes:
        path: below the root, with forward slashes.
        status: "ok", "short" (fewer frames than asked for), "corrupt" (cannot be read exactly) or "missing".
        reason: what is wrong, empty for "ok".
        frames: number of frames.
        duration_s: seconds.
        fps: mean frames per second, or what the file claims where it has no times; 0 where it says nothing.
        height: pixels as shown.
        width: pixels as shown.
        codec: FFmpeg's name.
        rotation: degrees clockwise by which players turn the stored picture.
        size_bytes: of the file.
        mtime_ns: time of its last change in nanoseconds.
        checked: "all" frames were decoded, or "quick": the index and three frames.
    """

    path: str
    status: str
    reason: str = ""
    frames: int = 0
    duration_s: float = 0.0
    fps: float = 0.0
    height: int = 0
    width: int = 0
    codec: str = ""
    rotation: int = 0
    size_bytes: int = 0
    mtime_ns: int = 0
    checked: str = "all"


class Job(NamedTuple):
    """A video to look at, and how."""

    name: str
    path: str
    quick: bool
    seconds: float


def examine(job: Job) -> Entry:
    """Decode a video, or three frames of it."""
    checked = "quick" if job.quick else "all"
    limits = Limits(seconds=job.seconds)
    try:
        index = _three_frames(job.path, limits) if job.quick else decode_all(job.path, limits=limits)
    except DecodeError as error:
        size, changed = stamp_of(Path(job.path)) or (0, 0)
        return Entry(
            path=job.name, status="corrupt", reason=error.reason, size_bytes=size, mtime_ns=changed, checked=checked
        )
    return replace(entry_of(job.name, index), checked=checked)


def _three_frames(path: str, limits: Limits) -> VideoIndex:
    index = probe(path, limits=limits)
    read_frames(path, sorted({0, index.num_frames // 2, index.num_frames - 1}), index=index, limits=limits)
    return index


def entry_of(name: str, index: VideoIndex) -> Entry:
    """What the index of a sound video tells."""
    return Entry(
        path=name,
        status="ok",
        frames=index.num_frames,
        duration_s=round(index.duration_s, 6),
        fps=round(index.fps or float(index.declared_rate), 6),
        height=index.height,
        width=index.width,
        codec=index.codec,
        rotation=index.rotation,
        size_bytes=index.stamp[0],
        mtime_ns=index.stamp[1],
    )


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Size and time of last change of a file; None where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def judged(entry: Entry, min_frames: int) -> Entry:
    """The entry, "short" or "ok" by the number of frames asked for now; other states stay."""
    if entry.status not in ("ok", "short"):
        return entry
    if entry.frames >= min_frames:
        return replace(entry, status="ok", reason="")
    return replace(entry, status="short", reason=f"{entry.frames} frames, fewer than {min_frames}")


def read_manifest(path: Path) -> tuple[str, dict[str, Entry]]:
    """Root and entries of a manifest, the last one of each video.

    Raises:
        DataError: it is not there, or is no manifest.
    """
    head, entries = read_journal(path, KIND)
    return str(head.get("root", "")), latest(entries)


def latest(entries: list[dict[str, Any]]) -> dict[str, Entry]:
    """Name -> the last entry of each video; lines that are no entries are passed over."""
    known = {it.name for it in fields(Entry)}
    found = {}
    for entry in entries:
        if {"path", "status"} <= entry.keys() <= known:
            found[str(entry["path"])] = Entry(**entry)
    return found


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How to check.

    Attributes:
        quick: only the index and the first, middle and last frame.
        min_frames: shorter videos are "short".
        jobs: processes.
        seconds: limit for each file; None for one that grows with its size.
        retry: look again at files that were not ok.
    """

    quick: bool = False
    min_frames: int = 1
    jobs: int = 1
    seconds: float | None = None
    retry: bool = False

    def limit_s(self, size: int) -> float:
        """Seconds for a file of so many bytes."""
        return self.seconds if self.seconds is not None else BASE_S + SECONDS_PER_MB * size / 1e6

    def settles(self, entry: Entry | None, stamp: tuple[int, int]) -> bool:
        """Whether what is known of a file need not be found out again."""
        if entry is None or (entry.size_bytes, entry.mtime_ns) != stamp or entry.status == "missing":
            return False
        deep_enough = entry.checked == "all" or self.quick
        return deep_enough and not (self.retry and entry.status == "corrupt")


def check(listing: Listing, wishes: Wishes, *, out: Path, console: Console) -> dict[str, Entry]:
    """Check every distinct video; what an earlier run wrote down of unchanged files is not done again.

    Args:
        listing: the lists.
        wishes: how to check.
        out: folder of the manifest.
        console: where progress goes.

    Returns:
        Name -> entry of every video of the lists, in their order.

    Raises:
        DataError: the manifest cannot be written, or is about another folder.
    """
    paths = listing.paths()
    with Journal(out / MANIFEST, {"kind": KIND, "schema": 1, "root": os.path.abspath(listing.root)}) as journal:
        known = latest(journal.entries)
        found: dict[str, Entry] = {}

        def settle(entry: Entry) -> None:
            entry = judged(entry, wishes.min_frames)
            if known.get(entry.path) != entry:
                journal.append(asdict(entry))
            found[entry.path] = entry

        jobs = []
        for name, path in paths.items():
            stamp = stamp_of(path)
            if stamp is None:
                settle(Entry(path=name, status="missing", reason="there is no such file", checked="all"))
            elif wishes.settles(known.get(name), stamp):
                settle(known[name])
            else:
                jobs.append(Job(name, str(path), wishes.quick, wishes.limit_s(stamp[0])))
        answers = each(examine, jobs, jobs=wishes.jobs, limit_s=lambda job: job.seconds)
        with contextlib.closing(
            shown(answers, total=len(paths), done=len(found), words="checking", console=console)
        ) as stream:
            for answer in stream:
                settle(answer.made if answer.made is not None else _lost(answer.item, answer.lost))
    return {name: found[name] for name in paths}


def _lost(job: Job, reason: str) -> Entry:
    """The entry of a video that took its process with it."""
    size, changed = stamp_of(Path(job.path)) or (0, 0)
    checked = "quick" if job.quick else "all"
    return Entry(path=job.name, status="corrupt", reason=reason, size_bytes=size, mtime_ns=changed, checked=checked)


def empty_parts(listing: Listing, entries: Mapping[str, Entry]) -> list[str]:
    """What is wrong with records that are about a part of a sound video in which no frame lies."""
    wrong = []
    for (task, split), records in listing.lists.items():
        for record in records:
            entry = entries[listing.name_of(record.path)]
            if record.span is None or entry.status not in ("ok", "short"):
                continue
            try:
                record.span.frames(entry.frames, entry.fps)
            except ValueError as error:
                wrong.append(f"{listing.title(task, split)}, row {record.row}, {entry.path}: {error}")
    return wrong
