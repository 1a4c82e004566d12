"""Run a training module: resumable, interruptible, logged. The one place that builds a Lightning Trainer."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging
from pytorch_lightning.strategies import StrategyRegistry
from pytorch_lightning.utilities import rank_zero_only

from zoo.data.datamodule import VideoDataModule
from zoo.recipes.recipe import Recipe
from zoo.training.checkpoint import LAST, AtomicCheckpointIO, Checkpoints, load_checkpoint, sweep
from zoo.training.classify import Classify
from zoo.training.features import AcceleratorError, check_accelerator, device_of
from zoo.training.log import Bar, EvaluationBar, OnStep, Row, StepLog, read_log
from zoo.training.module import TrainingModule
from zoo.training.predictions import Predictions, ViewScores
from zoo.training.score_log import ScoreLog, score_key

# What Lightning says about choices that are made on purpose here.
EXPECTED_WARNINGS = (
    r".*does not have many workers.*",
    r".*in eval mode at the start of training.*",
    r".*available but not used.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*but have no `validation_step`.*",
)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")

# Options of a Trainer that writes nothing by itself.
SILENT: dict[str, Any] = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What a finished run leaves.

    Attributes:
        curves: logged steps, in order, also those from before an interruption.
        seconds: wall-clock time of this call; a run that was resumed took longer in all.
        resumed_from: step at which this call started; the number of steps of the recipe when nothing was left to do.
        path: the last checkpoint.
    """

    curves: list[Row]
    seconds: float
    resumed_from: int
    path: Path


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where to compute, in the words of Lightning's Trainer.

    Attributes:
        accelerator: "auto", "cpu", "gpu", ...
        devices: devices per node.
        num_nodes: nodes; the launcher (SLURM, torchrun) starts the processes.
        strategy: "auto" for one device, or "ddp" and the like.
        precision: of the arithmetic; None for the recipe's.
    """

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str | None = None

    def check(self) -> None:
        """See whether this can be computed on, before anything is read.

        Raises:
            AcceleratorError: for a name that does not exist, or that this machine lacks.
        """
        check_accelerator(self.accelerator)
        strategies = ("auto", *StrategyRegistry.available_strategies())
        for option, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("strategy", self.strategy, strategies),
        ):
            if value is not None and value not in known:
                raise AcceleratorError(f"unknown {option} {value!r}; known: {', '.join(known)}")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave out Lightning's remarks on choices made on purpose, and keep the caller's random numbers as they are."""
    chatter = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in chatter]
    devices = range(torch.cuda.device_count())
    with warnings.catch_warnings(), torch.random.fork_rng(devices=devices):
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        for logger in chatter:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(chatter, levels, strict=True):
                logger.setLevel(level)


def callbacks_of(
    module: TrainingModule,
    run_dir: Path,
    *,
    checkpoint_every: int,
    log_every: int,
    progress: OnStep | Literal["bar"] | None,
) -> list[Callback]:
    """Averaged weights first, checkpoints last: a checkpoint holds the average as of its step."""
    bar = Bar() if progress == "bar" else None
    on_step = bar.step if bar else None if isinstance(progress, str) else progress
    callbacks: list[Callback] = [StepLog(run_dir, every=log_every, on_step=on_step)]
    callbacks += [bar] if bar else []
    if module.recipe.ema_decay is not None:
        callbacks.append(EMAWeightAveraging(decay=module.recipe.ema_decay))
    return [*callbacks, Checkpoints(run_dir, every=checkpoint_every)]


def trainer_of(
    recipe: Recipe, callbacks: list[Callback], *, validate_every: int, hardware: Hardware
) -> lightning.Trainer:
    """A Trainer for the steps of a recipe; the whole run is one epoch of an endless stream."""
    return lightning.Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=hardware.strategy,
        max_steps=recipe.steps,
        max_epochs=-1,
        precision=recipe.precision,
        accumulate_grad_batches=recipe.accumulate,
        val_check_interval=validate_every * recipe.accumulate or 1.0,
        check_val_every_n_epoch=None if validate_every else 1,
        limit_val_batches=1.0 if validate_every else 0,
        callbacks=callbacks,
        plugins=[AtomicCheckpointIO()],
        **SILENT,
    )


def open_run(run_dir: Path) -> dict[str, Any] | None:
    """The folder of a run, cleared of what a kill left behind, and its last checkpoint if there is one."""
    run_dir.mkdir(parents=True, exist_ok=True)
    sweep(run_dir)
    return load_checkpoint(run_dir / LAST) if (run_dir / LAST).exists() else None


def require_batch(recipe: Recipe, data: lightning.LightningDataModule, devices: int) -> None:
    """Check that the data module gives what the recipe counts on, where it says what it gives.

    Raises:
        ValueError: when clips per step or repeats differ.
    """
    per_process = getattr(data, "batch_size", None)
    if per_process is not None and per_process * devices * recipe.accumulate != recipe.global_batch:
        raise ValueError(
            f"the recipe has a global batch of {recipe.global_batch}, but {per_process} clips x {devices} devices x "
            f"{recipe.accumulate} accumulated batches are {per_process * devices * recipe.accumulate}"
        )
    repeats = getattr(data, "repeats", recipe.repeats)
    if repeats != recipe.repeats:
        raise ValueError(f"the recipe has {recipe.repeats} repeats of each clip, the data module {repeats}")


def fit(
    module: TrainingModule,
    data: lightning.LightningDataModule,
    *,
    run_dir: Path,
    checkpoint_every: int = 1000,
    log_every: int = 1,
    validate_every: int = 0,
    progress: OnStep | Literal["bar"] | None = None,
    hardware: Hardware | None = None,
) -> FitReport:
    """Train for the recipe's number of steps, going on from `run_dir` where an earlier call stopped.

    A run that was interrupted at any point, by a signal or by force, and resumed equals the uninterrupted one bit for
    bit: weights, optimiser, averages, logged values. `data` must give the same clips for the same step: an endless
    stream that starts at `trainer.global_step`.

    At the end the module carries the averaged weights if the recipe asks for them.

    Args:
        module: what to train.
        data: training clips, and validation clips for `validate_every`.
        run_dir: folder of this run alone.
        checkpoint_every: steps between two checkpoints; 0 for one at the end and at a signal only.
        log_every: steps between two logged ones.
        validate_every: steps between two validations; 0 for none.
        progress: "bar", a function called as (step from 1, values), or None.
        hardware: where to compute; one device of the best kind when None. Its precision must be the recipe's.

    Raises:
        NonFiniteError: when the loss or its gradient is not finite, before the weights are touched.
        Interrupted: at SIGTERM or SIGINT, once the checkpoint is written.
        RunFileError: when a checkpoint cannot be read or written.
        ValueError: when `run_dir` holds another run, or the batch of `data` is not the recipe's.
    """
    on = hardware or Hardware()
    if on.precision not in (None, module.recipe.precision):
        raise ValueError(f"precision {on.precision!r} is not the recipe's, {module.recipe.precision!r}")
    require_batch(module.recipe, data, on.devices * on.num_nodes)
    start, last, checkpoint = time.perf_counter(), run_dir / LAST, open_run(run_dir)
    resumed_from = checkpoint["global_step"] if checkpoint else 0
    if checkpoint and resumed_from >= module.recipe.steps:
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    else:
        (run_dir / "groups.txt").write_text(f"{module.group_table()}\n")
        callbacks = callbacks_of(
            module, run_dir, checkpoint_every=checkpoint_every, log_every=log_every, progress=progress
        )
        with quiet():
            trainer = trainer_of(module.recipe, callbacks, validate_every=validate_every, hardware=on)
            module.train()  # Lightning leaves the mode as it finds it, and evaluating ends in evaluation mode
            trainer.fit(module, data, ckpt_path=last if checkpoint else None, weights_only=True)
    return FitReport(
        curves=read_log(run_dir), seconds=time.perf_counter() - start, resumed_from=resumed_from, path=last
    )


def evaluate(
    module: Classify,
    data: lightning.LightningDataModule,
    *,
    hardware: Hardware | None = None,
    progress: bool = False,
    run_dir: Path | None = None,
) -> Predictions:
    """Predictions for the test clips of `data`, each video once; those of every view are in `module.scores`.

    Over several processes the numbers are those of one, to the last bit: each video is scored once, in the same batch,
    and views are merged in the order of rows. Every process gets all predictions.

    Args:
        module: a classifier.
        data: test clips; all views of a video carry its row.
        hardware: where to compute; one device of the best kind when None.
        progress: show a bar.
        run_dir: folder of this run alone, where scores are kept as they come and from which an evaluation that was
            stopped goes on, for clips of a `VideoDataModule`; None keeps nothing.

    Raises:
        ValueError: when views are missing, doubled or of no listed video.
        KeyboardInterrupt: at Ctrl-C.
    """
    on = hardware or Hardware()
    _keep_scores(module, data, on, run_dir)
    module.windows = getattr(data, "test_windows", None) if module.num_views is not None else None
    with quiet():
        trainer = lightning.Trainer(
            accelerator=on.accelerator,
            devices=on.devices,
            num_nodes=on.num_nodes,
            strategy=on.strategy,
            precision=on.precision or module.recipe.precision,  # type: ignore[arg-type]  # Lightning checks the words
            enable_checkpointing=False,
            callbacks=[EvaluationBar()] if progress else None,
            **SILENT,
        )
        try:
            trainer.test(module, data, verbose=False)
        except SystemExit:
            # Lightning ends the process at Ctrl-C; who called should say so.
            if trainer.state.status == "interrupted":
                raise KeyboardInterrupt from None
            raise
    if module.predictions is None:
        raise ValueError(f"the test set of {type(data).__name__} is empty")
    return module.predictions


def _keep_scores(module: Classify, data: lightning.LightningDataModule, on: Hardware, run_dir: Path | None) -> None:
    """Let a module keep its scores in a folder, and the data leave out what is there already."""
    module.score_log, module.batches_read = None, 0
    if run_dir is None or not isinstance(data, VideoDataModule):
        return
    key = score_key(
        module.model,
        data,
        {
            "precision": on.precision or module.recipe.precision,
            "device": device_of(on.accelerator),
            "processes": on.devices * on.num_nodes,
            "rule": module.rule,
            "views": [module.num_views, module.clips],
            "question": module.question,
        },
    )
    module.score_log = ScoreLog(run_dir, key)
    data.scored, module.batches_read = module.score_log.done, len(module.score_log.done)


def scores_of(module: Classify) -> ViewScores:
    """Scores of every view of the latest evaluation.

    Raises:
        ValueError: before the first.
    """
    if module.scores is None:
        raise ValueError("nothing was evaluated yet")
    return module.scores


def is_first_process() -> bool:
    """Whether this process is the one that prints and writes."""
    return int(getattr(rank_zero_only, "rank", 0) or 0) == 0
