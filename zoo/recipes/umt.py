"""UMT: stage 1, fine-tuning on Kinetics-710 and its parts, Something-Something V2 and Moments in Time.

Sources: arXiv 2303.16058; OpenGVLab/unmasked_teacher single_modality, exp/pretraining, exp/finetuning and MODEL_ZOO.md;
spec-umt-videomae.md sections 2 and 3.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier
from zoo.recipes.learned import Alignment
from zoo.recipes.lists import (
    K400_TRAIN_VIDEOS,
    K600_TRAIN_VIDEOS,
    K700_TRAIN_VIDEOS,
    K710_TRAIN_VIDEOS,
    MIT_TRAIN_VIDEOS,
    SSV2_TRAIN_VIDEOS,
)
from zoo.recipes.parts import CARDS, FINETUNE, MULTISCALE, NOT_SAID, accuracies, square, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training, Views

SOURCE = "arXiv 2303.16058; OpenGVLab/unmasked_teacher, single_modality/exp/finetuning"
SCRIPT, ZOO = "script", "single_modality/MODEL_ZOO.md"
MEAN_POOL = Classifier(
    pool="mean", norm=True, dropout=0.0, norm_eps=1e-6, options={"final_norm": False, "table_grid": (8, 14, 14)}
)
HEAD_SCALE = 0.001
REPEATS = (
    "rates are multiplied by the batch and by both copies of a video over 256, as UMT's code does and VideoMAE's not"
)
LISTS = {
    "k710": ("Kinetics-710, UniFormerV2's list, about 650,000 videos", K710_TRAIN_VIDEOS),
    "k400": ("Kinetics-400; the authors' count is not known, MMAction2's is used", K400_TRAIN_VIDEOS),
    "k600": ("Kinetics-600; the authors' count is not known, MMAction2's is used", K600_TRAIN_VIDEOS),
    "k700": ("Kinetics-700; the authors' count is not known, MMAction2's is used", K700_TRAIN_VIDEOS),
    "ssv2": ("Something-Something V2, official train list", SSV2_TRAIN_VIDEOS),
    "mit": ("Moments in Time V1; the authors' count is not known", MIT_TRAIN_VIDEOS),
}
DROP_PATH = {"base": 0.1, "large": 0.2}
LAYER_DECAY = {"base": 0.75, "large": 0.85}


class Row(NamedTuple):
    """A fine-tuning, as the scripts have it.

    Attributes:
        size: "base" or "large".
        suite: list.
        tag: of the card.
        start: tag of the weights to begin with.
        clips: videos on each of 16 GPUs.
        repeats: augmented copies of each.
        lr: base rate for 256 clips.
        epochs: passes over the list.
        warmup: epochs of it.
        weight_decay: of matrices.
        head_start: see `Training`.
        script_views: views of the script where the model zoo has others.
    """

    size: str
    suite: str
    tag: str
    start: str
    clips: int
    repeats: int
    lr: float
    epochs: int
    warmup: int
    weight_decay: float = 0.05
    head_start: str = "fresh"
    script_views: tuple[int, int] | None = None


def rows() -> Iterator[Training]:
    """Every published training of UMT."""
    for size in DROP_PATH:
        yield pretrain(size)
    for row in table():
        yield finetune(row)
    for size in DROP_PATH:
        yield detection(size)
    for size in DROP_PATH:
        for corpus in ("5m", "17m", "25m"):
            yield second_stage(size, corpus)


def table() -> Iterator[Row]:
    """Fine-tuning runs: scripts in exp/finetuning."""
    parts = ("k400", "k600", "k700")
    yield Row("base", "k710", "k710_ft_f8_res224", "k710_pt_f8_res224", 16, 2, 2e-4, 35, 2)
    yield Row("large", "k710", "k710_ft_f8_res224", "k710_pt_f8_res224", 16, 2, 1e-4, 20, 2)
    for suite in parts:
        begin, head = "k710_ft_f8_res224", "rows"
        yield Row("base", suite, f"k710_ft_{suite}_f8_res224", begin, 16, 2, 2e-5, 5, 1, head_start=head)
        yield Row("large", suite, f"k710_ft_{suite}_f8_res224", begin, 16, 2, 1e-5, 5, 1, head_start=head)
        tag = f"k710_ft_{suite}_f16_res224"
        yield Row("large", suite, tag, begin, 8, 2, 1e-5, 5, 1, head_start=head, script_views=(4, 1))
    yield Row("base", "ssv2", "k710_pt_ssv2_f8_res224", "k710_pt_f8_res224", 16, 2, 2e-4, 30, 5)
    yield Row("large", "ssv2", "k710_pt_ssv2_f8_res224", "k710_pt_f8_res224", 16, 2, 4e-4, 14, 4)
    small, high, begin = "k710_ft_k400_ft_mitv1_f8_res224", "k710_ft_k400_ft_mitv1_f8_res384", "k710_ft_k400_f8_res224"
    yield Row("base", "mit", small, begin, 32, 1, 1e-4, 40, 5)
    yield Row("large", "mit", small, begin, 32, 1, 1e-4, 20, 5)
    yield Row("base", "mit", high, small, 16, 1, 1e-5, 4, 1, 0.1, "rows")
    yield Row("large", "mit", high, small, 8, 1, 1e-5, 4, 1, 0.1, "rows", (6, 3))


def pretrain_recipe() -> Recipe:
    """Stage 1 of both sizes."""
    return Recipe(
        steps=steps_of(200, videos=K710_TRAIN_VIDEOS, global_batch=2048),
        global_batch=2048,
        base_lr=1.5e-4,
        repeats=1,
        repeats_scale_lr=True,
        base_final_lr=1e-5,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(40, videos=K710_TRAIN_VIDEOS, global_batch=2048),
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


def pretrain(size: str) -> Training:
    """Stage 1 on Kinetics-710; both sizes share all but teacher and drop path."""
    card = CARDS[f"umt_{size}.k710_pt_f8_res224"]
    teacher = {"base": "clip_visual_base_patch16.openai", "large": "clip_visual_large_patch14.openai"}[size]
    return Training(
        name=card.name,
        family="umt",
        kind="pretrain",
        architecture=f"umt_{size}",
        options={"num_frames": 8, "img_size": 224, "drop_path_rate": DROP_PATH[size]},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=Alignment(
            teacher=teacher,
            teacher_layers=6,
            teacher_interval=1,
            teacher_class_token=False,
            teacher_post_norm=True,
            teacher_statistics="student",
            mask="attention",
            mask_ratio=0.8,
            loss="l2",
            interval=1,
            student_target="normed",
            norm_eps=1e-6,
        ),
        suite="k710",
        task="",
        data=f"{LISTS['k710'][0]}, without labels",
        videos=K710_TRAIN_VIDEOS,
        clip=card.clip,
        views=views_of(card.clip, "not evaluated by itself"),
        augment=replace(MULTISCALE, flip=0.5),
        recipe=pretrain_recipe(),
        epochs=200,
        warmup_epochs=40,
        original=Original(devices=32, clips=64, name="A100" if size == "large" else "GPU"),
        cost="200 epochs on 32 GPUs; the abstract gives 6 days on 32 A100 for the whole pipeline of L/16",
        expected=(),
        source="arXiv 2303.16058; OpenGVLab/unmasked_teacher, single_modality/exp/pretraining",
        produces=card.name,
        unknown=("videos",),
        lacks=(),
        notes=(
            "the script says 201 epochs, the paper 200",
            "the length of the list is from memory of UniFormerV2's; the list itself is not published",
            "the teacher sees frames with ImageNet's statistics"
            + (", resized to 196 px so that patches of 14 px lie on the student's" if size == "large" else ""),
        ),
        obstacle="",
    )


def finetune_recipe(row: Row) -> Recipe:
    """What all fine-tuning scripts share, with the numbers of a row."""
    videos, batch = LISTS[row.suite][1], 16 * row.clips
    return Recipe(
        steps=steps_of(row.epochs, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=row.lr,
        repeats=row.repeats,
        repeats_scale_lr=True,
        base_final_lr=1e-6,
        base_warmup_lr=1e-6,
        warmup_steps=steps_of(row.warmup, videos=videos, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=row.weight_decay,
        final_weight_decay=None,
        layer_decay=LAYER_DECAY[row.size],
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
    """A row as a training."""
    name = f"umt_{row.size}.{row.tag}"
    card, (data, videos) = CARDS[name], LISTS[row.suite]
    flip = 0.5 if card.clip.flip else 0.0
    views = views_of(card.clip, f"{SCRIPT} and {ZOO}")
    if row.script_views:
        views = (*views_of(card.clip, ZOO), Views(*row.script_views, SCRIPT))
    if row.suite == "ssv2":
        views = (*views_of(card.clip, SCRIPT), Views(4, 3, ZOO))
    return Training(
        name=name,
        family="umt",
        kind="finetune",
        architecture=f"umt_{row.size}",
        options={**card.overrides, "drop_path_rate": DROP_PATH[row.size]},
        classifier=MEAN_POOL,
        head_scale=HEAD_SCALE if row.head_start == "fresh" else 1.0,
        head_start=row.head_start,
        start=f"umt_{row.size}.{row.start}",
        objective=None,
        suite=row.suite,
        task="",
        data=data,
        videos=videos,
        clip=card.clip,
        views=views,
        augment=replace(FINETUNE, flip=flip),
        recipe=finetune_recipe(row),
        epochs=row.epochs,
        warmup_epochs=row.warmup,
        original=Original(devices=16, clips=row.clips, name="GPU"),
        cost=f"{row.epochs} epochs on 16 GPUs",
        expected=accuracies(name),
        source=SOURCE,
        produces=name,
        unknown=() if row.suite == "ssv2" else ("videos",),
        lacks=(),
        notes=(
            REPEATS,
            *(("the classifier starts from the rows of the one before",) if row.head_start == "rows" else ()),
            *(("the model zoo names the Kinetics-400 model as its start",) if row.weight_decay == 0.1 else ()),
        ),
        obstacle="",
    )


def detection(size: str) -> Training:
    """AVA v2.2: boxes, which the zoo neither reads nor scores."""
    base = size == "base"
    card, devices, clips = CARDS[f"umt_{size}.k710_ft_ava22_f8_res224"], *((16, 8) if base else (32, 4))
    epochs = 30 if base else 25
    like = finetune(next(row for row in table() if row.size == size))
    recipe = replace(
        like.optimisation,
        steps=1,
        warmup_steps=0,
        global_batch=devices * clips,
        base_lr=2.5e-4,
        repeats=1,
        precision="16-mixed" if base else "32-true",
    )
    return replace(
        like,
        name=card.name,
        options={**like.options, "drop_path_rate": 0.2 if base else 0.4},
        start=f"umt_{size}.k710_ft_f8_res224",
        suite="",
        data="AVA v2.2, boxes of persons",
        videos=1,
        clip=card.clip,
        views=views_of(card.clip, SCRIPT),
        recipe=recipe,
        epochs=None,
        warmup_epochs=None,
        original=Original(devices=devices, clips=clips, name="GPU"),
        cost=f"{epochs} epochs on {devices} GPUs",
        expected=card.reported,
        source="OpenGVLab/unmasked_teacher, single_modality/action_detection",
        produces=card.name,
        unknown=("recipe.steps", "recipe.warmup_steps", "videos", "augment", "recipe.weight_decay"),
        notes=(f"{epochs} epochs, 8 frames over a span of 300", "mixed precision is off for L, for stability"),
        obstacle="the zoo has no detection: boxes of AVA are neither read nor scored",
    )


def second_stage(size: str, corpus: str) -> Training:
    """Stage 2 with texts, which the zoo has no objective for."""
    card, devices = CARDS[f"umt_mm_{size}.pt_{corpus}"], {"base": 16, "large": 32}[size]
    like = pretrain(size)
    batch, videos = devices * 128, int(corpus[:-1]) * 1_000_000
    recipe = replace(
        like.optimisation,
        steps=steps_of(10, videos=videos, global_batch=batch),
        warmup_steps=steps_of(1, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=1e-4 * 256 / batch,
        base_final_lr=1e-6 * 256 / batch,
        base_warmup_lr=1e-6 * 256 / batch,
        betas=(0.9, 0.999),
        weight_decay=0.02,
    )
    return replace(
        like,
        name=card.name,
        architecture=card.architecture,
        options={"num_frames": 4, "img_size": 224, "drop_path_rate": DROP_PATH[size]},
        start=f"umt_{size}.k710_pt_f8_res224",
        objective=None,
        suite="",
        data=f"{corpus.upper()} pairs of videos or images with texts",
        videos=videos,
        clip=square(4, 224, sampling="segments", stride=1, interpolation="bicubic", flip=True),
        augment=replace(FINETUNE, area=(0.5, 1.0), policy="", erase=0.0),
        recipe=recipe,
        epochs=10,
        warmup_epochs=1,
        original=Original(devices=devices, clips=128, name="GPU") if devices else NOT_SAID,
        cost=f"10 epochs on {devices} GPUs",
        expected=card.reported,
        source="OpenGVLab/unmasked_teacher, multi_modality; spec-umt-videomae section 4.3",
        produces=card.name,
        unknown=(),
        notes=("images and videos come from loaders of their own, each step from one of them",),
        obstacle="the zoo has no text encoder and no contrastive, matching or language objective",
    )
