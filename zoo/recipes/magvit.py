"""Video tokenizers of the MAGVIT family: Open-MAGVIT2's, MAGVIT's, and LVMAE's.

Sources: arXiv 2212.05199 and google-research/magvit; arXiv 2409.04410 and TencentARC/SEED-Voken, configs/; arXiv
2411.13683; spec-lvmae-magvit.md sections A.6, A.7 and B.5. MAGVIT-v2's numbers are known from memory only and make no
row.
"""

from collections.abc import Iterator
from dataclasses import replace

from zoo.objectives.tokenizer import LossWeights
from zoo.recipes.learned import Reconstruction
from zoo.recipes.lists import IN1K_TRAIN_IMAGES, K600_TRAIN_VIDEOS, UCF101_TRAIN_VIDEOS
from zoo.recipes.parts import CARDS, CROPS, NOT_SAID, views_of
from zoo.recipes.recipe import Recipe, steps_of
from zoo.recipes.training import RANDOM, Original, Training
from zoo.registry import get_architecture

# MAGVIT's for UCF-101, its discriminator's 64 channels those of the base size.
MAGVIT = Reconstruction(
    perceptual="resnet_logits",
    error="l2",
    weights=LossWeights(
        reconstruction=1.0,
        perceptual=0.1,
        adversarial=0.1,
        r1=10.0,
        lecam=0.0,
        entropy=0.1,
        entropy_rise=3.0,
        entropy_steps=2000,
        commitment=0.25,
    ),
    discriminator=64,
    momentum=0.999,
    keep_tokens=0,
)
OPEN = Reconstruction(
    perceptual="lpips",
    error="l1",
    weights=LossWeights(
        reconstruction=1.0,
        perceptual=1.0,
        adversarial=0.3,
        r1=0.0,
        lecam=0.05,
        entropy=0.1,
        # The shipped configurations leave annealing out.
        entropy_rise=0.0,
        entropy_steps=2000,
        commitment=0.25,
    ),
    discriminator=64,
    momentum=0.999,
    keep_tokens=0,
)
HINGE = "hinge loss of the discriminator; the zoo's does not saturate"
PATCHES = "a three-layer PatchGAN with batch norm as discriminator; the zoo's is MAGVIT's"
STILLS = "open_magvit2_image_128.in1k"
STEPPED = "its learning rate falls in steps, and the zoo's schedules fall along cosines and lines"


def rows() -> Iterator[Training]:
    """Tokenizers whose training is known at least in part."""
    yield open_video()
    yield from open_images()
    yield from magvit_1()
    for size in ("base", "small"):
        yield lvmae(size)


def open_video() -> Training:
    """Open-MAGVIT2's video model on UCF101: random windows of 17 frames of 128 px."""
    name, epochs, batch = "open_magvit2_video_128.ucf101", 2000, 128
    card = CARDS[name]
    return Training(
        name=name,
        family="magvit",
        kind="pretrain",
        architecture="open_magvit2_video_128",
        options={},
        classifier=None,
        head_scale=1.0,
        head_start="fresh",
        start=STILLS,
        objective=OPEN,
        suite="ucf101",
        task="split1",
        data="UCF101",
        videos=UCF101_TRAIN_VIDEOS,
        clip=card.clip,
        views=views_of(card.clip, "a central window of 17 frames, cropped at random"),
        augment=CROPS,
        recipe=adam(1e-4, (0.5, 0.9), videos=UCF101_TRAIN_VIDEOS, batch=batch, epochs=epochs, warmup=2),
        epochs=epochs,
        warmup_epochs=2,
        original=Original(devices=64, clips=2, name="device"),
        cost="about 3 days on 64 devices",
        expected=card.reported,
        source="TencentARC/SEED-Voken, configs/Open-MAGVIT2 and issue 52",
        produces=name,
        unknown=("videos", "augment", "recipe.precision", "objective.discriminator", "start"),
        lacks=(
            HINGE,
            PATCHES,
            "an adversary on several devices",
        ),
        notes=(
            "the cosine ends at 1 % of the rate",
            "a user could not reproduce rFVD 16 with the released file (issue 57)",
            "begins with an image model, inflated; that it is this file is our reading: it alone has the same form",
        ),
        obstacle="",
    )


def adam(rate: float, betas: tuple[float, float], *, videos: int, batch: int, epochs: int, warmup: int) -> Recipe:
    """Adam, which is AdamW without weight decay; the cosine ends at a hundredth of the rate.

    Args:
        rate: as printed, for the whole batch.
        betas: decay rates.
        videos: length of the list.
        batch: clips per step.
        epochs: passes over the list.
        warmup: of them with a rising rate.
    """
    base = rate * 256 / batch
    return Recipe(
        steps=steps_of(epochs, videos=videos, global_batch=batch),
        global_batch=batch,
        base_lr=base,
        repeats=1,
        repeats_scale_lr=False,
        base_final_lr=base / 100,
        base_warmup_lr=0.0,
        warmup_steps=steps_of(warmup, videos=videos, global_batch=batch),
        schedule="cosine",
        stretch=1.0,
        betas=betas,
        eps=1e-8,
        weight_decay=0.0,
        final_weight_decay=None,
        layer_decay=1.0,
        layer_rule="all",
        gradient_clip=None,
        clip_parts=False,
        clip_after=0,
        accumulate=1,
        precision="32-true",
        checkpointed_blocks=0,
        ema_decay=None,
        label_smoothing=0.0,
        mixup=0.0,
        cutmix=0.0,
        token_drop=0.0,
    )


def open_images() -> Iterator[Training]:
    """Open-MAGVIT2's image models on ImageNet-1K, at rates that fall in steps."""
    video = open_video()
    for side, epochs, drops, lecam in ((128, 350, (250, 300), 0.01), (256, 270, (200, 250), 0.05)):
        name = f"open_magvit2_image_{side}.in1k"
        card = CARDS[name]
        weights = replace(OPEN.weights, adversarial=0.1, lecam=lecam)
        yield replace(
            video,
            name=name,
            architecture=f"open_magvit2_image_{side}",
            start=RANDOM,
            objective=replace(OPEN, weights=weights),
            suite="in1k",
            task="",
            data="ImageNet-1K",
            videos=IN1K_TRAIN_IMAGES,
            clip=card.clip,
            views=views_of(card.clip, "one picture"),
            recipe=adam(1e-4, (0.5, 0.9), videos=IN1K_TRAIN_IMAGES, batch=256, epochs=epochs, warmup=0),
            epochs=epochs,
            warmup_epochs=0,
            original=NOT_SAID,
            cost=f"{epochs} epochs",
            expected=card.reported,
            source="TencentARC/SEED-Voken, configs/Open-MAGVIT2",
            produces=name,
            unknown=(
                *("recipe.global_batch", "warmup_epochs", "augment", "objective.discriminator"),
                *(("epochs",) if side == 256 else ()),
            ),
            lacks=(HINGE, PATCHES),
            notes=(f"the rate falls after epochs {drops[0]} and {drops[1]}",),
            obstacle=STEPPED,
        )


def magvit_1() -> Iterator[Training]:
    """MAGVIT on UCF-101, a network that the zoo does not have."""
    video = open_video()
    for size, batch, epochs in (("base", 128, 500), ("large", 256, 2000)):
        yield replace(
            video,
            name=f"magvit_{size}.ucf101",
            architecture=f"magvit_{size}",
            start=RANDOM,
            objective=MAGVIT,
            clip=replace(video.clip, num_frames=16),
            recipe=adam(1e-4, (0.0, 0.99), videos=UCF101_TRAIN_VIDEOS, batch=batch, epochs=epochs, warmup=1),
            epochs=epochs,
            warmup_epochs=1,
            original=NOT_SAID,
            cost=f"{epochs} epochs",
            expected=(),
            source="arXiv 2212.05199; google-research/magvit, configs",
            produces="",
            unknown=(
                *("videos", "augment", "objective.discriminator", "objective.weights.entropy_rise"),
                *("objective.weights.entropy_steps", "recipe.base_final_lr"),
            ),
            lacks=(),
            notes=(
                "begins with a two-dimensional model of ImageNet, inflated",
                "expected numbers are not in our sources",
            ),
            obstacle="the zoo has no MAGVIT network (codebook of 1024, average pooling), only version 2's",
        )


def lvmae(size: str) -> Training:
    """LVMAE's tokenizer on Kinetics-600: the paper says MAGVIT's recipe on clips of 16 frames, no more."""
    video, architecture = open_video(), f"lvmae_tokenizer_{size}"
    clip = get_architecture(architecture).clip
    return replace(
        video,
        name=f"{architecture}.k600",
        family="lvmae",
        architecture=architecture,
        start=RANDOM,
        objective=replace(MAGVIT, keep_tokens=768),
        suite="k600",
        task="",
        data="Kinetics-600",
        videos=K600_TRAIN_VIDEOS,
        clip=clip,
        views=views_of(clip, "not evaluated by itself"),
        recipe=adam(1e-4, (0.0, 0.99), videos=K600_TRAIN_VIDEOS, batch=256, epochs=100, warmup=1),
        epochs=100,
        warmup_epochs=1,
        original=NOT_SAID,
        cost="not in our sources",
        expected=(),
        source="arXiv 2411.13683 (no code); losses of google-research/magvit",
        produces="",
        unknown=(
            *("options", "architecture", "videos", "epochs", "warmup_epochs", "recipe", "augment", "clip.img_size"),
            "objective.discriminator",
        ),
        lacks=(),
        notes=("the paper's table of sizes could not be read", "a codebook of 18 bits by FSQ was chosen in the paper"),
        obstacle="",
    )
