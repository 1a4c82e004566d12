"""Run a plan: independent runs side by side in worker processes, finished ones never again.

Every worker computes on one thread, so a result does not depend on how many workers there were. A run that fails, or
takes its worker down with it, is reported and blocks only the runs that need it.
"""

import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.processes import fresh_processes
from benchmarks.results import Identity, Result

POLL_S = 0.2
GRACE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One entry of a plan.

    Attributes:
        identity: what is run; its key names the run.
        settings: everything the runner needs to know, hashed into the identity.
        needs: keys of runs that must have finished before.
        work: expected effort in arbitrary units (optimiser steps times relative cost), for order and time left.
        label: how a person calls it.
    """

    identity: Identity
    settings: dict[str, Any]
    needs: tuple[str, ...] = ()
    work: float = 1.0
    label: str = ""

    @property
    def key(self) -> str:
        """Key of the identity."""
        return self.identity.key


Report = Callable[[int, int, str], None]  # steps done, steps in all, a note such as "loss 1.52"
Runner = Callable[[Run, Mapping[str, Result], Report], Result]  # the results are those that the run needs
MakeRunner = Callable[[Any], Runner]  # called once in each worker, with the context


class Listener:
    """Who watches a plan being executed; this one keeps silent."""

    def started(self, run: Run, worker: int) -> None:
        """A worker took a run."""

    def progressed(self, run: Run, worker: int, done: int, total: int, note: str) -> None:
        """A run reported how far it is."""

    def finished(self, run: Run, worker: int, result: Result) -> None:
        """A result is in the store."""

    def failed(self, run: Run, worker: int, error: str) -> None:
        """A run ended with an error; the last line of `error` is the message."""

    def tick(self) -> None:
        """Called several times a second."""


@dataclass(kw_only=True)
class Summary:
    """How the execution of a plan ended.

    Attributes:
        results: key -> result, of this and of earlier executions.
        reused: number of runs that were finished before.
        failed: key -> error text.
        blocked: keys of runs that were not started because a run they need failed.
        interrupted: True when a person stopped it.
        work: key -> expected effort.
    """

    results: dict[str, Result]
    reused: int
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)
    interrupted: bool = False
    work: dict[str, float] = field(default_factory=dict)

    def pace(self) -> dict[str, float]:
        """System -> seconds per unit of effort in the runs that are finished."""
        spent: dict[str, tuple[float, float]] = {}
        for key, result in self.results.items():
            seconds, work = spent.get(result.identity.system, (0.0, 0.0))
            spent[result.identity.system] = seconds + result.seconds, work + self.work.get(key, 0.0)
        return {system: seconds / work for system, (seconds, work) in spent.items() if work}


class _Worker:
    """A process that runs one thing after the other, and our end of the pipe to it."""

    def __init__(self, make_runner: MakeRunner, context: Any) -> None:
        fresh = fresh_processes()
        self.pipe, theirs = fresh.Pipe()
        self.process: BaseProcess = fresh.Process(target=_work, args=(theirs, make_runner, context), daemon=True)
        self.run: Run | None = None
        self.lost = False
        self.process.start()
        theirs.close()  # so that a dead worker shows as the end of the stream

    def start(self, run: Run, results: Mapping[str, Result]) -> None:
        self.run = run
        self.pipe.send((run, {key: results[key] for key in run.needs}))

    def stop(self) -> None:
        self.pipe.close()
        self.process.join(0 if self.run is None else GRACE_S / 10)
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _work(pipe: connection.Connection, make_runner: MakeRunner, context: Any) -> None:
    """Body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    try:
        runner = make_runner(context)
    except Exception:
        runner = _unusable(traceback.format_exc())
    try:
        while True:
            run, results = pipe.recv()
            pipe.send(_attempt(runner, run, results, pipe))
    except (EOFError, BrokenPipeError, OSError):
        os._exit(0)  # the parent is gone or has finished


def _unusable(error: str) -> Runner:
    """What a worker that could not be set up runs: every run fails with the reason."""

    def run(*_: object) -> Result:
        raise RuntimeError(f"the worker could not be set up\n{error}")

    return run


def _attempt(
    runner: Runner, run: Run, results: Mapping[str, Result], pipe: connection.Connection
) -> tuple[str, Result | str]:
    try:
        return "finished", runner(run, results, lambda *progress: pipe.send(("progress", progress)))
    except Exception:
        # As text: an exception object need not survive pickling, and would then hang the parent.
        return "failed", traceback.format_exc()


def execute(
    runs: Sequence[Run],
    finished: Mapping[str, Result],
    make_runner: MakeRunner,
    context: Any,
    *,
    jobs: int,
    listener: Listener,
) -> Summary:
    """Execute all runs that are not finished yet.

    Args:
        runs: the plan, in order of preference; `needs` come first whatever the order.
        finished: results of earlier executions.
        make_runner: top-level function, called in each worker with `context`; returns what runs one `Run`.
        context: picklable.
        jobs: number of worker processes, at least 1.
        listener: told of everything that happens.

    Raises:
        ValueError: when a run needs one that is neither in the plan nor finished.
    """
    summary = Summary(
        results={run.key: finished[run.key] for run in runs if run.key in finished},
        reused=sum(run.key in finished for run in runs),
        work={run.key: run.work for run in runs},
    )
    pending = [run for run in runs if run.key not in summary.results]
    known = {run.key for run in runs}
    if unknown := {run.label or run.key for run in pending if not known.issuperset(run.needs)}:
        raise ValueError(f"these runs need results that nobody plans: {sorted(unknown)}")
    workers: list[_Worker] = []
    try:
        workers += [_Worker(make_runner, context) for _ in range(min(jobs, len(pending)))]
        while pending or any(worker.run for worker in workers):
            pending = _drop_blocked(pending, summary)
            pending = _hand_out(pending, workers, summary, listener)
            _listen(workers, summary, listener)
            _replace_dead(workers, make_runner, context, summary, listener)
            listener.tick()
    except KeyboardInterrupt:
        summary.interrupted = True
    finally:
        for worker in workers:
            worker.stop()
    return summary


def _drop_blocked(pending: list[Run], summary: Summary) -> list[Run]:
    """Give up runs that need a failed one, and those that need these."""
    while True:
        lost = summary.failed.keys() | set(summary.blocked)
        blocked = [run for run in pending if lost.intersection(run.needs)]
        if not blocked:
            return pending
        summary.blocked += [run.key for run in blocked]
        pending = [run for run in pending if run not in blocked]


def _hand_out(pending: list[Run], workers: list[_Worker], summary: Summary, listener: Listener) -> list[Run]:
    """Give idle workers the runs that others wait for, then those that will take longest: no long one ends alone."""
    left = list(pending)
    for number, worker in enumerate(workers):
        ready = [run for run in left if summary.results.keys() >= set(run.needs)]
        if worker.run is not None or not ready:
            continue
        awaited, pace = {key for run in left for key in run.needs}, summary.pace()
        usual = max(pace.values(), default=1.0)
        # max() takes the first of equals, so the order of the plan decides where nothing is known.
        chosen = max(ready, key=lambda run: (run.key in awaited, run.work * pace.get(run.identity.system, usual)))
        left.remove(chosen)
        worker.start(chosen, summary.results)
        listener.started(chosen, number)
    return left


def _listen(workers: list[_Worker], summary: Summary, listener: Listener) -> None:
    """Take in whatever the workers have to say, waiting a moment for it."""
    heard = connection.wait([worker.pipe for worker in workers if worker.run], timeout=POLL_S)
    for number, worker in enumerate(workers):
        if worker.pipe not in heard or worker.run is None:
            continue
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            worker.lost = True
            continue
        run = worker.run
        if kind == "progress":
            listener.progressed(run, number, *content)
            continue
        worker.run = None
        if kind == "finished":
            summary.results[run.key] = content
            listener.finished(run, number, content)
        else:
            summary.failed[run.key] = content
            listener.failed(run, number, content)


def _replace_dead(
    workers: list[_Worker],
    make_runner: MakeRunner,
    context: Any,
    summary: Summary,
    listener: Listener,
) -> None:
    """A run can take its process down (out of memory, a crash in native code): that run failed, the rest goes on."""
    for number, worker in enumerate(workers):
        if worker.run is None or not worker.lost:
            continue
        worker.process.join(GRACE_S)
        run, code = worker.run, worker.process.exitcode
        summary.failed[run.key] = f"the worker process died with exit code {code}" + (
            " (killed: out of memory?)" if code == -signal.SIGKILL else ""
        )
        listener.failed(run, number, summary.failed[run.key])
        workers[number] = _Worker(make_runner, context)
        worker.stop()
