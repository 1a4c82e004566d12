"""MAE-ST: pretraining on Kinetics, fine-tuning of the large model.

Sources: arXiv 2205.09113; facebookresearch/mae_st, PRETRAIN.md and FINETUNE.md; spec-umt-videomae.md section 6,
protocols.md. The batch is not in our sources; rates are those of a batch of 256.
"""

from collections.abc import Iterator
from dataclasses import replace

from zoo.card import Classifier, ClipSpec, Reported
from zoo.recipes.learned import Pixels
from zoo.recipes.lists import K400_TRAIN_VIDEOS, K600_TRAIN_VIDEOS, K700_TRAIN_VIDEOS
from zoo.recipes.parts import CARDS, CROPS, FINETUNE, NOT_SAID, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Training

BATCH = 512
LISTS = {
    "k400": ("Kinetics-400", K400_TRAIN_VIDEOS),
    "k600": ("Kinetics-600", K600_TRAIN_VIDEOS),
    "k700": ("Kinetics-700", K700_TRAIN_VIDEOS),
}
HEAD = Classifier(pool="mean", norm=True, dropout=0.3, norm_eps=1e-6, options={"final_norm": False})
HALF_OR_MORE = replace(CROPS, area=(0.5, 1.0), own_frames=True)


def rows() -> Iterator[Training]:
    """The six released pretrainings and the fine-tuning whose recipe is printed."""
    for size in ("large", "huge"):
        for suite in LISTS:
            yield pretrain(size, suite)
    yield finetune()


def pretrain(size: str, suite: str) -> Training:
    """Nine tenths of all tokens masked, each clip four times a step: 400 passes count as 1600."""
    name = f"mae_st_{size}.{suite}_pt"
    card, (data, videos) = CARDS[name], LISTS[suite]
    return Training(
        name=name,
        family="mae_st",
        kind="pretrain",
        architecture=f"mae_st_{size}",
        options={**card.overrides, "num_frames": 16, "img_size": 224, "drop_path_rate": 0.0},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=RANDOM,
        objective=Pixels(
            mask="random",
            mask_ratio=0.9,
            normalize="patch",
            unit_range=False,
            frames_per_token=1,
            decoder_width=512,
            decoder_depth=4,
            decoder_heads=16,
            decoder_form="mae_st",
        ),
        suite=suite,
        task="",
        data=f"{data}, without labels",
        videos=videos,
        clip=card.clip,
        views=views_of(card.clip, "not evaluated by itself"),
        augment=HALF_OR_MORE,
        recipe=_recipe(videos, epochs=400, warmup=5, base_lr=1.6e-3),
        epochs=400,
        warmup_epochs=5,
        original=NOT_SAID,
        cost="1600 effective epochs",
        expected=card.reported,
        source="arXiv 2205.09113; facebookresearch/mae_st, PRETRAIN.md",
        produces=name,
        unknown=(
            *("videos", "recipe.global_batch", "recipe.weight_decay", "recipe.base_final_lr", "recipe.precision"),
            *("recipe.repeats_scale_lr", "warmup_epochs"),
        ),
        lacks=(),
        notes=(
            "the printed recipe has 100 epochs, 5 of warm-up; the released files say 400, each with 4 repeats",
            "the released weights were trained in PySlowFast and converted",
            "a jitter of the short side from 256 to 320 px is passed and ignored",
        ),
        obstacle="",
    )


def finetune() -> Training:
    """ViT-L on Kinetics-400: 84.35 top-1."""
    before = CARDS["mae_st_large.k400_pt"]
    clip: ClipSpec = replace(before.clip, clips=7, crops=3)
    recipe = replace(
        _recipe(K400_TRAIN_VIDEOS, epochs=50, warmup=5, base_lr=2.4e-3),
        repeats=2,
        betas=(0.9, 0.999),
        layer_decay=0.75,
        gradient_clip=5.0,
        precision="32-true",
        label_smoothing=0.1,
        mixup=0.8,
        cutmix=1.0,
    )
    return replace(
        pretrain("large", "k400"),
        name="mae_st_large.k400_pt_k400_ft",
        kind="finetune",
        options={"num_frames": 16, "img_size": 224, "drop_path_rate": 0.2},
        classifier=HEAD,
        start=before.name,
        objective=None,
        data=LISTS["k400"][0],
        clip=clip,
        views=views_of(clip, "from memory of the repository's evaluation"),
        augment=replace(FINETUNE, own_frames=False),
        recipe=recipe,
        epochs=50,
        cost="50 epochs, two augmented clips per video",
        expected=(Reported("k400", "top1", 84.35, "facebookresearch/mae_st FINETUNE.md"),),
        source="facebookresearch/mae_st, FINETUNE.md",
        produces="",
        unknown=(
            *("videos", "recipe.global_batch", "recipe.weight_decay", "recipe.label_smoothing", "recipe.betas"),
            *("recipe.repeats_scale_lr", "warmup_epochs", "recipe.base_final_lr", "clip.clips", "clip.crops"),
            "augment",
        ),
        notes=(
            "the authors drop the first token before averaging; the norm after pooling starts from the encoder's there "
            "and afresh here",
        ),
    )


def _recipe(videos: int, *, epochs: int, warmup: int, base_lr: float) -> Recipe:
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=BATCH),
        global_batch=BATCH,
        base_lr=base_lr,
        repeats=4,
        repeats_scale_lr=False,
        base_final_lr=0.0,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(warmup, videos=videos, global_batch=BATCH),
        schedule="cosine",
        stretch=1.0,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.05,
        final_weight_decay=None,
        layer_decay=1.0,
        layer_rule="all",
        gradient_clip=0.02,
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
