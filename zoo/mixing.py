"""Mixup and CutMix of whole clips by timm, for classifiers and for objectives with labels.

timm's draws are the published ones: VideoMAE, UMT, VideoMamba and MAE-ST carry copies of its `Mixup`. Clip i is mixed
with clip n - 1 - i, so the copies of a video that repeated augmentation puts side by side are mixed with other videos.
(MAE-ST's older copy cuts boxes of odd size one pixel smaller.)
"""

import torch
from jaxtyping import Float, Int64
from timm.data.mixup import Mixup
from torch import Tensor

from zoo.draws import borrowed, seed_from

Video = Float[Tensor, "batch 3 frames height width"]


def mixer_of(*, mixup: float, cutmix: float, num_classes: int) -> Mixup | None:
    """What mixes the clips of a batch and their labels; None for nothing.

    One share is drawn per batch (mode "batch") and every batch is mixed (probability 1). With both kinds, one of the
    two is drawn per batch with equal chance (switch_prob 0.5): spec-umt-videomae section 4, spec-videomamba section 6.
    Labels are not smoothed here: smoothing mixed targets is the same as mixing smoothed ones.

    Args:
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none.
        num_classes: number of classes.
    """
    if mixup <= 0 and cutmix <= 0:
        return None
    return Mixup(
        mixup_alpha=mixup,
        cutmix_alpha=cutmix,
        prob=1.0,
        switch_prob=0.5,
        mode="batch",
        label_smoothing=0.0,
        num_classes=num_classes,
    )


def mix_clips(
    mix: Mixup, video: Video, label: Int64[Tensor, "batch"], *, generator: torch.Generator | None = None
) -> tuple[Video, Float[Tensor, "batch classes"]]:
    """Mixed clips, all frames of a clip alike, and the shares of the classes in them.

    Args:
        mix: from `mixer_of`, or any `Mixup` of timm's (other modes, label smoothing).
        video: clips; they stay as they are.
        label: their classes.
        generator: source of the draws, on the CPU; None for torch's global one, which the training modules seed before
            every batch.

    Raises:
        ValueError: for an odd number of clips, which do not pair up.
    """
    if len(video) % 2:
        raise ValueError(f"mixup and CutMix mix clips in pairs and need an even number per batch, not {len(video)}")
    with borrowed(seed_from(generator)):
        # timm expects images and mixes in place; frames join the channels, so that a clip is mixed as one.
        images, shares = mix(video.flatten(1, 2).clone(), label)
    return images.view_as(video), shares
