"""V-JEPA's pretraining recipes.

Sources: arXiv 2404.08471, Table 8, and facebookresearch/jepa, configs/pretrain; arXiv 2506.09985, section 2.4, and
facebookresearch/vjepa2, configs/train. Where the first paper says that weight decay grows linearly, its code uses a
cosine, and so do we. The authors print learning rates of their whole batch; ours are for a batch of 256.
"""

from dataclasses import replace

from zoo.recipes.recipe import Recipe

EPOCH = 300  # steps that the authors call an epoch


def pretrain_large() -> Recipe:
    """ViT-L on VideoMix2M (Kinetics-710, SSv2, HowTo100M): 16 frames at stride 4, 224 px, one clip per video.

    Objective: `zoo.objectives.vjepa.VJEPA` with both multi-block masks, momentum 0.998 to 1 over 112 500 steps.
    Augmentation: resized crops of 0.3 to 1 of the area and flips. The authors use bfloat16 with a gradient scaler,
    which bfloat16 does not need.

    Cost: 90 000 steps on 128 GPUs with 24 clips each. Expected of a frozen attentive probe: 80.8 on Kinetics-400
    (16 x 8 x 3 views), 69.5 on SSv2 (16 x 2 x 3); README of facebookresearch/jepa.
    """
    return _first(global_batch=3072)


def pretrain_huge() -> Recipe:
    """ViT-H, otherwise as ViT-L.

    Cost: 90 000 steps on 128 GPUs with 24 clips each. Expected of a frozen attentive probe: 82.0 on Kinetics-400,
    71.4 on SSv2; README of facebookresearch/jepa.
    """
    return _first(global_batch=3072)


def pretrain_huge_384() -> Recipe:
    """ViT-H on clips of 384 px with a smaller batch, otherwise as ViT-L.

    Cost: 90 000 steps on 240 GPUs with 10 clips each. Expected of a frozen attentive probe: 81.9 on Kinetics-400,
    72.2 on SSv2; README of facebookresearch/jepa.
    """
    return _first(global_batch=2400)


def pretrain_v2() -> Recipe:
    """V-JEPA 2, first phase: 16 frames at 4 per second, 256 px, for ViT-L, H and g alike, on VideoMix22M.

    Objective: V-JEPA's with mask tokens (0, 0) and a momentum of 0.99925 throughout. The learning rate stays where the
    warm-up leaves it; weight decay is constant, gradients are not clipped.

    Cost: 240 000 steps of 3072 clips. The authors' public configurations for L and H say 10 epochs, a placeholder.
    Expected: a phase on the way to `cool_down_v2`, for which no number is printed.
    """
    return Recipe(
        steps=240_000,
        global_batch=3072,
        base_lr=_of_256(5.25e-4, 3072),
        base_final_lr=_of_256(5.25e-4, 3072),
        base_warmup_lr=_of_256(1e-4, 3072),
        warmup_steps=12_000,
        schedule="vjepa_cosine",
        stretch=1.25,
        weight_decay=0.04,
        precision="bf16-mixed",
    )


def cool_down_v2() -> Recipe:
    """V-JEPA 2, second phase, from the weights of the first: 64 frames of 256 or 384 px, falling learning rate.

    The rate falls along a line made for 15 000 steps, so that it ends at 1.06e-4 and not at the 1e-6 of the
    configuration.

    Cost: 12 000 steps of 3072 clips. Expected of the frozen four-block attentive probe: ViT-L 85.1 on Kinetics-400 and
    73.7 on SSv2; ViT-H 85.3 and 74.0; ViT-g 86.6 and 75.3, at 384 px 87.3 and 77.3; README of facebookresearch/vjepa2.
    """
    return replace(
        pretrain_v2(),
        steps=12_000,
        base_final_lr=_of_256(1e-6, 3072),
        base_warmup_lr=0.0,
        warmup_steps=0,
        schedule="vjepa_linear",
    )


def _first(*, global_batch: int) -> Recipe:
    """What all models of the first V-JEPA share."""
    return Recipe(
        steps=300 * EPOCH,
        global_batch=global_batch,
        base_lr=_of_256(6.25e-4, global_batch),
        base_final_lr=_of_256(1e-6, global_batch),
        base_warmup_lr=_of_256(2e-4, global_batch),
        warmup_steps=40 * EPOCH,
        schedule="vjepa_cosine",
        stretch=1.25,
        weight_decay=0.04,
        final_weight_decay=0.4,
        # Clipping begins after the first epoch that follows the warm-up (app/vjepa/train.py: epoch > warmup, from 0).
        gradient_clip=10.0,
        clip_parts=True,
        clip_after=41 * EPOCH,
        precision="bf16-mixed",
    )


def _of_256(lr: float, batch: int) -> float:
    """The learning rate for a batch of 256 that gives `lr` at `batch`."""
    return lr * 256 / batch
