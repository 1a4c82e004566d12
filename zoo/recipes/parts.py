"""Pieces that several families' rows share, complete."""

from dataclasses import replace

from zoo import cards
from zoo.card import IMAGENET_MEAN, IMAGENET_STD, Card, ClipSpec, Reported
from zoo.data.transforms import Augment
from zoo.recipes.training import Original, Views

CARDS: dict[str, Card] = {card.name: card for card in cards.CARDS}
NOT_SAID = Original(devices=0, clips=0, name="")

# A resized crop and a flip; the others are this one with what they change.
CROPS = Augment(
    crop="resized",
    area=(0.08, 1.0),
    aspect=(0.75, 4 / 3),
    flip=0.5,
    short_side=(256, 320),
    inverse_side=False,
    policy="",
    erase=0.0,
    erase_mode="pixel",
    erase_count=1,
    own_frames=False,
)
# Fine-tuning of VideoMAE, UMT and VideoMamba: timm's policy, drawn once per clip, boxes erased in all frames alike.
FINETUNE = replace(CROPS, policy="rand-m7-n4-mstd0.5-inc1", erase=0.25)
# Pretraining of the same: TSN's four sizes of crops; `area`, `aspect` and `short_side` say nothing here.
MULTISCALE = replace(CROPS, crop="multiscale", flip=0.0)


def square(
    num_frames: int,
    img_size: int,
    *,
    sampling: str,
    stride: int,
    short_side: int | None = None,
    interpolation: str = "bilinear",
    views: tuple[int, int] = (1, 1),
    flip: bool,
) -> ClipSpec:
    """Clips of RGB frames with ImageNet's statistics.

    Args:
        num_frames: frames of a clip.
        img_size: side in pixels.
        sampling: see `ClipSpec`.
        stride: likewise.
        short_side: likewise.
        interpolation: likewise.
        views: temporal clips and crops of the test.
        flip: flips are allowed.
    """
    return ClipSpec(
        num_frames=num_frames,
        sampling=sampling,  # type: ignore[arg-type]  # ClipSpec checks it
        img_size=img_size,
        stride=stride,
        short_side=short_side,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation=interpolation,  # type: ignore[arg-type]  # likewise
        channel_order="rgb",
        clips=views[0],
        crops=views[1],
        flip=flip,
    )


def views_of(clip: ClipSpec, source: str) -> tuple[Views, ...]:
    """The views of a clip, on whose word they are."""
    return (Views(clip.clips, clip.crops, source),)


def accuracies(name: str) -> tuple[Reported, ...]:
    """The printed results of a card; costs are no results."""
    return tuple(it for it in CARDS[name].reported if "GFLOPs" not in it.metric)
