"""V-JEPA and V-JEPA 2: pretraining, cool-down, and the fine-tuning of the first.

Sources: arXiv 2404.08471 (Tables 8 and 11) and facebookresearch/jepa, configs/pretrain; arXiv 2506.09985, section 2.4,
and facebookresearch/vjepa2, configs/train; spec-vjepa.md sections 1.5, 3.3 and 4.4. Where the first paper says that
weight decay grows linearly, its code uses a cosine, and so do we. Printed rates are those of the whole batch; ours are
for a batch of 256.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier, Reported
from zoo.recipes.learned import Prediction
from zoo.recipes.lists import K400_TRAIN_VIDEOS, SSV2_TRAIN_VIDEOS
from zoo.recipes.parts import CARDS, CROPS, FINETUNE, NOT_SAID, square, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training

EPOCH = 300  # steps that the authors call an epoch
# 16 frames at 4 per second: the authors' stride, the rate rounded up over 4, for videos of 30 frames per second.
STRIDE_AT_4_FPS = 7
RATE = "a stride that follows each video's frame rate (4 frames per second); one stride serves all videos here"
WEIGHTED = "sampling from several data sets by weights"
VIEWED = replace(CROPS, area=(0.3, 1.0), aspect=(0.75, 1.35))
FIRST = Prediction(
    mask="multiblock",
    truncation="first",
    tube_ratio=0.9,
    predictor_width=384,
    predictor_depth=12,
    predictor_heads=16,
    predictor_form="tables",
    num_mask_tokens=2,
    mask_tokens=(0, 1),
    momentum=0.998,
    final_momentum=1.0,
    momentum_stretch=1.25,
)
SECOND = replace(
    FIRST,
    predictor_heads=12,
    predictor_form="rotary",
    num_mask_tokens=10,
    mask_tokens=(0, 0),
    momentum=0.99925,
    final_momentum=0.99925,
)
TRUNCATION = (
    "masks of a batch are cut to the shortest by dropping the latest frames: they depend on the clips per device"
)


class Tuned(NamedTuple):
    """A column of Table 11 of the first paper."""

    architecture: str
    suite: str
    epochs: int
    lr: float
    batch: int
    drop_path: float
    dropout: float
    top1: float


TABLE_11 = (
    Tuned("vjepa_large_16_224", "k400", 35, 2e-3, 256, 0.1, 0.0, 85.6),
    Tuned("vjepa_huge_16_224", "k400", 25, 5e-4, 1024, 0.2, 0.0, 86.6),
    Tuned("vjepa_large_16_224", "ssv2", 15, 5e-4, 256, 0.2, 0.5, 75.1),
    Tuned("vjepa_huge_16_224", "ssv2", 15, 5e-4, 256, 0.2, 0.5, 77.0),
)


def rows() -> Iterator[Training]:
    """Every published pretraining and fine-tuning of both versions."""
    yield first("vjepa_large_16_224", devices=128, clips=24)
    yield first("vjepa_huge_16_224", devices=128, clips=24)
    yield first("vjepa_huge_16_384", devices=240, clips=10)
    for size in ("large", "huge", "giant"):
        yield phase_1(f"vjepa2_{size}_16_256")
    for name in ("vjepa2_large_16_256", "vjepa2_huge_16_256", "vjepa2_giant_16_256", "vjepa2_giant_16_384"):
        yield cool_down(name)
    for column in TABLE_11:
        yield tuned(column)


def first(architecture: str, *, devices: int, clips: int) -> Training:
    """V-JEPA on VideoMix2M: 90 000 steps."""
    card, batch = CARDS[f"{architecture}.videomix2m"], devices * clips
    return Training(
        name=card.name,
        family="vjepa",
        kind="pretrain",
        architecture=architecture,
        options={"num_frames": 16, "img_size": card.clip.img_size, "drop_path_rate": 0.0},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=FIRST,
        suite="",
        task="",
        data="VideoMix2M: Kinetics-710, Something-Something V2 and HowTo100M, about 2 million videos without labels",
        videos=2_000_000,
        clip=card.clip,
        views=views_of(card.clip, "of the attentive probe on Kinetics-400"),
        augment=VIEWED,
        recipe=_first_recipe(batch),
        epochs=None,
        warmup_epochs=None,
        original=Original(devices=devices, clips=clips, name="GPU"),
        cost=f"90,000 steps on {devices} GPUs",
        expected=card.reported,
        source="arXiv 2404.08471, Table 8; facebookresearch/jepa, configs/pretrain",
        produces=card.name,
        unknown=(),
        lacks=(),
        notes=(
            TRUNCATION,
            "the paper says that weight decay grows linearly; the code's cosine is taken",
            "bfloat16 with a gradient scaler in the authors' code, which bfloat16 does not need",
        ),
        obstacle="",
    )


def _first_recipe(batch: int) -> Recipe:
    """What all models of the first V-JEPA share."""
    return Recipe(
        steps=300 * EPOCH,
        global_batch=batch,
        base_lr=_of_256(6.25e-4, batch),
        repeats=1,
        repeats_scale_lr=False,
        base_final_lr=_of_256(1e-6, batch),
        base_warmup_lr=_of_256(2e-4, batch),
        warmup_steps=40 * EPOCH,
        schedule="vjepa_cosine",
        stretch=1.25,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.04,
        final_weight_decay=0.4,
        layer_decay=1.0,
        layer_rule="all",
        # Clipping begins after the first epoch that follows the warm-up (app/vjepa/train.py: epoch > warmup, from 0).
        gradient_clip=10.0,
        clip_parts=True,
        clip_after=41 * EPOCH,
        accumulate=1,
        precision="bf16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        token_drop=0.0,
    )


def _second_recipe() -> Recipe:
    """The first phase of V-JEPA 2, of all sizes."""
    return Recipe(
        steps=240_000,
        global_batch=3072,
        base_lr=_of_256(5.25e-4, 3072),
        repeats=1,
        repeats_scale_lr=False,
        base_final_lr=_of_256(5.25e-4, 3072),
        base_warmup_lr=_of_256(1e-4, 3072),
        warmup_steps=12_000,
        schedule="vjepa_cosine",
        stretch=1.25,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.04,
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


def phase_1(architecture: str) -> Training:
    """V-JEPA 2, first phase: 16 frames at 4 per second, 256 px, 240 000 steps at a constant rate after the warm-up."""
    clip = square(16, 256, sampling="vjepa", stride=STRIDE_AT_4_FPS, flip=True)
    return Training(
        name=f"{architecture}.videomix22m_phase1",
        family="vjepa2",
        kind="pretrain",
        architecture=architecture,
        options={"num_frames": 16, "img_size": 256, "drop_path_rate": 0.0},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=SECOND,
        suite="",
        task="",
        data=(
            "VideoMix22M: Something-Something V2 0.056, Kinetics 0.188, HowTo100M 0.318, curated YT-Temporal-1B 0.188, "
            "ImageNet as 16 equal frames 0.250"
        ),
        videos=22_000_000,
        clip=clip,
        views=views_of(clip, "not evaluated by itself"),
        augment=VIEWED,
        recipe=_second_recipe(),
        epochs=None,
        warmup_epochs=None,
        original=NOT_SAID,
        cost="240,000 steps of 3072 clips",
        expected=(),
        source="arXiv 2506.09985, section 2.4; facebookresearch/vjepa2, configs/train",
        produces="",
        unknown=(),
        lacks=(RATE, WEIGHTED),
        notes=(
            TRUNCATION,
            "the public configurations of L and H say 10 epochs, a placeholder, and list other data weights "
            "(Kinetics-710 .335, SSv2 .100, HowTo100M .565)",
        ),
        obstacle="",
    )


def cool_down(architecture: str) -> Training:
    """V-JEPA 2, second phase: 64 frames, a falling rate, 12 000 steps.

    The rate falls along a line made for 15 000 steps, so that it ends at 1.06e-4 and not at the configuration's 1e-6.
    """
    before = phase_1(architecture.replace("384", "256"))
    card = CARDS[f"{architecture}.videomix22m"]
    recipe = replace(
        before.optimisation,
        steps=12_000,
        base_final_lr=_of_256(1e-6, 3072),
        base_warmup_lr=0.0,
        warmup_steps=0,
        schedule="vjepa_linear",
    )
    return replace(
        before,
        name=card.name,
        architecture=architecture,
        options={"num_frames": 64, "img_size": card.clip.img_size, "drop_path_rate": 0.0},
        start=before.name,
        clip=replace(card.clip, stride=STRIDE_AT_4_FPS),
        views=views_of(card.clip, "of the attentive probe on Kinetics-400"),
        recipe=recipe,
        cost="12,000 steps of 3072 clips",
        expected=card.reported,
        produces=card.name,
        notes=(
            TRUNCATION,
            "the configuration of g at 256 px says 4 x 30 epochs",
            "the code reads the checkpoint to go on from only where load_checkpoint is set (issue 47)",
        ),
    )


def tuned(column: Tuned) -> Training:
    """Fine-tuning in VideoMAE's manner, of which no code was released."""
    something = column.suite == "ssv2"
    videos = SSV2_TRAIN_VIDEOS if something else K400_TRAIN_VIDEOS
    clip = square(16, 224, sampling="dense", stride=4, views=(2, 3) if something else (5, 3), flip=not something)
    recipe = replace(
        _first_recipe(column.batch),
        steps=steps_of(column.epochs, videos=videos, global_batch=column.batch),
        warmup_steps=steps_of(5, videos=videos, global_batch=column.batch),
        base_lr=column.lr,
        base_final_lr=1e-6,
        base_warmup_lr=1e-6,
        repeats=2,
        schedule="cosine",
        stretch=1.0,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=0.75,
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
    )
    return replace(
        first("vjepa_large_16_224", devices=128, clips=24),
        name=f"{column.architecture}.videomix2m_{column.suite}_ft",
        kind="finetune",
        architecture=column.architecture,
        options={"num_frames": 16, "img_size": 224, "drop_path_rate": column.drop_path},
        classifier=Classifier(pool="mean", norm=False, dropout=column.dropout),
        start=f"{column.architecture}.videomix2m",
        objective=None,
        suite=column.suite,
        data="Something-Something V2" if something else "Kinetics-400",
        videos=videos,
        clip=clip,
        views=views_of(clip, "arXiv 2404.08471, Table 15"),
        augment=replace(FINETUNE, flip=0.0 if something else 0.5),
        recipe=recipe,
        epochs=column.epochs,
        warmup_epochs=5,
        original=NOT_SAID,
        cost=f"{column.epochs} epochs",
        expected=(Reported(column.suite, "top1", column.top1, "arXiv 2404.08471, Table 15"),),
        source="arXiv 2404.08471, Table 11; no code",
        produces="",
        unknown=(
            *("warmup_epochs", "recipe.base_final_lr", "recipe.base_warmup_lr", "recipe.betas", "recipe.precision"),
            *("classifier", "clip.sampling", "clip.stride", "recipe.repeats_scale_lr", "recipe.base_lr", "videos"),
        ),
        notes=(
            "Table 11 was read from a garbled scan: epochs, rates, batch, drop path and dropout want confirming",
            "whether its rates are those of a batch of 256 is not said; they are taken so, as VideoMAE's are",
        ),
    )


def _of_256(lr: float, batch: int) -> float:
    """The learning rate for a batch of 256 that gives `lr` at `batch`."""
    return lr * 256 / batch
