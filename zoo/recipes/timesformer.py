"""TimeSformer on Kinetics-400 and Something-Something V2, with gradient descent, which the zoo's trainer lacks.

Sources: arXiv 2102.05095; facebookresearch/TimeSformer, configs/; protocols.md. No released file and no printed number
is in our sources.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier, ClipSpec
from zoo.cards import timesformer as cards
from zoo.recipes.lists import K400_TRAIN_VIDEOS, SSV2_TRAIN_VIDEOS
from zoo.recipes.parts import CROPS, NOT_SAID, views_of
from zoo.recipes.training import RANDOM, Descent, Training

HEAD = Classifier(pool="cls", norm=False, dropout=0.0)
JITTER = replace(CROPS, crop="jitter")


class Row(NamedTuple):
    """Network, list, and the clips of its configuration."""

    architecture: str
    suite: str
    clip: ClipSpec


def rows() -> Iterator[Training]:
    """The six configurations."""
    for name, clip in (("base", cards.CLIP), ("hr", cards.HR_CLIP), ("large", cards.LARGE_CLIP)):
        yield training(Row(f"timesformer_{name}", "k400", clip))
        # SSv2: 8, 16 at 448 px, and 64 frames.
        frames = 64 if name == "large" else clip.num_frames
        uniform = replace(clip, num_frames=frames, sampling="segments", stride=1, flip=False)
        yield training(Row(f"timesformer_{name}", "ssv2", uniform))


def training(row: Row) -> Training:
    """A configuration as a training."""
    something = row.suite == "ssv2"
    clip, large = row.clip, row.clip.img_size > 320
    return Training(
        name=f"{row.architecture}.{row.suite}_f{clip.num_frames}_res{clip.img_size}",
        family="timesformer",
        kind="finetune",
        architecture=row.architecture,
        options={"num_frames": clip.num_frames, "img_size": clip.img_size, "drop_path_rate": 0.0},
        classifier=HEAD,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=None,
        suite=row.suite,
        task="",
        data="Something-Something V2" if something else "Kinetics-400",
        videos=SSV2_TRAIN_VIDEOS if something else K400_TRAIN_VIDEOS,
        clip=clip,
        views=views_of(clip, "configs/"),
        augment=replace(
            JITTER,
            flip=0.0 if something else 0.5,
            inverse_side=something,
            short_side=(448, 512) if large else (256, 320),
        ),
        recipe=Descent(lr=5e-3, drops=(11, 14), global_batch=0),
        epochs=15,
        warmup_epochs=0,
        original=NOT_SAID,
        cost="15 epochs",
        expected=(),
        source="arXiv 2102.05095; facebookresearch/TimeSformer, configs/",
        produces="",
        unknown=("start", "recipe.global_batch", "augment.short_side", "options.drop_path_rate", "warmup_epochs"),
        lacks=("gradient descent with momentum and rates that fall in steps",),
        notes=("weights begin with an image model; which, our sources do not say",),
        obstacle="its optimiser is gradient descent with rates that fall in steps, and the zoo trains with AdamW alone",
    )
