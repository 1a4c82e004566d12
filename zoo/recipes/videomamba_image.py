"""VideoMamba on ImageNet-1K: Ti and S from scratch, M and B taught by S, then larger pictures.

Sources: arXiv 2403.06977v2, Table III; OpenGVLab/VideoMamba, image_sm/exp and main.py; spec-videomamba.md section 10.

The authors scale the peak rate by images / 512 (DeiT's main.py); final and warm-up rates are meant as printed. `Recipe`
counts per 256, so what is printed as 5e-4 is 2.5e-4 here.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from zoo.card import Classifier
from zoo.data.transforms import Augment
from zoo.recipes.learned import Distillation
from zoo.recipes.parts import CARDS, FINETUNE, NOT_SAID, accuracies, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training

IMAGENET_TRAIN_IMAGES = 1_281_167
HEAD = Classifier(pool="cls", norm=False, dropout=0.0)
JITTER = "colour jitter 0.3"
REPEATED = "DeiT's repeated augmentation, whose three copies of an image fill up a batch that is counted with them"
LR_NOTE = "the paper's text says 1e-3 for a batch of 1024, the same rate as 5e-4 for 512 in scripts and Table III"


class Size(NamedTuple):
    """What a size has at 224 px.

    Attributes:
        devices: GPUs.
        images: on each.
        weight_decay: of matrices.
        drop_path: rate of the backbone.
        policy: of the augmentation.
        clip: largest norm of the gradient.
        final_lr: last rate, as it is.
        first_lr: rate of the first step, as it is.
        warmup: epochs.
        taught: by VideoMamba-S.
    """

    devices: int
    images: int
    weight_decay: float
    drop_path: float
    policy: str
    clip: float | None
    final_lr: float
    first_lr: float
    warmup: int
    taught: bool


SIZES = {
    # The rate of the first step is not in the scripts of tiny and small; 1e-6 is DeiT's.
    "tiny": Size(8, 512, 0.1, 0.0, "v0", 5.0, 1e-5, 1e-6, 5, False),
    "small": Size(8, 512, 0.05, 0.15, "rand-m9-mstd0.5-inc1", None, 1e-5, 1e-6, 5, False),
    "middle": Size(16, 128, 0.05, 0.5, "rand-m9-mstd0.5-inc1", 5.0, 5e-6, 5e-7, 20, True),
    "base": Size(16, 128, 0.05, 0.5, "rand-m9-mstd0.5-inc1", 5.0, 5e-6, 5e-7, 20, True),
}


def rows() -> Iterator[Training]:
    """Every published training of VideoMamba on ImageNet-1K."""
    for name, size in SIZES.items():
        first = at_224(name, size)
        yield first
        if size.taught:
            yield untaught(first)
        if name != "base":
            middle = enlarged(first, 448, epochs=30, warmup=5)
            yield middle
            yield enlarged(middle, 576, epochs=10, warmup=2)


def at_224(name: str, size: Size) -> Training:
    """300 epochs at 224 px from random weights."""
    card = CARDS[f"videomamba_{name}.in1k_res224"]
    batch = size.devices * size.images
    return Training(
        name=card.name,
        family="videomamba",
        kind="pretrain" if size.taught else "finetune",
        architecture=f"videomamba_{name}",
        options={**card.overrides, "drop_path_rate": size.drop_path},
        classifier=None if size.taught else HEAD,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=Distillation(teacher="videomamba_small.in1k_res224", weight=1.0, stop_after=None)
        if size.taught
        else None,
        suite="in1k",
        task="",
        data="ImageNet-1K",
        videos=IMAGENET_TRAIN_IMAGES,
        clip=card.clip,
        views=views_of(card.clip, "image_sm, crop ratio 0.875"),
        augment=_augment(size.policy),
        recipe=_recipe(size, batch),
        epochs=300,
        warmup_epochs=size.warmup,
        original=Original(devices=size.devices, clips=size.images, name="GPU"),
        cost=f"300 epochs on {size.devices} GPUs" + (", and the teacher's forward pass" if size.taught else ""),
        expected=accuracies(card.name),
        source="arXiv 2403.06977v2, Table III; OpenGVLab/VideoMamba, image_sm/exp",
        produces=card.name,
        unknown=() if size.taught else ("recipe.base_warmup_lr",),
        lacks=(JITTER,) if name == "tiny" else (JITTER, REPEATED),
        notes=(
            LR_NOTE,
            *(("warm-up of 30 epochs in the paper, 20 in the scripts",) if size.taught else ()),
            *(("the scripts name factories that refuse the teacher, so they do not run",) if size.taught else ()),
            *(("in the model zoo only; the paper has no base size",) if name == "base" else ()),
        ),
        obstacle="",
    )


def untaught(taught: Training) -> Training:
    """The same without a teacher: below the taught run in the paper, which prints no number that we have."""
    return replace(
        taught,
        name=f"{taught.name}_untaught",
        kind="finetune",
        classifier=HEAD,
        objective=None,
        cost="300 epochs on 16 GPUs",
        expected=(),
        produces="",
        notes=("the numbers of the taught run; no result of it is at hand", LR_NOTE),
    )


def enlarged(before: Training, img_size: int, *, epochs: int, warmup: int) -> Training:
    """Constant rate 5e-6 and weight decay 1e-8 on larger pictures, from the run before; all else is kept."""
    name = f"{before.name}to{img_size}"
    card, batch = CARDS[name], before.global_batch
    rate = _per_256(5e-6, batch)
    recipe = replace(
        before.optimisation,
        steps=steps_of(epochs, videos=IMAGENET_TRAIN_IMAGES, global_batch=batch),
        warmup_steps=steps_of(warmup, videos=IMAGENET_TRAIN_IMAGES, global_batch=batch),
        base_lr=rate,
        base_final_lr=rate,
        base_warmup_lr=_per_256(1e-6, batch),
        weight_decay=1e-8,
    )
    return replace(
        before,
        name=name,
        options={**before.options, **card.overrides},
        start=before.name,
        head_start="fresh" if before.objective else "rows",
        clip=card.clip,
        views=views_of(card.clip, "image_sm, crop ratio 0.875"),
        recipe=recipe,
        epochs=epochs,
        warmup_epochs=warmup,
        original=NOT_SAID,
        cost=f"{epochs} epochs at {(img_size / 224) ** 2:.1f} times the arithmetic of 224 px",
        expected=accuracies(name),
        produces=name,
        unknown=(
            *("recipe.global_batch", "recipe.base_warmup_lr", "options.drop_path_rate"),
            *(("objective",) if before.objective else ()),
        ),
        notes=(
            *before.notes,
            "Table III of the paper is headed 512 px where the results are for 576",
            *(("the model zoo's link of tiny at 448 leads to the middle model at 224",) if "tiny" in name else ()),
            *(("the classifier starts afresh here, as the objective brings it",) if before.objective else ()),
        ),
    )


def _augment(policy: str) -> Augment:
    return replace(FINETUNE, policy=policy)


def _recipe(size: Size, batch: int) -> Recipe:
    return Recipe(
        steps=steps_of(300, videos=IMAGENET_TRAIN_IMAGES, global_batch=batch),
        global_batch=batch,
        base_lr=2.5e-4,
        repeats=1,
        repeats_scale_lr=True,
        base_final_lr=_per_256(size.final_lr, batch),
        base_warmup_lr=_per_256(size.first_lr, batch),
        warmup_steps=steps_of(size.warmup, videos=IMAGENET_TRAIN_IMAGES, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=size.weight_decay,
        final_weight_decay=None,
        layer_decay=1.0,
        layer_rule="all",
        gradient_clip=size.clip,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="bf16-mixed",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
        token_drop=0.0,
    )


def _per_256(rate: float, global_batch: int) -> float:
    """The base rate that gives `rate` whatever the batch."""
    return rate * 256 / global_batch
