"""What a run says while it trains: one JSON line per step in `log.jsonl`, and a progress bar."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from zoo.training.module import TrainingModule

LOG = "log.jsonl"
Row = dict[str, int | float]
OnStep = Callable[[int, Row], None]


def read_log(run_dir: Path) -> list[Row]:
    """Logged steps of a run, in order; a line that a kill tore apart is left out."""
    path = run_dir / LOG
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def bar_of(*more: str, show: bool = True) -> Progress:
    """The one look of everything that takes long, on the standard error stream, so that results can be piped.

    Args:
        more: columns behind the time left, in the words of `rich.progress.TextColumn`.
        show: False for a bar that nobody sees.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn(words) for words in more),
        console=Console(stderr=True),
        disable=not show,
    )


@contextmanager
def steps_shown(words: str, total: int, *, show: bool) -> Iterator[OnStep]:
    """A bar over the steps of a training that is not Lightning's; gives what is to be called after each step.

    Args:
        words: what is trained.
        total: number of steps.
        show: False for a bar that nobody sees.
    """
    with bar_of("loss {task.fields[loss]:.4f}", show=show) as shown:
        task = shown.add_task(words, total=total, loss=math.nan)
        yield lambda step, row: shown.update(task, completed=step, loss=row.get("loss", math.nan))


class StepLog(Callback):
    """Appends one JSON line per logged step and calls `on_step`.

    A resumed run first drops the lines after its checkpoint, so that the file reads as if nothing had happened.

    Args:
        run_dir: folder of the run.
        every: steps between two lines; the last step is always logged.
        on_step: called with the step (from 1) and its values.
    """

    def __init__(self, run_dir: Path, *, every: int, on_step: OnStep | None = None) -> None:
        self.path = run_dir / LOG
        self.every = every
        self.on_step = on_step
        self.seen_step = -1

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the lines up to the step from which training goes on."""
        self.seen_step = trainer.global_step
        if trainer.is_global_zero:
            kept = [row for row in read_log(self.path.parent) if row["step"] <= trainer.global_step]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(f"{json.dumps(row)}\n" for row in kept))
            temporary.replace(self.path)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Log the step that was just taken."""
        step = trainer.global_step
        taken, self.seen_step = step != self.seen_step, step  # no step while gradients are accumulated
        due = taken and (step % self.every == 0 or step == trainer.max_steps)
        if not due or not trainer.is_global_zero:
            return
        if not isinstance(pl_module, TrainingModule):
            raise TypeError(f"StepLog logs a TrainingModule, not a {type(pl_module).__name__}")
        row = {"step": step, **{name: value.item() for name, value in pl_module.last_logs.items()}}
        with self.path.open("a") as file:
            file.write(f"{json.dumps(row)}\n")
        if self.on_step is not None:
            self.on_step(step, row)


class EvaluationBar(Callback):
    """A progress bar over the batches of an evaluation, on the standard error stream of the first process."""

    def __init__(self) -> None:
        self.progress = bar_of("{task.fields[failed]}")
        self.task: TaskID | None = None
        self.failed = 0

    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the bar."""
        if trainer.is_global_zero:
            total = trainer.num_test_batches[0]
            read = getattr(pl_module, "batches_read", 0)
            words = f"batches scored, {read} by the run before" if read else "batches scored"
            self.task = self.progress.add_task(words, total=total, failed="")
            self.progress.start()

    def on_test_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Move on by a batch."""
        if self.task is not None:
            self.failed += len(batch.failed)
            told = f"{self.failed} unreadable" if self.failed else ""
            self.progress.update(self.task, advance=1, failed=told)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave the finished bar."""
        self.progress.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self.progress.stop()


class Bar(Callback):
    """A progress bar with the loss and the time left; Lightning's own knows no total for a stream of batches."""

    def __init__(self) -> None:
        self.progress = bar_of("loss {task.fields[loss]:.4f}")
        self.task: TaskID | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show the bar, at the step from which training goes on."""
        if trainer.is_global_zero:
            name = type(pl_module).__name__
            self.task = self.progress.add_task(
                name, total=trainer.max_steps, completed=trainer.global_step, loss=math.nan
            )
            self.progress.start()
            if isinstance(pl_module, TrainingModule):
                self.progress.console.print(pl_module.group_table(), highlight=False)

    def step(self, step: int, row: Row) -> None:
        """Move on to a step."""
        if self.task is not None:
            self.progress.update(self.task, completed=step, loss=row["loss"])

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Leave the finished bar."""
        self.progress.stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self.progress.stop()
