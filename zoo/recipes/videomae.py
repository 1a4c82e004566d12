"""VideoMAE: pretraining and fine-tuning on Kinetics-400, Something-Something V2 and UCF101.

Sources: arXiv 2203.12602; MCG-NJU/VideoMAE, scripts/, run_mae_pretraining.py, run_class_finetuning.py and MODEL_ZOO.md;
spec-umt-videomae.md section 5.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier
from zoo.recipes.learned import Pixels
from zoo.recipes.lists import K400_TRAIN_VIDEOS, SSV2_TRAIN_VIDEOS, UCF101_TRAIN_VIDEOS
from zoo.recipes.parts import CARDS, FINETUNE, MULTISCALE, NOT_SAID, accuracies, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training

MEAN_POOL = Classifier(pool="mean", norm=True, dropout=0.0, norm_eps=1e-6, options={"final_norm": False})
HEAD_SCALE = 0.001
LISTS = {
    "k400": ("Kinetics-400, MMAction2's copy", K400_TRAIN_VIDEOS),
    "ssv2": ("Something-Something V2, official train list", SSV2_TRAIN_VIDEOS),
    "ucf101": ("UCF101, first split", UCF101_TRAIN_VIDEOS),
}
DECODERS = {"small": (192, 4, 3), "base": (384, 4, 6), "large": (512, 12, 8), "huge": (640, 12, 8)}
# Size and list -> devices, clips on each.
BATCHES = {
    ("small", "k400"): (32, 32),
    ("small", "ssv2"): (64, 32),
    ("base", "k400"): (64, 32),
    ("base", "ssv2"): (64, 32),
    ("large", "k400"): (64, 8),
    ("huge", "k400"): (64, 16),
}
PRETRAININGS = (
    ("small", "k400", 1600),
    ("base", "k400", 800),
    ("base", "k400", 1600),
    ("large", "k400", 1600),
    ("huge", "k400", 1600),
    ("small", "ssv2", 2400),
    ("base", "ssv2", 800),
    ("base", "ssv2", 2400),
    ("base", "ucf101", 3200),
)


class Row(NamedTuple):
    """A fine-tuning.

    Attributes:
        size: of the network.
        suite: list.
        pretrained: epochs of its pretraining on the same list.
        lr: base rate for 256 videos.
        epochs: passes over the list.
        repeats: augmented copies of each video.
        layer_decay: factor per layer.
        drop_path: rate of the backbone.
        dropout: before the classifier.
        unknown: what the sources do not say of this row.
    """

    size: str
    suite: str
    pretrained: int
    lr: float
    epochs: int
    repeats: int = 2
    layer_decay: float = 0.75
    drop_path: float = 0.1
    dropout: float = 0.0
    unknown: tuple[str, ...] = ("options.drop_path_rate",)


FINETUNINGS = (
    Row("small", "k400", 1600, 5e-4, 150),
    Row("base", "k400", 800, 1e-3, 100, repeats=1),
    Row("base", "k400", 1600, 5e-4, 75),
    Row("large", "k400", 1600, 2e-3, 35, drop_path=0.2),
    Row("huge", "k400", 1600, 1e-3, 50, drop_path=0.2, dropout=0.5, unknown=()),
    Row("small", "ssv2", 2400, 1e-3, 40, layer_decay=0.7),
    Row("base", "ssv2", 800, 5e-4, 50, repeats=1),
    Row("base", "ssv2", 2400, 5e-4, 30),
    Row("base", "ucf101", 3200, 5e-4, 100, layer_decay=0.7, drop_path=0.2, dropout=0.5, unknown=()),
)


def rows() -> Iterator[Training]:
    """Every published training of VideoMAE that our sources hold.

    Not among them, because learning rate and epochs are not known: the L model on Something-Something V2, those at 320
    px, HMDB51, and AVA.
    """
    for size, suite, epochs in PRETRAININGS:
        yield pretrain(size, suite, epochs)
    for row in FINETUNINGS:
        yield finetune(row)


def pretrain_recipe(suite: str, *, epochs: int, batch: int) -> Recipe:
    """All sizes share these."""
    videos = LISTS[suite][1]
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=3e-4 if suite == "ucf101" else 1.5e-4,
        repeats=1,
        repeats_scale_lr=False,
        base_final_lr=1e-5,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(40, videos=videos, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=1.0,
        layer_rule="all",
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        token_drop=0.0,
    )


def pretrain(size: str, suite: str, epochs: int) -> Training:
    """Nine tenths of the tubes masked, pixels of the rest predicted; never flipped."""
    name = f"videomae_{size}.{suite}_pt_e{epochs}"
    card, (data, videos), (width, depth, heads) = CARDS[name], LISTS[suite], DECODERS[size]
    devices, clips = BATCHES.get((size, suite), (0, 0))
    # The batch of UCF101 is not in our sources.
    batch = devices * clips or 192
    return Training(
        name=name,
        family="videomae",
        kind="pretrain",
        architecture=f"videomae_{size}",
        options={"num_frames": 16, "img_size": 224, "drop_path_rate": 0.0},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=Pixels(
            mask="tube",
            mask_ratio=0.75 if suite == "ucf101" else 0.9,
            normalize="channel",
            unit_range=True,
            frames_per_token=None,
            decoder_width=width,
            decoder_depth=depth,
            decoder_heads=heads,
            decoder_form="videomae",
        ),
        suite=suite,
        task="split1" if suite == "ucf101" else "",
        data=f"{data}, without labels",
        videos=videos,
        clip=card.clip,
        views=views_of(card.clip, "not evaluated by itself"),
        augment=MULTISCALE,
        recipe=pretrain_recipe(suite, epochs=epochs, batch=batch),
        epochs=epochs,
        warmup_epochs=40,
        original=Original(devices=devices, clips=clips, name="GPU") if devices else NOT_SAID,
        cost=f"{epochs} epochs" + (f" on {devices} GPUs" if devices else ""),
        expected=(),
        source="arXiv 2203.12602; MCG-NJU/VideoMAE, scripts/",
        produces=name,
        unknown=() if devices else ("recipe.global_batch", "videos"),
        lacks=(),
        notes=("multi-scale crops alone, no flips",),
        obstacle="",
    )


def finetune_recipe(row: Row, *, batch: int) -> Recipe:
    """What the scripts share, with the numbers of a row."""
    videos = LISTS[row.suite][1]
    return Recipe(
        steps=steps_of(row.epochs, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=row.lr,
        repeats=row.repeats,
        repeats_scale_lr=False,
        base_final_lr=1e-6,
        base_warmup_lr=1e-6,
        warmup_steps=steps_of(5, videos=videos, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=row.layer_decay,
        layer_rule="all",
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        token_drop=0.0,
    )


def finetune(row: Row) -> Training:
    """A row as a training; the batch is not in our sources but for a remark that it must be above 256."""
    before = f"videomae_{row.size}.{row.suite}_pt_e{row.pretrained}"
    name = f"{before}_{row.suite}_ft"
    card, (data, videos), batch = CARDS[name], LISTS[row.suite], 512
    return Training(
        name=name,
        family="videomae",
        kind="finetune",
        architecture=f"videomae_{row.size}",
        options={"num_frames": 16, "img_size": 224, "drop_path_rate": row.drop_path},
        classifier=replace(MEAN_POOL, dropout=row.dropout),
        head_scale=HEAD_SCALE,
        head_start="fresh",
        start=before,
        objective=None,
        suite=row.suite,
        task="split1" if row.suite == "ucf101" else "",
        data=data,
        videos=videos,
        clip=card.clip,
        views=views_of(card.clip, "scripts and MODEL_ZOO.md"),
        augment=replace(FINETUNE, flip=0.5 if card.clip.flip else 0.0),
        recipe=finetune_recipe(row, batch=batch),
        epochs=row.epochs,
        warmup_epochs=5,
        original=NOT_SAID,
        cost=f"{row.epochs} epochs",
        expected=accuracies(name),
        source="arXiv 2203.12602; MCG-NJU/VideoMAE, scripts/ and FINETUNE.md",
        produces=name,
        unknown=(
            *("recipe.global_batch", "warmup_epochs", "recipe.base_final_lr", "recipe.base_warmup_lr"),
            *row.unknown,
        ),
        lacks=(),
        notes=(
            "rates are multiplied by the batch over 256, without the copies of a video, which UMT's code counts",
            *(
                ("the authors print 80.0 and 81.0 after 800 epochs",)
                if (row.suite, row.pretrained) == ("k400", 800)
                else ()
            ),
        ),
        obstacle="",
    )
