"""Mixup and CutMix of whole clips, for classifiers and for objectives with labels."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torchvision.transforms import v2

Video = Float[Tensor, "batch 3 frames height width"]


def mixer_of(*, mixup: float, cutmix: float, num_classes: int) -> v2.Transform | None:
    """What mixes the clips of a batch and their labels; None for nothing.

    With both, one of the two is drawn per batch with equal chance, as VideoMAE, UMT and VideoMamba do (timm's Mixup
    with switch_prob 0.5 in batch mode).

    Args:
        mixup: alpha of mixup; 0 for none.
        cutmix: alpha of CutMix; 0 for none.
        num_classes: number of classes.
    """
    parts: list[v2.Transform] = []
    if mixup > 0:
        parts.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
    if cutmix > 0:
        parts.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
    return v2.RandomChoice(parts) if len(parts) == 2 else parts[0] if parts else None


def mix_clips(
    mix: v2.Transform, video: Video, label: Int64[Tensor, "batch"], *, generator: torch.Generator | None = None
) -> tuple[Video, Float[Tensor, "batch classes"]]:
    """Mixed clips, all frames of a clip alike, and the shares of the classes in them.

    Args:
        mix: from `mixer_of`.
        video: clips.
        label: their classes.
        generator: source of the draws, on the CPU; None for torch's global one, which the training modules seed before
            every batch.
    """
    # The transforms expect images; frames join the channels, so that a clip is mixed as one.
    images = video.flatten(1, 2)
    if generator is None:
        images, shares = mix(images, label)
    else:
        # torchvision draws from the global generator only; it gets ours for the moment, and its own state back.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.set_state(generator.get_state())
            images, shares = mix(images, label)
            generator.set_state(torch.default_generator.get_state())
    return images.view_as(video), shares
