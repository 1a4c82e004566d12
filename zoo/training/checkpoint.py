"""Checkpoints that are whole or absent, and when they are written."""

import contextlib
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as lightning
import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning.callbacks import Checkpoint

from zoo.training.module import NonFiniteError

LAST = "last.ckpt"


class RunFileError(OSError):
    """The checkpoint of a run cannot be written or read; the message names the file."""


class Interrupted(SystemExit):
    """Training stopped at a signal, after writing a checkpoint.

    Uncaught it ends the process with the exit code that shells give to a process ended by that signal: 143 for SIGTERM,
    130 for SIGINT.

    Attributes:
        signal: number of the signal.
        path: the checkpoint.
    """

    def __init__(self, number: int, path: Path) -> None:
        super().__init__(128 + number)
        self.signal, self.path = signal.Signals(number), path

    def __str__(self) -> str:
        return f"stopped by {self.signal.name}; run the same command again to go on from {self.path}"


def save_atomically(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint beside its final name, flush it to the disk, then rename.

    Whatever happens on the way (kill -9, full disk), `path` is the old file or the new one.

    Raises:
        RunFileError: with the reason and the free space; the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(dict(checkpoint), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink()
        free = shutil.disk_usage(path.parent).free / 2**20 if path.parent.exists() else 0.0
        raise RunFileError(f"cannot write {path}: {error}; {free:.1f} MiB are free there") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors, on the CPU, and plain values only.

    Raises:
        RunFileError: when the file is absent or broken.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Their text may advise weights_only=False, which would run code from the file.
        told = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError)
        reason = str(error) if told else f"it is damaged or no checkpoint ({type(error).__name__})"
        raise RunFileError(f"cannot read checkpoint {path}: {reason}") from error
    return checkpoint


def sweep(run_dir: Path) -> None:
    """Remove temporary files that a killed run left behind."""
    for leftover in run_dir.glob(f".{LAST}.*.tmp"):
        leftover.unlink(missing_ok=True)


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's way in and out of checkpoint files; its own writer destroys the old file when the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint, whole or not at all."""
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint without running code from it, whatever the caller allows."""
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Keeps `last.ckpt` of a run up to date, always as of the end of a step.

    It is written every `every` steps, after the last step, at SIGTERM or SIGINT as soon as the current step is done
    (then `Interrupted` is raised; a second signal stops at once), and when training fails for another reason before
    the weights of the current step were touched.

    Args:
        run_dir: folder of the run.
        every: steps between two checkpoints; 0 writes only in the other cases.
    """

    def __init__(self, run_dir: Path, *, every: int) -> None:
        self.path = run_dir / LAST
        self.every = every
        self.signal: int | None = None
        self.before: dict[int, Any] = {}
        self.seen_step = -1
        self.saved_step = -1
        self.in_step = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen for signals that are not ignored on purpose; Python allows it in the main thread only."""
        self.seen_step = self.saved_step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            heard = (number for number in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(number) != signal.SIG_IGN)
            self.before = {number: signal.signal(number, self.notice) for number in heard}

    def notice(self, number: int, frame: FrameType | None) -> None:
        """Remember the first signal and leave the second to whoever listened before."""
        self.signal = number
        self.restore_handlers()

    def restore_handlers(self) -> None:
        """Give signals back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """From here to the end of the batch the weights belong to no step."""
        self.in_step = True

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write a checkpoint when it is time, and stop at a signal."""
        step = trainer.global_step
        if step == self.seen_step:
            return  # gradients are still being accumulated
        self.seen_step, self.in_step = step, False
        stop = trainer.strategy.reduce_boolean_decision(self.signal is not None, all=False)
        if stop or step == trainer.max_steps or (self.every and step % self.every == 0):
            self.save(trainer)
        if stop:
            raise Interrupted(self.signal or signal.SIGTERM, self.path)

    def save(self, trainer: lightning.Trainer) -> None:
        """Write the checkpoint of this step, once."""
        if self.saved_step != trainer.global_step:
            trainer.save_checkpoint(self.path)
            self.saved_step = trainer.global_step

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop listening."""
        self.restore_handlers()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Save what was reached, unless the failure came in the middle of a step or is about writing itself."""
        self.restore_handlers()
        untouched = not self.in_step or isinstance(exception, NonFiniteError)
        if self.seen_step >= 0 and untouched and not isinstance(exception, RunFileError):
            self.save(trainer)
