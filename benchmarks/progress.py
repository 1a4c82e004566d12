"""Live progress with the time left: a bar for each worker and one for the whole, or plain lines without a terminal."""

import time
from collections.abc import Callable, Iterable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from benchmarks.execute import Listener, Run
from benchmarks.formats import percent
from benchmarks.results import Result

PLAIN_EVERY_S = 20.0
Clock = Callable[[], float]


class Forecast:
    """Estimates the time left from the effort of runs and the pace of those that were seen so far.

    Efforts are comparable within one kind and system. Where none of these has run yet the pace of the kind serves, and
    before that the pace of everything.

    Args:
        runs: what is to be done.
        jobs: number of workers.
        clock: seconds.
    """

    def __init__(self, runs: Iterable[Run], jobs: int, clock: Clock = time.monotonic) -> None:
        self.runs = {run.key: run for run in runs}
        self.jobs, self.clock, self.began = max(1, jobs), clock, clock()
        self.started: dict[str, float] = {}
        self.seen: dict[str, tuple[float, float]] = {}  # key -> seconds, work done
        self.over: set[str] = set()

    def start(self, run: Run) -> None:
        """A run began."""
        self.started[run.key] = self.clock()

    def advance(self, run: Run, share: float) -> None:
        """A run reached this share of its effort."""
        if share > 0:
            self.seen[run.key] = self.clock() - self.started[run.key], share * run.work

    def finish(self, run: Run, *, succeeded: bool = True) -> None:
        """A run ended; a failed one teaches nothing about the pace."""
        if succeeded:
            self.advance(run, 1.0)
        self.over.add(run.key)

    @property
    def elapsed(self) -> float:
        """Seconds since the forecast was made."""
        return self.clock() - self.began

    @property
    def share(self) -> float:
        """Share of all effort that is done."""
        done = sum(run.work if key in self.over else self._done(key) for key, run in self.runs.items())
        return done / max(1e-9, sum(run.work for run in self.runs.values()))

    def seconds_left(self) -> float | None:
        """Time until everything is done; None before the first sign of pace."""
        if not any(work for _, work in self.seen.values()):
            return None
        left = [
            (run.work - self._done(key)) * self._pace(run) for key, run in self.runs.items() if key not in self.over
        ]
        return max([sum(left) / self.jobs, *left], default=0.0)

    def _done(self, key: str) -> float:
        return self.seen.get(key, (0.0, 0.0))[1]

    def _pace(self, run: Run) -> float:
        """Seconds per unit of effort."""
        kin = (run.identity.kind, run.identity.system)
        for fits in (
            lambda other: (other.kind, other.system) == kin,
            lambda other: other.kind == kin[0],
            lambda other: True,
        ):
            seen = [self.seen[key] for key in self.seen if fits(self.runs[key].identity)]
            if work := sum(done for _, done in seen):
                return sum(seconds for seconds, _ in seen) / work
        return 0.0


def duration(seconds: float | None) -> str:
    """Minutes and seconds; a dash for an unknown time."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def outcome(run: Run, result: Result) -> str:
    """One line about a finished run."""
    scored = result.headline if result.n_expected else None
    said = f"{percent(scored.value):>5} %" if scored else "       "
    if scored and result.identity.kind == "tokenizer":
        said = f"{scored.value:>4.1f} dB"
    return f"{run.label:<58} {said}   {result.seconds:6.1f} s"


class PlainProgress(Listener):
    """A line for each finished run, and one now and then about the time left.

    Args:
        runs: what is to be done.
        jobs: number of workers.
        console: where to write.
        clock: seconds.
    """

    def __init__(self, runs: Iterable[Run], jobs: int, console: Console, clock: Clock = time.monotonic) -> None:
        self.forecast = Forecast(runs, jobs, clock)
        self.console, self.clock = console, clock
        self.total, self.done, self.spoke = len(self.forecast.runs), 0, clock()

    def __enter__(self) -> "PlainProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def started(self, run: Run, worker: int) -> None:
        """Note the time."""
        self.forecast.start(run)

    def progressed(self, run: Run, worker: int, done: int, total: int, note: str) -> None:
        """Note how far a run is."""
        self.forecast.advance(run, done / max(1, total))

    def finished(self, run: Run, worker: int, result: Result) -> None:
        """Say what came out."""
        self.forecast.finish(run)
        self.done += 1
        self.say(f"[{self.done}/{self.total}] {outcome(run, result)}")

    def failed(self, run: Run, worker: int, error: str) -> None:
        """Say what went wrong."""
        self.forecast.finish(run, succeeded=False)
        self.done += 1
        self.say(f"[{self.done}/{self.total}] FAILED {run.label}: {error.strip().splitlines()[-1]}")

    def tick(self) -> None:
        """Say now and then how long it will take."""
        if self.clock() - self.spoke >= PLAIN_EVERY_S:
            self.spoke = self.clock()
            left = duration(self.forecast.seconds_left())
            self.say(f"      {percent(self.forecast.share, 0)} % done, about {left} left")


class LiveProgress(PlainProgress):
    """Bars that move: one for each worker, one for the whole with the time left; finished runs scroll above."""

    def __init__(self, runs: Iterable[Run], jobs: int, console: Console, clock: Clock = time.monotonic) -> None:
        super().__init__(runs, jobs, console, clock)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self.whole = self.bars.add_task("[bold]all runs", total=1.0, note="")
        self.workers: dict[int, TaskID] = {}

    def __enter__(self) -> "LiveProgress":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        mark, _, rest = text.partition("] ")
        style = "red" if rest.startswith("FAILED") else "default"
        self.bars.console.print(f"[dim]{escape(mark + ']')}[/] [{style}]{escape(rest)}[/]", highlight=False)

    def started(self, run: Run, worker: int) -> None:
        """Give the worker a bar."""
        super().started(run, worker)
        if worker not in self.workers:
            self.workers[worker] = self.bars.add_task("", note="")
        self.bars.reset(self.workers[worker], description=run.label, total=1.0, note="starting")

    def progressed(self, run: Run, worker: int, done: int, total: int, note: str) -> None:
        """Move the worker's bar."""
        super().progressed(run, worker, done, total, note)
        self.bars.update(self.workers[worker], completed=done / max(1, total), note=f"{done}/{total}  {note}")

    def finished(self, run: Run, worker: int, result: Result) -> None:
        """Empty the worker's bar."""
        super().finished(run, worker, result)
        self.bars.reset(self.workers[worker], description="[dim]idle", note="")

    def failed(self, run: Run, worker: int, error: str) -> None:
        """Empty the worker's bar."""
        super().failed(run, worker, error)
        self.bars.reset(self.workers[worker], description="[dim]idle", note="")

    def tick(self) -> None:
        """Move the bar of the whole."""
        left = duration(self.forecast.seconds_left())
        note = f"{self.done}/{self.total} runs, {left} left"
        self.bars.update(self.whole, completed=self.forecast.share, note=note)


def progress_for(runs: Iterable[Run], jobs: int, console: Console) -> PlainProgress:
    """Bars on a terminal, lines elsewhere."""
    return (LiveProgress if console.is_terminal else PlainProgress)(runs, jobs, console)
