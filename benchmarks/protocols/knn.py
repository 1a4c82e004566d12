"""k nearest neighbours on pooled features: nothing is trained and nothing chosen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocols.common import Fitted, banks, build, outcome_of
from benchmarks.protocols.outcome import Outcome
from heads.knn import KNN
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.training.features import device_of
from zoo.training.log import OnStep
from zoo.training.probe import score


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        k: number of neighbours that vote; all training clips where there are fewer.
        temperature: of their votes.
        max_bytes: largest memory for the features of a list.
    """

    k: int = 20
    temperature: float = 0.07
    max_bytes: int = 4 << 30


def run(
    model: Callable[[], VideoModel],
    data: VideoDataModule,
    settings: Settings,
    *,
    seed: int,
    run_dir: Path,
    on_step: OnStep | None = None,
    accelerator: str = "auto",
    features: Path | None = None,
    progress: bool = False,
) -> Outcome:
    """Let the training clips nearest to each test clip vote.

    Args:
        model: builds the model whose backbone is used; its head only says how many classes there are.
        data: training and test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh.
        run_dir: unused, because nothing is trained.
        on_step: called once, when the features are there.
        accelerator: where features and distances are computed, in Lightning's words.
        features: folder that keeps features on disk; None keeps them in memory.
        progress: show bars.
    """
    start, whole = time.perf_counter(), build(model, seed)
    pool = whole.pool
    source = banks(
        whole,
        data,
        pool=pool,
        max_bytes=settings.max_bytes,
        accelerator=accelerator,
        features=features,
        progress=progress,
    )
    train, test = source
    if on_step is not None:
        on_step(1, {"step": 1})
    k = min(settings.k, len(train.labels))
    head = KNN(whole.num_classes, pool="mean", k=k, temperature=settings.temperature)
    device = device_of(accelerator)
    head.fit(train.tokens[:, 0].to(device), train.labels.to(device))
    scores = score(head, test, batch_size=head.chunk)
    found = Fitted(None, scores, [], {"k": k})
    return outcome_of(found, data, source, seconds=time.perf_counter() - start)
