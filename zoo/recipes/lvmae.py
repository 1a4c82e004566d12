"""LVMAE's recipes for long clips (arXiv 2411.13683).

The paper's text gives epochs, masks, budgets and dropped tokens. Its Table 11 with optimiser, batch and frame strides
could not be read: everything else here is VideoMAE's (MCG-NJU/VideoMAE, scripts/), with 256 clips a step, two on each
of the 128 devices that the paper names, so none of these reproduces a printed number.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier, Reported
from zoo.cards.lvmae import CLASS_ATTENTION, DECODERS
from zoo.recipes.learned import Codes
from zoo.recipes.lists import (
    DIVING48_TRAIN_VIDEOS,
    EK100_TRAIN_SEGMENTS,
    FINEGYM288_TRAIN_CLIPS,
    K710_TRAIN_VIDEOS,
    SSV2_TRAIN_VIDEOS,
)
from zoo.recipes.parts import FINETUNE, MULTISCALE, square, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training

BATCH = 256
# Share of tokens dropped in fine-tuning at 128 frames, S and B against L; at 32 and 64 frames none is.
TOKEN_DROP, TOKEN_DROP_LARGE = 0.2, 0.25
SOURCE = "arXiv 2411.13683; what it does not say is VideoMAE's"
SUMMARY = "a summary of the paper, not its table"
MEAN_POOL = Classifier(pool="mean", norm=True, dropout=0.0, norm_eps=1e-6, options={"final_norm": False})
UNKNOWN = (
    *("recipe.global_batch", "recipe.base_lr", "recipe.base_final_lr", "recipe.base_warmup_lr", "recipe.betas"),
    *("recipe.weight_decay", "recipe.precision", "warmup_epochs", "clip.stride", "clip.sampling", "augment", "videos"),
)
UNKNOWN_TUNED = (
    *("options.drop_path_rate", "recipe.layer_decay", "recipe.label_smoothing", "recipe.mixup", "recipe.cutmix"),
)
LISTS = {
    "diving48": ("Diving48 V2, official train list", DIVING48_TRAIN_VIDEOS),
    "ek100": ("EPIC-KITCHENS-100, segments of the official train list", EK100_TRAIN_SEGMENTS),
    "ssv2": ("Something-Something V2, official train list", SSV2_TRAIN_VIDEOS),
    "finegym288": (
        "FineGym288, release 1.0, a second added on both sides; the paper counts 29,000",
        FINEGYM288_TRAIN_CLIPS,
    ),
    "k710": ("Kinetics-710; the paper counts about a million videos", K710_TRAIN_VIDEOS),
}


class Row(NamedTuple):
    """A pretraining or a fine-tuning.

    Attributes:
        size: "base" or "large".
        suite: list.
        epochs: passes over it.
        frames: of a clip.
        task: of the suite.
        expected: what is printed of it.
        said: whether the paper says the epochs.
    """

    size: str
    suite: str
    epochs: int
    frames: int = 128
    task: str = ""
    expected: tuple[Reported, ...] = ()
    said: bool = True


DIVING = Reported("diving48", "top1 after fine-tuning", 89.7, SUMMARY)
PRETRAININGS = (
    Row("base", "diving48", 1600, expected=(DIVING,)),
    Row("base", "ek100", 1600),
    Row("base", "ssv2", 1600, frames=64),
    Row("large", "finegym288", 1600),
    Row("large", "k710", 800),
    Row("large", "diving48", 1600),
    Row("large", "ek100", 1600),
)
FINETUNINGS = (
    Row("base", "diving48", 200, expected=(Reported("diving48", "top1", 89.7, SUMMARY),)),
    Row("large", "diving48", 50),
    Row("base", "ek100", 50, task="verb", said=False),
    Row("base", "ek100", 50, task="noun", said=False),
    Row("large", "ek100", 50, task="verb", said=False),
    Row("large", "ek100", 50, task="noun", said=False),
    Row("base", "ssv2", 50, frames=64, said=False),
    Row("large", "finegym288", 100, said=False),
)


def rows() -> Iterator[Training]:
    """Every training that the paper's text speaks of."""
    for row in PRETRAININGS:
        yield pretrain(row)
    for row in FINETUNINGS:
        yield finetune(row)


def pretrain(row: Row) -> Training:
    """A tenth of the tubes seen, 15 % of the tokens decoded; L begins with its weights of Kinetics-710."""
    data, videos = LISTS[row.suite]
    architecture = f"lvmae_{row.size}"
    clip = square(row.frames, 224, sampling="dense", stride=1, flip=row.suite != "ssv2")
    form = DECODERS[architecture]
    later = row.size == "large" and row.suite != "k710"
    return Training(
        name=f"{architecture}.{row.suite}_pt_f{row.frames}",
        family="lvmae",
        kind="pretrain",
        architecture=architecture,
        options={"num_frames": row.frames, "img_size": 224, "drop_path_rate": 0.0},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start="lvmae_large.k710_pt_f128" if later else RANDOM,
        objective=Codes(
            tokenizer="lvmae_tokenizer_base",
            target="fsq_code",
            mask="tube",
            mask_ratio=0.9,
            strategy="learned",
            budget=0.15,
            random_share=1 / 3,
            rounding="nearest",
            disjoint=False,
            decoder_width=form["width"],
            decoder_depth=form["depth"],
            decoder_heads=form["num_heads"],
        ),
        suite=row.suite,
        task=row.task,
        data=f"{data}, without labels",
        videos=videos,
        clip=clip,
        views=views_of(clip, "not evaluated by itself"),
        augment=replace(MULTISCALE, flip=0.5 if clip.flip else 0.0),
        recipe=_pretrain(row.epochs, videos),
        epochs=row.epochs,
        warmup_epochs=min(40, row.epochs),
        original=Original(devices=128, clips=0, name="TPU v5e"),
        cost="24 hours on 128 TPU v5e" if row.suite == "ek100" else f"{row.epochs} epochs on 128 TPU v5e",
        expected=row.expected,
        source=SOURCE,
        produces="",
        unknown=(*UNKNOWN, "objective.target", "objective.decoder_width", "objective.decoder_heads"),
        lacks=(),
        notes=("runs of the paper are averaged over three seeds, one clip and one crop, the last checkpoint",),
        obstacle="",
    )


def finetune(row: Row) -> Training:
    """Every token at 64 frames or fewer; a fifth dropped at 128, a quarter by L."""
    data, videos = LISTS[row.suite]
    large, something = row.size == "large", row.suite == "ssv2"
    clip = square(row.frames, 224, sampling="dense", stride=1, flip=not something)
    drop = 0.0 if row.frames <= 64 else TOKEN_DROP_LARGE if large else TOKEN_DROP
    architecture, task = f"lvmae_{row.size}", f"_{row.task}" if row.task else ""
    return Training(
        name=f"{architecture}.{row.suite}{task}_ft_f{row.frames}",
        family="lvmae",
        kind="finetune",
        architecture=architecture,
        options={"num_frames": row.frames, "img_size": 224, "drop_path_rate": 0.1},
        classifier=CLASS_ATTENTION if large else MEAN_POOL,
        head_scale=1.0,
        head_start="fresh",
        start=f"{architecture}.{row.suite}_pt_f{row.frames}",
        objective=None,
        suite=row.suite,
        task=row.task,
        data=data,
        videos=videos,
        clip=clip,
        views=views_of(clip, "the paper's text"),
        augment=replace(FINETUNE, flip=0.0 if something else 0.5),
        recipe=replace(_finetune(row.epochs, videos), token_drop=drop),
        epochs=row.epochs,
        warmup_epochs=5,
        original=Original(devices=64, clips=0, name="TPU v5e"),
        cost="16 hours on 64 TPU v5e" if row.suite == "ek100" else f"{row.epochs} epochs on 64 TPU v5e",
        expected=row.expected,
        source=SOURCE,
        produces="",
        unknown=(*UNKNOWN, *UNKNOWN_TUNED, *(() if row.said else ("epochs",))),
        lacks=(),
        notes=(
            *(("class attention in the paper, a query's cross-attention with its MLP here",) if large else ()),
            *(("the paper trains verbs and nouns together, one network for both",) if row.task else ()),
            "the paper's text: Diving48 3.9 points above MC-ViT and verbs of EK-100 2.5 above the best before, by L",
        ),
        obstacle="",
    )


def _pretrain(epochs: int, videos: int) -> Recipe:
    """VideoMAE's pretraining: 40 epochs of warm-up, 1.5e-4 for 256 clips."""
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=BATCH),
        global_batch=BATCH,
        base_lr=1.5e-4,
        repeats=1,
        repeats_scale_lr=False,
        base_final_lr=1e-5,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(min(40, epochs), videos=videos, global_batch=BATCH),
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
        precision="bf16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        token_drop=0.0,
    )


def _finetune(epochs: int, videos: int) -> Recipe:
    """VideoMAE's fine-tuning of a ViT-B."""
    return replace(
        _pretrain(max(epochs, 5), videos),
        steps=steps_of(epochs, videos=videos, global_batch=BATCH),
        base_lr=5e-4,
        base_final_lr=1e-6,
        base_warmup_lr=1e-6,
        warmup_steps=steps_of(5, videos=videos, global_batch=BATCH),
        betas=(0.9, 0.999),
        layer_decay=0.75,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        token_drop=TOKEN_DROP,
    )
