"""One function over many files in processes that may hang or die: the file is blamed, and the rest goes on."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.processes import fresh_processes
from zoo.data.watch import Watch

Item = TypeVar("Item")
Made = TypeVar("Made")

POLL_S, GRACE_S, PLAIN_EVERY_S = 0.2, 3.0, 20.0


@dataclass(frozen=True)
class Answer(Generic[Item, Made]):
    """What became of an item.

    Attributes:
        item: what the function was applied to.
        made: what it returned; None where it did not.
        lost: why it did not return: its exception, its time limit, or how its process died; empty where it did.
    """

    item: Item
    made: Made | None
    lost: str = ""


class _Worker:
    """A process that applies the function to one item after the other, and our end of the pipe to it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        # The server imports once what each of its forks would import anew.
        fresh = fresh_processes((function.__module__, "zoo.data.decode_pyav"))
        self.pipe, theirs = fresh.Pipe()
        self.process = fresh.Process(target=_work, args=(theirs, function), daemon=True)
        self.item: Any = None
        self.busy, self.limit_s, self.watch = False, 0.0, Watch()
        self.process.start()
        theirs.close()  # so that a dead process shows as the end of the stream

    def start(self, item: Any, limit_s: float) -> None:
        self.item, self.busy = item, True
        self.limit_s, self.watch = limit_s, Watch()
        self.pipe.send(item)

    def stop(self, grace_s: float = GRACE_S) -> None:
        self.pipe.close()
        if self.busy:
            self.process.terminate()
        self.process.join(grace_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def hear(self) -> Answer[Any, Any] | None:
        """The answer, if there is one by now."""
        if self.pipe.poll():
            try:
                made, lost = self.pipe.recv()
            except (EOFError, OSError):
                self.process.join(GRACE_S)
                return Answer(self.item, None, _death(self.process.exitcode))
            self.busy = False
            return Answer(self.item, made, lost)
        if self.watch.seconds() > self.limit_s + GRACE_S:
            return Answer(self.item, None, f"not done within the limit of {self.limit_s:g} s; its process was ended")
        return None


def _death(code: int | None) -> str:
    """In words, how a process died."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        memory = " (out of memory?)" if name == "SIGKILL" else ""
        return f"it killed the process that read it: {name}{memory}"
    return f"it ended the process that read it, with exit code {code}"


def _work(pipe: connection.Connection, function: Callable[[Any], Any]) -> None:
    """Body of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that `finally` is run
    try:
        while True:
            item = pipe.recv()
            pipe.send(_attempt(function, item))
    except (EOFError, BrokenPipeError, OSError):
        os._exit(0)  # the parent is gone or has finished


def _attempt(function: Callable[[Any], Any], item: Any) -> tuple[Any, str]:
    try:
        return function(item), ""
    except Exception as error:
        # As text: an exception need not survive pickling, and would then hang the parent.
        if os.environ.get("ZOO_DEBUG"):
            return None, traceback.format_exc()
        return None, f"{type(error).__name__}: {error}"


def each(
    function: Callable[[Item], Made],
    items: Sequence[Item],
    *,
    jobs: int,
    limit_s: Callable[[Item], float],
) -> Generator[Answer[Item, Made], None, None]:
    """Apply a function to every item, and yield answers as they come.

    Args:
        function: at the top of a module; it and what it takes and returns can be pickled.
        items: what it is applied to, handed out in this order.
        jobs: processes, at least 1.
        limit_s: seconds that an item may take, those of a stopped machine left out; past them (and a short grace) its
            process is killed.
    """
    waiting = list(reversed(items))
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.busy for worker in workers):
            idle = sum(not worker.busy for worker in workers)
            workers += [_Worker(function) for _ in range(min(jobs - len(workers), len(waiting) - idle))]
            for worker in workers:
                if waiting and not worker.busy:
                    item = waiting.pop()
                    worker.start(item, limit_s(item))
            connection.wait([worker.pipe for worker in workers if worker.busy], timeout=POLL_S)
            for worker in list(workers):
                answer = worker.hear() if worker.busy else None
                if answer is None:
                    continue
                if worker.busy:  # it hangs, or died with the item
                    workers.remove(worker)
                    worker.stop(GRACE_S / 10)
                yield answer
    finally:
        for worker in workers:
            worker.stop()


def shown(
    answers: Generator[Answer[Item, Made], None, None], *, total: int, done: int, words: str, console: Console
) -> Generator[Answer[Item, Made], None, None]:
    """Pass answers on, with a bar and the time left; without a terminal, with a line now and then.

    Args:
        answers: what `each` gives.
        total: number of items of the whole task.
        done: how many of them an earlier run did.
        words: what is done, for the bar.
        console: where the bar goes.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal)
    began = spoke = time.monotonic()
    try:
        with bars:
            bar = bars.add_task(words, total=total, completed=done)
            for number, answer in enumerate(answers, start=1):
                bars.advance(bar)
                yield answer
                if not console.is_terminal and time.monotonic() - spoke > PLAIN_EVERY_S:
                    spoke = time.monotonic()
                    left = (spoke - began) / number * (total - done - number)
                    console.print(f"{words}: {done + number} of {total}, about {left:.0f} s left", highlight=False)
    finally:
        # Now, and not when the garbage collector comes by: it ends the processes.
        answers.close()
