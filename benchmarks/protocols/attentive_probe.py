"""Attentive probe: V-JEPA's cross-attention head on all tokens of a frozen backbone.

Features are computed once, without augmentation, unlike in V-JEPA's own protocol, which trains on augmented clips; for
that, fine-tune with `frozen=True` and an attentive head.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocols.common import banks, build, keep_model, outcome, with_head
from benchmarks.protocols.outcome import Outcome
from heads.attentive import AttentiveHead
from zoo.card import Classifier
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.training.log import OnStep
from zoo.training.probe import ProbeRecipe, predict, probe

RECIPE = ProbeRecipe(steps=300, batch_size=64, lrs=(3e-4, 1e-3, 3e-3), weight_decay=1e-2, warmup_steps=20)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        recipe: how the head is trained.
        num_heads: attention heads; must divide the width of the backbone.
        depth: blocks, see `AttentiveHead`.
        max_bytes: largest memory for the features of a list.
    """

    recipe: ProbeRecipe = RECIPE
    num_heads: int = 4
    depth: int = 1
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
) -> Outcome:
    """Train the head on features of the training list, predict the test list.

    Args:
        model: builds the model whose backbone is probed; its head only says how many classes there are.
        data: training and test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh, order and held-out videos.
        run_dir: folder for the trained model.
        on_step: called with the step and its values.
        accelerator: where features are computed, in Lightning's words.
    """
    start, whole = time.perf_counter(), build(model, seed)
    train, test = banks(whole, data, pool=None, max_bytes=settings.max_bytes, accelerator=accelerator)

    def make_head() -> AttentiveHead:
        return AttentiveHead(whole.embed_dim, whole.num_classes, num_heads=settings.num_heads, depth=settings.depth)

    found = probe(make_head, train, settings.recipe, seed=seed, on_step=on_step)
    predictions = predict(found.head, test, batch_size=settings.recipe.batch_size)
    form = Classifier(pool=whole.pool, kind="attentive", num_heads=settings.num_heads, depth=settings.depth)
    keep_model(with_head(whole, found.head, form), data, run_dir)
    return outcome(predictions, data, curves=found.curves, seconds=time.perf_counter() - start, details=found.details())
