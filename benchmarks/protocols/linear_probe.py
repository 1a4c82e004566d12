"""Linear probe: one linear layer on the pooled features of a frozen backbone, for classes or a value.

Features are computed once, without augmentation, and standardised by the mean and deviation of the training features,
as the batch norm without parameters does in MAE's linear probes (arXiv 2111.06377, appendix A.1).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.protocols.common import Fitted, banks, build, keep_model, outcome_of, with_head
from benchmarks.protocols.outcome import Outcome
from heads.linear import LinearHead
from zoo.card import Classifier
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.training.features import FeatureBank, device_of
from zoo.training.log import OnStep
from zoo.training.predictions import MEAN, SOFTMAX
from zoo.training.probe import ProbeRecipe, fold_standardization, probe, score

RECIPE = ProbeRecipe(steps=400, batch_size=256, lrs=(1e-3, 1e-2, 1e-1), weight_decay=1e-4)
EPSILON = 1e-6  # deviation below which a feature counts as constant


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        recipe: how the layer is trained.
        max_bytes: largest memory for the features of a list.
    """

    recipe: ProbeRecipe = RECIPE
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
    """Train the layer on features of the training list, predict the test list.

    Args:
        model: builds the model whose backbone is probed; its head only says how many classes there are.
        data: training and test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh, order and held-out videos.
        run_dir: folder for the trained model.
        on_step: called with the step and its values.
        accelerator: where features and the layer are computed, in Lightning's words.
        features: folder that keeps features on disk; None keeps them in memory.
        progress: show bars.
    """
    start, whole = time.perf_counter(), build(model, seed)
    source = banks(
        whole,
        data,
        pool=whole.pool,
        max_bytes=settings.max_bytes,
        accelerator=accelerator,
        features=features,
        progress=progress,
    )
    found = fit(
        whole,
        source.train,
        source.test,
        settings,
        seed=seed,
        on_step=on_step,
        progress=progress,
        device=device_of(accelerator),
    )
    if found.model is not None:
        keep_model(found.model, data, run_dir)
    return outcome_of(found, data, source, seconds=time.perf_counter() - start)


def fit(
    whole: VideoModel,
    train: FeatureBank,
    test: FeatureBank,
    settings: Settings,
    *,
    seed: int,
    on_step: OnStep | None = None,
    progress: bool = False,
    device: str = "cpu",
) -> Fitted:
    """The layer trained on a bank.

    Args:
        whole: says how many classes there are, and how features were pooled.
        train: pooled features of the training list, or a part of it.
        test: of the test list.
        settings: what shapes the numbers.
        seed: of weights that start fresh, order and held-out videos.
        on_step: called with the step and its values.
        progress: show bars.
        device: where the layer learns.
    """
    pool, dim, num_classes = whole.pool, whole.embed_dim, whole.num_classes
    mean, std = train.tokens.mean((0, 1)), train.tokens.std((0, 1)).clamp(min=EPSILON)
    scaled = [replace(bank, tokens=(bank.tokens - mean) / std) for bank in (train, test)]
    # Pooled features are one token, whose mean it is itself.
    found = probe(
        lambda: LinearHead(dim, num_classes, pool="mean"),
        scaled[0],
        settings.recipe,
        seed=seed,
        on_step=on_step,
        progress=progress,
        device=device,
    )
    scores = score(found.head, scaled[1], batch_size=settings.recipe.batch_size)
    fold_standardization(found.head.cpu().get_submodule("linear"), mean, std)
    head = LinearHead(dim, num_classes, pool=pool)
    head.load_state_dict(found.head.state_dict())
    rule = SOFTMAX if scores.targets is None else MEAN
    return Fitted(with_head(whole, head, Classifier(pool=pool)), scores, found.curves, found.details(), rule)
