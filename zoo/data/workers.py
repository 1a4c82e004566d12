"""Data workers that are watched: whatever happens to one ends the run in time, with one error that names the video.

torch's DataLoader tells which process died, not at what, waits for ever for one that hangs or raises what cannot be
pickled, and needs five seconds per worker to end. Here each worker notes in shared memory what it reads and since when,
hands its errors over as plain text, and is killed once the run cannot go on.
"""

import multiprocessing
import re
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

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

POLL_S = 1.0  # between two looks at the workers while no batch comes
NAME_BYTES = 1024  # of a path; the end of a longer one is kept
PIDS = re.compile(r"pid(?:\(s\))? ([0-9]+(?:, [0-9]+)*)")  # in torch's messages about workers that died
TIMED_OUT = "DataLoader timed out"


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
    path: str
    seconds: float

    def __str__(self) -> str:
        doing = f"reading {self.path!r} for {self.seconds:.1f} s" if self.path else "between two videos"
        return f"data worker {self.worker} (pid {self.pid}) was {doing}"


class Board:
    """What each worker reads, in memory that all processes share.

    Args:
        workers: number of workers.

    Attributes:
        processes: child processes of this one by number, the workers among them.
        ended: processes that were killed on purpose.
    """

    def __init__(self, workers: int) -> None:
        self.names = torch.zeros(workers, NAME_BYTES, dtype=torch.uint8).share_memory_()
        self.facts = torch.zeros(workers, 3, dtype=torch.float64).share_memory_()  # pid, since, length of the name
        self.processes: dict[int, BaseProcess] = {}
        self.ended: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "processes": {}}  # workers can neither be pickled nor use each other

    def begin(self, worker: int, path: str) -> None:
        """Note what a worker begins with; called in the worker."""
        name = path.encode(errors="surrogateescape")[-NAME_BYTES:]
        self.names[worker, : len(name)] = torch.frombuffer(bytearray(name), dtype=torch.uint8)
        pid = float(multiprocessing.current_process().pid or 0)
        self.facts[worker] = torch.tensor([pid, time.monotonic(), len(name)], dtype=torch.float64)

    def end(self, worker: int) -> None:
        """Note that a worker is done with a batch; called in the worker."""
        self.facts[worker, 1:] = 0.0

    def notes(self) -> list[Note]:
        """What every worker is doing."""
        now = time.monotonic()
        found = []
        for worker, (pid, since, length) in enumerate(self.facts.tolist()):
            path = bytes(self.names[worker, : int(length)].tolist()).decode(errors="surrogateescape")
            found.append(Note(worker, int(pid), path, now - since if since else 0.0))
        return found

    def kill(self) -> None:
        """End all workers now: they only read, and torch would wait five seconds for each that is busy."""
        for note in self.notes():
            if note.pid in self.processes:
                self.ended.add(note.pid)
                self.processes[note.pid].kill()

    def cause(self, pid: int) -> str:
        """How a process ended; "" for one that is alive or no child of this one."""
        code = self.processes[pid].exitcode if pid in self.processes else None
        if code is None:
            return ""
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"


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


class Trouble(NamedTuple):
    """What a worker hands over instead of a batch: strings, which every exception survives as."""

    unreadable: bool
    text: str

    def error(self) -> RuntimeError:
        """The error to raise."""
        return UnreadableVideoError(self.text) if self.unreadable else WorkerError(self.text)


class WatchedClips(Dataset[Any]):
    """Whole batches of clips; in a worker, an error comes back as `Trouble`.

    Args:
        clips: gives the clips of a video.
        board: takes notes of what is read.
    """

    def __init__(self, clips: TrainClips | EvalClips, board: Board) -> None:
        self.clips = replace(clips, reader=NotedReader(reader=clips.reader, board=board))
        self.board = board

    def __len__(self) -> int:
        return len(self.clips)

    def __getitems__(self, places: Sequence[Any]) -> Batch | Trouble:
        """One batch; torch hands it to the collate function as it is."""
        info = get_worker_info()
        if info is None:
            return self._batch(places)
        try:
            return self._batch(places)
        except UnreadableVideoError as error:
            return Trouble(True, str(error))
        except Exception as error:
            note = self.board.notes()[info.id]
            told = "".join(traceback.format_exception(error))
            return Trouble(False, f"{note} when it failed: {type(error).__name__}: {error}\n\n{told}")
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
        self.board, self.timeout_s = Board(num_workers), timeout_s
        super().__init__(
            WatchedClips(clips, self.board),
            batch_sampler=batches,
            num_workers=num_workers,
            collate_fn=_unchanged,
            pin_memory=torch.cuda.is_available(),
            timeout=min(POLL_S, timeout_s) if num_workers else 0,
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
        batches: Iterator[Batch | Trouble] | None = super().__iter__()
        self.board.processes = {child.pid: child for child in multiprocessing.active_children() if child.pid}
        BOARDS.add(self.board)
        name_the_dead()
        while batches is not None:
            found = self._next(batches)
            if isinstance(found, Exception) or found is None:
                # Nothing may hold on to the workers while the error travels: they end when the last reference does.
                batches = None
            if isinstance(found, Exception):
                raise found
            if found is not None:
                yield found

    def _next(self, batches: Iterator[Batch | Trouble]) -> Batch | Exception | None:
        """The next batch, or what to raise, or None at the end."""
        began, failure = time.monotonic(), None
        while failure is None:
            message = ""
            try:
                found = next(batches)
            except StopIteration:
                return None
            except (RuntimeError, OSError, EOFError) as error:
                message = str(error) or type(error).__name__
            if not message and isinstance(found, Batch):
                return found
            failure = self._failure(message, began) if message else found.error()  # type: ignore[union-attr]
        self.board.kill()
        return failure

    def _failure(self, message: str, began: float) -> Exception | None:
        """What torch's message stands for; None for waiting on."""
        if not message.startswith(TIMED_OUT):
            return WorkerError(named(message, self.board) or message)
        notes, waited = self.board.notes(), time.monotonic() - began
        slowest = max(notes, key=lambda note: note.seconds)
        if slowest.seconds > self.timeout_s:
            return WorkerError(
                f"{slowest}, longer than the limit of {self.timeout_s:g} s (worker_timeout_s). Look at that file, and "
                "at the disk it lies on; `zoo data check` tests all videos of a list"
            )
        if not any(note.path for note in notes) and waited > self.timeout_s:
            return WorkerError(
                f"no data worker read anything for {waited:.0f} s, longer than the limit of {self.timeout_s:g} s "
                f"(worker_timeout_s), but no batch came either; processes: {[note.pid for note in notes]}"
            )
        return None


def named(message: str, board: Board) -> str:
    """Torch's message about workers that died, with what they were doing; "" when it is about none of these workers."""
    if message.startswith("data worker"):
        return message
    notes = {note.pid: note for note in board.notes() if note.pid}
    # Without any number a connection broke; whoever is not alive any more has broken it.
    pids = pids_in(message) or [pid for pid in notes if board.cause(pid)]
    told = [f"{notes[pid]} when it {board.cause(pid) or 'died'}" for pid in pids if pid in notes]
    return "; ".join(told)


def pids_in(message: str) -> list[int]:
    """Processes that a message of torch's is about."""
    return [int(pid) for match in PIDS.findall(message) for pid in match.split(", ")]


class _Naming:
    """A handler of SIGCHLD around torch's, which raises wherever the main thread is when a worker dies."""

    def __init__(self, torchs: Callable[[int, FrameType | None], Any]) -> None:
        self.torchs = torchs

    def __call__(self, number: int, frame: FrameType | None) -> None:
        message = ""
        try:
            self.torchs(number, frame)
        except RuntimeError as error:
            message = str(error)
        if not message or any(board.ended.intersection(pids_in(message)) for board in BOARDS):
            return
        told = [text for board in BOARDS if (text := named(message, board))]
        raise WorkerError(told[0]) if told else RuntimeError(message)


def name_the_dead() -> None:
    """Let torch's message about a dead worker name the video, also when it comes in the middle of a training step."""
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return
    current = signal.getsignal(signal.SIGCHLD)
    if callable(current) and not isinstance(current, _Naming):
        signal.signal(signal.SIGCHLD, _Naming(current))


def _unchanged(batch: Any) -> Any:
    """The batch is whole already, or a `Trouble`."""
    return batch
