"""Attentive probe: V-JEPA's cross-attention head on all tokens of a frozen backbone.

Features are computed once, without augmentation, unlike in V-JEPA's own protocol, which trains on augmented clips; for
that, fine-tune with `frozen=True` and an attentive head.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.protocols.common import Banks, Fitted, banks, build, keep_model, outcome_of, with_head
from benchmarks.protocols.outcome import Outcome
from heads.attentive import AttentiveHead
from zoo.card import Classifier, ClipSpec
from zoo.data.datamodule import VideoDataModule
from zoo.model import VideoModel
from zoo.training.features import device_of
from zoo.training.log import OnStep
from zoo.training.predictions import ATTENDED, MEAN, SOFTMAX
from zoo.training.probe import ProbeRecipe, probe, score

RECIPE = ProbeRecipe(steps=300, batch_size=64, lrs=(3e-4, 1e-3, 3e-3), weight_decay=1e-2, warmup_steps=20)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers.

    Attributes:
        recipe: how the head is trained.
        num_heads: attention heads; must divide the width of the backbone.
        depth: blocks, see `heads.attentive.AttentivePooler`.
        blocks: where the blocks before the last work, "tokens" or "query", see there.
        layers: blocks of the backbone whose tokens the head sees together; None for the last one. V-JEPA 2 gives four
            on Diving-48 and Jester.
        across_segments: show the head all temporal clips of a crop at once, as every published V-JEPA probe does, and
            average over crops; False asks it about each clip.
        max_bytes: largest memory for the features of a list.
    """

    recipe: ProbeRecipe = RECIPE
    num_heads: int = 4
    depth: int = 1
    blocks: Literal["tokens", "query"] = "tokens"
    layers: tuple[int, ...] | None = None
    across_segments: bool = True
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
    """Train the head on features of the training list, predict the test list.

    Args:
        model: builds the model whose backbone is probed; its head only says how many classes there are.
        data: training and test clips.
        settings: what shapes the numbers.
        seed: of weights that start fresh, order and held-out videos.
        run_dir: folder for the trained model.
        on_step: called with the step and its values.
        accelerator: where features and the head are computed, in Lightning's words.
        features: folder that keeps features on disk; None keeps them in memory.
        progress: show bars.
    """
    start, whole = time.perf_counter(), build(model, seed)
    source = banks(
        whole,
        data,
        pool=None,
        max_bytes=settings.max_bytes,
        accelerator=accelerator,
        layers=settings.layers,
        features=features,
        progress=progress,
    )
    found = fit(
        whole,
        source,
        settings,
        spec=data.spec,
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
    source: Banks,
    settings: Settings,
    *,
    spec: ClipSpec,
    seed: int,
    on_step: OnStep | None = None,
    progress: bool = False,
    device: str = "cpu",
) -> Fitted:
    """The head trained on a bank.

    Args:
        whole: says how many classes there are.
        source: tokens of the training list, or a part of it, and of the test list.
        settings: what shapes the numbers; values are asked for of each clip and averaged, whatever they say.
        spec: says how many clips and crops there are.
        seed: of weights that start fresh, order and held-out videos.
        on_step: called with the step and its values.
        progress: show bars.
        device: where the head learns.
    """
    train, test, clips, crops = source.train, source.test, spec.clips, spec.crops
    joins = settings.across_segments and clips > 1 and train.targets is None
    if joins:
        train, test = train.across_segments(clips, crops), test.across_segments(clips, crops)

    def make_head() -> AttentiveHead:
        return AttentiveHead(
            whole.embed_dim,
            whole.num_classes,
            num_heads=settings.num_heads,
            depth=settings.depth,
            blocks=settings.blocks,
        )

    found = probe(make_head, train, settings.recipe, seed=seed, on_step=on_step, progress=progress, device=device)
    scores = score(found.head, test, batch_size=settings.recipe.batch_size)
    found.head.cpu()
    form = Classifier(
        pool=whole.pool,
        kind="attentive",
        num_heads=settings.num_heads,
        depth=settings.depth,
        blocks=settings.blocks,
        layers=settings.layers or (),
    )
    model = with_head(whole, found.head, form)
    rule, num_views = (ATTENDED, crops) if joins else (SOFTMAX if train.targets is None else MEAN, None)
    return Fitted(model, scores, found.curves, found.details(), rule, num_views)
