"""Data workers that are watched: whatever happens to one ends the run in time, with one error that names the video.

torch's DataLoader tells which process died, not at what, and waits for ever for one that hangs or raises what cannot be
pickled. Here each worker notes in shared memory what it reads and since when, ends itself when one video takes too
long, and hands its errors over as plain text.
"""

import faulthandler
import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from zoo.batch import Batch
from zoo.data.loading import (
    EachOnce,
    EndlessBatches,
    EvalClips,
    Place,
    Reader,
    TrainClips,
    UnreadableVideoError,
    collate,
)
from zoo.data.records import Span

LINE_BYTES = 1024  # of a note; the end of a longer path is kept
PIDS = re.compile(r"pid(?:\(s\))? ([0-9]+(?:, [0-9]+)*)")  # in torch's messages about workers that died
STANDARD_ERROR = 2


class WorkerError(RuntimeError):
    """A data worker died, got stuck or failed; the message names the video. One string, to survive any process."""


class Note(NamedTuple):
    """What a worker is doing.

    Attributes:
        worker: its number, from 0.
        pid: its process; 0 where it has read nothing yet.
        path: what it reads; "" where it reads nothing.
        seconds: time since it began with that.
    """

    worker: int
    pid: int
    path: str = ""
    seconds: float = 0.0

    def __str__(self) -> str:
        doing = f"reading {self.path!r} for {self.seconds:.1f} s" if self.path else "between two videos"
        return f"data worker {self.worker} (pid {self.pid}) was {doing}"


class Board:
    """What each worker reads, in memory that all processes share.

    Args:
        workers: number of workers.
        limit_s: longest time for one video, in seconds; a worker that takes longer ends itself.
    """

    def __init__(self, workers: int, limit_s: float) -> None:
        self.limit_s = limit_s
        self.lines = torch.zeros(workers, LINE_BYTES, dtype=torch.uint8).share_memory_()

    def begin(self, worker: int, path: str) -> None:
        """Note what a worker begins with, and end it unless `begin` or `end` follow in time; called in the worker."""
        self._write(worker, f"{os.getpid()} {time.monotonic()} ", path)
        # A thread in C, which also ends a decoder that never comes back to Python.
        faulthandler.dump_traceback_later(self.limit_s, exit=True, file=STANDARD_ERROR)

    def end(self, worker: int) -> None:
        """Note that a worker is done with a batch; called in the worker."""
        faulthandler.cancel_dump_traceback_later()
        self._write(worker, f"{os.getpid()} 0 ", "")

    def _write(self, worker: int, head: str, path: str) -> None:
        name = path.encode(errors="surrogateescape")[len(head) - LINE_BYTES :]
        line = (head.encode() + name).ljust(LINE_BYTES, b"\0")
        self.lines[worker].numpy()[:] = np.frombuffer(line, dtype=np.uint8)

    def notes(self) -> list[Note]:
        """What every worker is doing."""
        found = []
        for worker, line in enumerate(self.lines.numpy()):
            pid, since, path = (*bytes(line).rstrip(b"\0").split(b" ", 2), b"", b"", b"")[:3]
            seconds = time.monotonic() - float(since) if path else 0.0
            found.append(Note(worker, int(pid or 0), path.decode(errors="surrogateescape"), seconds))
        return found

    def named(self, message: str) -> str:
        """Torch's message about workers, with what they were doing; "" when it is about those of others."""
        notes = {note.pid: note for note in self.notes() if note.pid}
        # Without any number a connection broke, and whoever is not alive any more has broken it, or the time is up.
        pids = [int(pid) for match in PIDS.findall(message) for pid in match.split(", ")]
        dead = pids or sorted(notes.keys() - {child.pid for child in multiprocessing.active_children()}) or list(notes)
        told = "; ".join(self._told(notes[pid]) for pid in dead if pid in notes)
        return f"{told}: {message}" if told else ""

    def _told(self, note: Note) -> str:
        if note.seconds < self.limit_s:
            return f"{note} when it died"
        return (
            f"{note}, longer than the limit of {self.limit_s:g} s (worker_timeout_s), and was ended. Look at that "
            "file, and at the disk it lies on; `zoo data check` tests all videos of a list"
        )


BOARDS: "weakref.WeakSet[Board]" = weakref.WeakSet()


@dataclass(frozen=True)
class NotedReader(Reader):
    """A reader that notes what it reads.

    Attributes:
        reader: reads; None for this one itself.
        board: takes the notes; None for none.
    """

    reader: Reader | None = None
    board: Board | None = None

    def __call__(
        self, path: Path, choose: Callable[[int], Int64[Tensor, "frames"]], span: Span | None = None
    ) -> UInt8[Tensor, "frames height width 3"]:
        """See `Reader`."""
        info = get_worker_info()
        if self.board is not None and info is not None:
            self.board.begin(info.id, str(path))
        return self.reader(path, choose, span) if self.reader else super().__call__(path, choose, span)


class WatchedClips(Dataset[Any]):
    """Whole batches of clips; in a worker, an error comes back instead of being raised: as text, which can be pickled.

    Args:
        clips: gives the clips of a video.
        board: takes notes of what is read.
    """

    def __init__(self, clips: TrainClips | EvalClips, board: Board) -> None:
        self.clips = replace(clips, reader=NotedReader(reader=clips.reader, board=board))
        self.board = board

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, places: Sequence[Any]) -> Batch | RuntimeError:
        """One batch; torch hands it to the collate function as it is."""
        info = get_worker_info()
        if info is None:
            return self._batch(places)
        try:
            return self._batch(places)
        except UnreadableVideoError as error:
            return UnreadableVideoError(str(error))
        except Exception as error:
            note = self.board.notes()[info.id]
            told = "".join(traceback.format_exception(error))
            return WorkerError(f"{note} when it failed: {type(error).__name__}: {error}\n\n{told}")
        finally:
            self.board.end(info.id)

    def _batch(self, places: Sequence[int | Place]) -> Batch:
        return collate([self.clips[place] for place in places])  # type: ignore[index]


class WatchedLoader(DataLoader[Batch]):
    """Batches of clips; whatever happens to a worker becomes one error that names the video.

    Args:
        clips: gives the clips of a video.
        batches: places of each batch.
        num_workers: loading processes; 0 loads in this one, which nobody watches.
        timeout_s: longest time for one video, in seconds.
        seed: of the loader's own generator, which nothing here draws from.
    """

    def __init__(
        self,
        clips: TrainClips | EvalClips,
        batches: EndlessBatches | EachOnce,
        *,
        num_workers: int,
        timeout_s: float,
        seed: int,
    ) -> None:
        self.board = Board(num_workers, timeout_s)
        super().__init__(
            WatchedClips(clips, self.board),
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            # Workers end themselves; this ends a run whose workers never even begin.
            timeout=timeout_s * (batches.batch_size + 1) if num_workers else 0,
            # Its own generator: DataLoader would otherwise draw from the global one and change what comes after.
            generator=torch.Generator().manual_seed(seed),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Batches, once.

        Raises:
            UnreadableVideoError: from the clips.
            WorkerError: when a worker died, was at one video for more than `timeout_s`, or failed.
        """
        return self._watched() if self.num_workers else super().__iter__()

    def _watched(self) -> Iterator[Batch]:
        batches: Iterator[Batch | RuntimeError] | None = super().__iter__()
        BOARDS.add(self.board)
        name_the_dead()
        while batches is not None:
            found = self._next(batches)
            if isinstance(found, Batch):
                yield found
                continue
            # Nothing may hold on to the workers while an error travels: they end when the last reference does.
            batches = None
            if found is not None:
                raise found

    def _next(self, batches: Iterator[Batch | RuntimeError]) -> Batch | RuntimeError | None:
        """The next batch, or what to raise, or None at the end."""
        try:
            return next(batches)
        except StopIteration:
            return None
        except WorkerError as error:
            message = str(error)
        except (RuntimeError, OSError, EOFError) as error:
            message = self.board.named(str(error) or type(error).__name__) or str(error)
        return WorkerError(message)


class _Naming:
    """A handler of SIGCHLD around torch's, which raises wherever the main thread is when a worker dies."""

    def __init__(self, torchs: Callable[[int, FrameType | None], Any]) -> None:
        self.torchs = torchs

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self.torchs(number, frame)
        except RuntimeError as error:
            told = [text for board in BOARDS if (text := board.named(str(error)))]
            raise (WorkerError(told[0]) if told else error) from None


def name_the_dead() -> None:
    """Let torch's message about a dead worker name the video, also when it comes in the middle of a training step."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return
    current = signal.getsignal(signal.SIGCHLD)
    if callable(current) and not isinstance(current, _Naming):
        signal.signal(signal.SIGCHLD, _Naming(current))


def _unchanged(batch: Any) -> Any:
    """The batch is whole already, or an error."""
    return batch
