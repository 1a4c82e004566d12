"""Smaller, faster copies of all videos of the lists in another folder; the originals are only read."""

import contextlib
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.data_tools.check import stamp_of
from benchmarks.data_tools.journal import Journal
from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.pool import Answer, each, shown
from zoo.data.decode import DecodeError, Limits
from zoo.data.images import SUFFIXES as IMAGES
from zoo.data.transcode import PARTIAL, Encoding, TranscodeError, transcode

KIND = "zoo data prepare"
JOURNAL = "prepared.jsonl"

# A temporary file this old belongs to a process that was killed.
STALE_AFTER_S = 3600.0

# With less free space than this an error is the disk's, and no file is blamed for it.
FULL_BYTES = 1 << 24


# Time for a file: a base, and as much per megabyte as a slow core takes that decodes and encodes 1080p on one thread.
BASE_S, SECONDS_PER_MB = 600.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What may be spent.

    Attributes:
        jobs: processes.
        seconds: limit for each file; None for one that grows with its size.
    """

    jobs: int = 1
    seconds: float | None = None

    def limit_s(self, size: int) -> float:
        """Seconds for a file of so many bytes."""
        return self.seconds if self.seconds is not None else BASE_S + SECONDS_PER_MB * size / 1e6


class Job(NamedTuple):
    """A video to copy."""

    name: str
    source: str
    target: str
    encoding: Encoding
    seconds: float


class Copy(NamedTuple):
    """What came of a copy: its number of frames and bytes, or what was wrong with the source."""

    frames: int
    size_bytes: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of all videos.

    Attributes:
        copied: names of the videos that were copied now.
        reused: how many an earlier run had copied.
        failed: name -> reason.
        source_bytes: of the videos that have a copy.
        copy_bytes: of their copies.
    """

    copied: tuple[str, ...]
    reused: int
    failed: dict[str, str]
    source_bytes: int
    copy_bytes: int


def make(job: Job) -> Copy:
    """Copy one video."""
    os.makedirs(os.path.dirname(job.target), exist_ok=True)
    try:
        index = transcode(job.source, job.target, encoding=job.encoding, limits=Limits(seconds=job.seconds))
    except DecodeError as error:
        return Copy(0, 0, error.reason)
    except TranscodeError as error:
        return Copy(0, 0, str(error))
    return Copy(index.num_frames, index.stamp[0])


def targets(listing: Listing, out: Path) -> dict[str, Path]:
    """Name -> file of the copy of every video.

    Raises:
        DataError: a copy would replace an original or another copy, an original lies outside the root, or is an image.
    """
    if out.resolve() == listing.root.resolve():
        raise DataError(f"--out {str(out)!r} is the folder of the originals; choose another one")
    paths = listing.paths()
    found: dict[str, Path] = {}
    taken: dict[str, str] = {}
    for name in paths:
        if os.path.isabs(name):
            raise DataError(f"{name!r} lies outside {str(listing.root)!r}; name a --root that holds all videos")
        stem, ending = os.path.splitext(name)
        if ending.lower() in IMAGES:
            raise DataError(f"{name!r} is an image; only videos are prepared")
        copy = f"{stem}.mp4"
        if copy in taken:
            raise DataError(f"{taken[copy]!r} and {name!r} would both become {copy!r}; prepare them in two folders")
        taken[copy], found[name] = name, out / copy
    originals = {os.path.realpath(path): name for name, path in paths.items()}
    for name, target in found.items():
        if (hit := originals.get(os.path.realpath(target))) is not None:
            raise DataError(f"the copy of {name!r} would replace the original {hit!r}; choose an --out outside of it")
    return found


def prepare(
    listing: Listing, encoding: Encoding, effort: Effort, *, out: Path, force: bool, console: Console
) -> Outcome:
    """Copy every distinct video; copies of unchanged originals are not made again.

    Args:
        listing: the lists.
        encoding: size and quality.
        effort: processes and time limit.
        out: folder of the copies, and of the journal that says what they were made from.
        force: also replace copies that were made with other settings.
        console: where progress goes.

    Raises:
        DataError: the folder cannot be used, or the disk is full.
    """
    places = targets(listing, out)
    head = {"kind": KIND, "schema": 1, "root": os.path.abspath(listing.root)}
    with Journal(out / JOURNAL, head) as journal:
        _remove_stale(out)
        known = {str(entry.get("path")): entry for entry in journal.entries}
        _refuse_other_settings(out, known, encoding, force=force)
        failed: dict[str, str] = {}
        done: dict[str, dict[str, Any]] = {}
        jobs = []
        for name, path in listing.paths().items():
            stamp = stamp_of(path)
            if stamp is None:
                failed[name] = "there is no such file"
            elif _is_done(known.get(name), stamp, encoding, places[name]):
                done[name] = known[name]
            elif places[name].exists() and name not in known:
                failed[name] = f"{str(places[name])!r} is there and no copy that this command made; move it away"
            else:
                jobs.append(Job(name, str(path), str(places[name]), encoding, effort.limit_s(stamp[0])))
                # Before the copy: a file that is there after a crash is then known to be ours.
                journal.append({"path": name, "state": "started"})
        reused = len(done)
        answers = each(make, jobs, jobs=effort.jobs, limit_s=lambda job: job.seconds)
        total, before = len(places), reused + len(failed)
        with contextlib.closing(shown(answers, total=total, done=before, words="preparing", console=console)) as stream:
            for answer in stream:
                entry = _entry(answer)
                journal.append(entry)
                if entry["state"] == "done":
                    done[entry["path"]] = entry
                    continue
                _refuse_full_disk(out)
                failed[entry["path"]] = entry["reason"]
    return Outcome(
        copied=tuple(job.name for job in jobs if job.name in done),
        reused=reused,
        failed={name: failed[name] for name in places if name in failed},
        source_bytes=sum(entry["size_bytes"] for entry in done.values()),
        copy_bytes=sum(entry["copy_bytes"] for entry in done.values()),
    )


def _entry(answer: Answer[Job, Copy]) -> dict[str, Any]:
    """The line of a copy."""
    job, made = answer.item, answer.made
    entry: dict[str, Any] = {"path": job.name, "state": "failed", "settings": asdict(job.encoding)}
    if made is None or made.reason:
        return {**entry, "reason": answer.lost if made is None else made.reason}
    # As it is after the copy: an original that changed meanwhile is copied again by the next run.
    size, changed = stamp_of(Path(job.source)) or (0, 0)
    return {
        **entry,
        "state": "done",
        "size_bytes": size,
        "mtime_ns": changed,
        "frames": made.frames,
        "copy_bytes": made.size_bytes,
    }


def _is_done(entry: dict[str, Any] | None, stamp: tuple[int, int], encoding: Encoding, target: Path) -> bool:
    """Whether there is a whole copy of this state of the original, made with these settings."""
    if entry is None or entry.get("state") != "done" or entry["settings"] != asdict(encoding):
        return False
    copy = stamp_of(target)
    return copy is not None and copy[0] == entry["copy_bytes"] and (entry["size_bytes"], entry["mtime_ns"]) == stamp


def _refuse_other_settings(out: Path, known: dict[str, dict[str, Any]], encoding: Encoding, *, force: bool) -> None:
    """Keep a folder from holding copies of several kinds, or from being replaced by mistake."""
    for entry in known.values():
        if not force and entry.get("state") == "done" and entry["settings"] != asdict(encoding):
            found = ", ".join(f"{key} {value}" for key, value in entry["settings"].items())
            raise DataError(
                f"{str(out)!r} holds copies made with {found}; choose another --out, or replace them with --force"
            )


def _refuse_full_disk(out: Path) -> None:
    free = shutil.disk_usage(out).free
    if free < FULL_BYTES:
        raise DataError(f"no space left for {str(out)!r} ({free:,} bytes); the same command goes on from here")


def _remove_stale(out: Path) -> None:
    """Remove temporary files of processes that were killed."""
    for partial in out.rglob(f".*{PARTIAL}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > STALE_AFTER_S:
                partial.unlink()
