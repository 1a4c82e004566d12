"""Fine-tuning, the default protocol: every system trains end to end for the same number of steps.

The model of the last step is tested; nothing is chosen on test or validation videos.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocols.common import build, keep_model, outcome
from benchmarks.protocols.outcome import Outcome
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.recipes.recipe import Recipe
from zoo.training.classify import Classify
from zoo.training.fit import Hardware, evaluate, fit, is_first_process, scores_of
from zoo.training.log import OnStep


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        recipe: every number of the training.
        frozen: train the head alone, on features computed anew in every step, with augmentation.
        checkpoint_every: steps between two checkpoints of a run; 0 for one at the end and at a signal.
    """

    recipe: Recipe
    frozen: bool = False
    checkpoint_every: int = 0


def run(
    model: Callable[[], VideoModel],
    data: VideoDataModule,
    settings: Settings,
    *,
    seed: int,
    run_dir: Path,
    on_step: OnStep | None = None,
    accelerator: str = "auto",
    hardware: Hardware | None = None,
    progress: bool = False,
) -> Outcome:
    """Train on the training list, then predict the test list with all views of the data module's spec.

    Args:
        model: builds the model to start from; called after torch's global generator was seeded.
        data: training and test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh, dropout and mixing.
        run_dir: folder of this run; a run that stopped there goes on.
        on_step: called with the step and its values.
        accelerator: as Lightning's Trainer takes it.
        hardware: where to compute, in its place.
        progress: show bars, of the training only where nobody else is told of its steps.
    """
    on = hardware or Hardware(accelerator=accelerator)
    start = time.perf_counter()
    module = Classify(
        build(model, seed),
        settings.recipe,
        seed=seed,
        frozen=settings.frozen,
        num_views=data.spec.clips * data.spec.crops,
    )
    report = fit(
        module,
        data,
        run_dir=run_dir,
        checkpoint_every=settings.checkpoint_every,
        progress="bar" if progress and on_step is None else on_step,
        hardware=on,
    )
    evaluate(module, data, hardware=on, progress=progress, run_dir=run_dir)
    if is_first_process():
        keep_model(module.model, data, run_dir)
    return outcome(
        scores_of(module),
        data,
        rule=module.rule,
        curves=report.curves,
        seconds=time.perf_counter() - start,
        details={
            "steps": settings.recipe.steps,
            "clips_seen": settings.recipe.steps * settings.recipe.global_batch * settings.recipe.repeats,
            "peak_lr": module.schedule.peak,
            "resumed_from": report.resumed_from,
            "batches_read": module.batches_read,
        },
    )
