"""Changes of pixels that are drawn once per clip and are the same in all its frames: timm's policies and erasing.

The video code of VideoMAE, UMT, VideoMamba, MAE-ST and V-JEPA carries copies of timm's `auto_augment` and
`random_erasing`, changed so that one draw serves all frames (PySlowFast, slowfast/datasets/rand_augment.py). Here the
frames go through timm itself, each from the same seed.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from timm.data.auto_augment import (
    augment_and_mix_transform,
    auto_augment_transform,
    posterize,
    rand_augment_transform,
)
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from zoo.draws import borrowed, seed_from

NUMBER = r"\d+(\.\d+)?"
# timm's grammar, see its `rand_augment_transform` and its neighbours, which skip words that they do not know.
POLICIES = (
    re.compile(rf"rand(-(m\d+|n\d+|p{NUMBER}|mstd{NUMBER}|mmax\d+|inc[01]|t(weights|3aw|3a)))*"),
    re.compile(rf"augmix(-(m\d+|w\d+|d\d+|a{NUMBER}|b[01]|mstd{NUMBER}))*"),
    re.compile(rf"(original|originalr|v0|v0r|3a)(-mstd{NUMBER})?"),
)
ERASE_MODES = ("pixel", "rand", "const")

Frames = UInt8[Tensor, "frames height width 3"]


def require_policy(policy: str) -> None:
    """Check a policy in timm's words.

    Raises:
        ValueError: naming what is understood.
    """
    if not any(pattern.fullmatch(policy) for pattern in POLICIES):
        raise ValueError(
            f"Augment.policy {policy!r} is none of timm's; expected 'rand', 'augmix', 'original', 'originalr', 'v0', "
            "'v0r' or '3a' with options in timm's words, such as 'rand-m7-n4-mstd0.5-inc1' or 'original-mstd0.5'"
        )


@lru_cache(maxsize=32)
def policy_of(policy: str) -> Callable[[Image.Image], Image.Image]:
    """Timm's transform for a policy, with the published options.

    Pictures are interpolated bicubically and filled up with grey (128), as in the video code named above; timm's own
    training fills up with the mean colour.

    Args:
        policy: in timm's words.
    """
    options = {"interpolation": Image.Resampling.BICUBIC}
    if policy.startswith("rand"):
        made = rand_augment_transform(policy, options)
    elif policy.startswith("augmix"):
        made = augment_and_mix_transform(policy, options)
    else:
        made = auto_augment_transform(policy, options)
    steps = getattr(made, "ops", None) or [step for pair in made.policy for step in pair]
    for step in steps:
        if step.name.startswith("Posterize"):
            # Pillow 12 refuses 0 bits, which "v0" and magnitudes of 10 ask for; before, they made black.
            step.aug_fn = _posterize
    return made


def _posterize(picture: Image.Image, bits: int, *, fillcolor: object, resample: object) -> Image.Image:
    """The picture with the highest bits of its colours alone, black without any; timm gives all steps the options."""
    return posterize(picture, bits) if bits >= 1 else Image.new(picture.mode, picture.size)


def restyle(frames: Frames, policy: str, *, generator: torch.Generator) -> Frames:
    """Whole frames after a policy that is drawn once.

    Args:
        frames: the frames of the clip, not yet cropped, as published.
        policy: in timm's words, such as "rand-m7-n4-mstd0.5-inc1".
        generator: source of the random draws.
    """
    transform, seed = policy_of(policy), seed_from(generator)
    pictures = []
    for frame in frames.numpy():
        with borrowed(seed):
            pictures.append(np.asarray(transform(Image.fromarray(frame))))
    return torch.from_numpy(np.stack(pictures))


def erase(
    clip: Float[Tensor, "3 frames height width"],
    *,
    probability: float,
    mode: str,
    count: int,
    generator: torch.Generator,
) -> Float[Tensor, "3 frames height width"]:
    """Boxes of a normalised clip replaced, the same boxes in every frame ("cube" in the video code named above).

    Args:
        clip: the clip; it is changed.
        probability: share of the clips that lose anything.
        mode: what takes the place: "pixel" noise, drawn anew in every frame, "rand" one colour per frame, "const" the
            mean colour.
        count: largest number of boxes.
        generator: source of the random draws.
    """
    change = RandomErasing(probability, mode=mode, max_count=count, device="cpu")
    with borrowed(seed_from(generator)):
        # Frames join the channels of one image, so that one box goes through all of them.
        changed: Tensor = change(clip.flatten(0, 1))
    return changed.view_as(clip)
