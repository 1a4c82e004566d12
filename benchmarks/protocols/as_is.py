"""A classifier as it is: nothing is trained, every view of the test list is scored."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocols.common import build, outcome
from benchmarks.protocols.outcome import Outcome
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.recipes.recipe import Recipe
from zoo.training.classify import Classify
from zoo.training.fit import Hardware, evaluate, scores_of
from zoo.training.log import OnStep
from zoo.training.predictions import ATTENDED, SOFTMAX

NOTHING_TRAINED = Recipe(steps=1, global_batch=1, base_lr=0.0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        rule: how the views of a video become one answer, see `zoo.training.predictions.MERGE_RULES`.
        question: which of a head's questions is asked; "" for a head with one.
        precision: of the arithmetic, in Lightning's words.
    """

    rule: str = SOFTMAX
    question: str = ""
    precision: str = "32-true"


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
    """Score the test list with all views of the data module's spec.

    Args:
        model: builds the classifier.
        data: test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh.
        run_dir: folder of this run, for scores as they come; an evaluation that stopped there goes on.
        on_step: unused likewise.
        accelerator: as Lightning's Trainer takes it.
        hardware: where to compute, in its place.
        progress: show a bar.
    """
    start, spec = time.perf_counter(), data.spec
    on = hardware or Hardware(accelerator=accelerator, precision=settings.precision)
    module = Classify(
        build(model, seed),
        NOTHING_TRAINED,
        seed=seed,
        num_views=spec.clips * spec.crops,
        rule=settings.rule,
        clips=spec.clips,
        question=settings.question,
    )
    evaluate(module, data, hardware=on, progress=progress, run_dir=run_dir)
    return outcome(
        scores_of(module),
        data,
        rule=module.rule,
        num_views=spec.crops if settings.rule == ATTENDED else None,
        curves=[],
        seconds=time.perf_counter() - start,
        details={"batches_read": module.batches_read},
    )
