"""Probe recipes of V-JEPA and V-JEPA 2, for features in memory.

Sources: arXiv 2404.08471, Table 9 ("[P1]"), facebookresearch/jepa, configs/evals and evals/video_classification_frozen;
arXiv 2506.09985, Appendix C ("[P2]"), and facebookresearch/vjepa2, configs/eval.

The head is `heads.attentive.AttentiveHead` with 16 heads, depth 1 in version 1 (one more with `blocks="query"` for its
two-layer probe), depth 4 in version 2, over all segments of a view at once (`FeatureBank.across_segments`).

Where this differs from the authors: they train on augmented clips and run the frozen encoder again in every epoch,
while a `FeatureBank` holds the features of clips without augmentation, computed once. Printed numbers are therefore not
to be expected to the decimal. A bank is large: 8 segments of 1568 tokens of ViT-L take 51 MB per view in float32, so
Kinetics-400 does not fit any memory, and segments or videos have to be fewer. The authors compute in float16 or
bfloat16. Their accuracy is a mean over batches, and their validation clips lie at random places.
"""

from dataclasses import replace

from zoo.recipes.lists import K400_TRAIN_VIDEOS, SSV2_TRAIN_VIDEOS
from zoo.recipes.recipe import steps_of
from zoo.training.probe_recipe import SweepRecipe

IMAGENET_TRAIN_IMAGES = 1_281_167
SWEEP_LRS = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
SWEEP_WEIGHT_DECAYS = (0.01, 0.1, 0.4, 0.8)


def probe_1_video(videos: int = K400_TRAIN_VIDEOS) -> SweepRecipe:
    """V-JEPA's probe on Kinetics-400 or Something-Something V2, as coded.

    Frames x segments x views: 16 x 8 x 3 on the first, 16 x 2 x 3 on the second, step 4. One head: learning rate 1e-3
    to 0 without warm-up, weight decay 0.01 to 1e-6, both by half a cosine; the gradient of the head is limited to 1.
    Training sees the same segments and one view, augmented: crops of 8 to 100 % of the picture, RandAugment
    m7-n4-mstd0.5-inc1, erasing 0.25, no flip.

    Cost: 20 epochs at batch 256. Expected top-1 in %, K400 / SSv2: L 80.8 / 69.5, H 82.0 / 71.4, H at 384 px 81.9 /
    72.2 [authors' README].

    Args:
        videos: in the training list; `SSV2_TRAIN_VIDEOS` for Something-Something.
    """
    return SweepRecipe(
        steps=steps_of(20, videos=videos, global_batch=256),
        batch_size=256,
        lrs=(1e-3,),
        weight_decay=0.01,
        final_weight_decay=1e-6,
        gradient_clip=1.0,
    )


def probe_1_video_paper(videos: int = K400_TRAIN_VIDEOS) -> SweepRecipe:
    """The same as [P1] Table 9 prints it: constant weight decay 0.01, and flips without RandAugment.

    Cost and expected numbers: as coded; the released probes come from the code.

    Args:
        videos: in the training list.
    """
    return replace(probe_1_video(videos), final_weight_decay=None)


def probe_1_image(images: int = IMAGENET_TRAIN_IMAGES) -> SweepRecipe:
    """V-JEPA's probe on ImageNet-1K, Places205 and iNaturalist 2021, as coded: batch 1024, weight decay 0.001 to 1e-6.

    Images become 16 equal frames; the paper says that 2 would do. Training augments by timm's AutoAugment "original",
    erasing 0.25, bicubic crops and flips.

    Cost: 20 epochs. Expected top-1 in %, IN1K / Places205 / iNat21: L 74.8 / 60.3 / 67.8, H 75.9 / 61.7 / 67.9, H at
    384 px 77.4 / 62.8 / 72.6; 77.9 on IN1K with a probe of two blocks, which was not released [P1, section 5.2].

    Args:
        images: in the training list.
    """
    return replace(
        probe_1_video(), steps=steps_of(20, videos=images, global_batch=1024), batch_size=1024, weight_decay=0.001
    )


def probe_1_image_paper(images: int = IMAGENET_TRAIN_IMAGES) -> SweepRecipe:
    """The same as [P1] Table 9 prints it: constant weight decay 0.01.

    Cost and expected numbers: as coded.

    Args:
        images: in the training list.
    """
    return replace(probe_1_image(images), weight_decay=0.01, final_weight_decay=None)


def probe_2_video(videos: int = SSV2_TRAIN_VIDEOS, *, batch_size: int = 256, epochs: int = 20) -> SweepRecipe:
    """V-JEPA 2's 20 heads on Something-Something V2 (16 x 2 x 3), Kinetics-400 (16 x 8 x 3) and COIN (8 segments).

    Five learning rates, each with four constant weight decays, for all parameters of a head; no limit on the gradient.
    The authors report the head that is best on the evaluation set; `zoo.training.probe.probe` chooses on held-out
    training videos and trains the chosen one again on all. ViT-g at 384 px sees 64 x 2 x 3 with step 2 on SSv2. For
    COIN the paper says 32 frames where the configuration has 16.

    Cost: one pass trains all heads, 49.5 M parameters each for L. Expected top-1 in %, SSv2 / K400 / COIN [P2 Table 4]:
    L 73.7 / 85.1 / 86.8, H 74.0 / 85.3 / 87.9, g 75.3 / 86.6 / 90.7, g at 384 px 77.3 / 87.3 / 91.1.

    Args:
        videos: in the training list.
        batch_size: videos per step; 128 for COIN. For the other two we have no number of version 2's, and take
            version 1's.
        epochs: passes over the list; version 1's, likewise.
    """
    return SweepRecipe(
        steps=steps_of(epochs, videos=videos, global_batch=batch_size),
        batch_size=batch_size,
        lrs=SWEEP_LRS,
        weight_decay=SWEEP_WEIGHT_DECAYS[0],
        weight_decays=SWEEP_WEIGHT_DECAYS,
        decay_all=True,
    )


def probe_2_levels(videos: int) -> SweepRecipe:
    """V-JEPA 2's 3 heads on Diving-48 and Jester (32 frames x 4 segments x 3 views, step 2), over four levels.

    Tokens are the normed outputs of four blocks, joined (`extract(..., layers=...)`): 17, 19, 21, 23 for L, 25, 27, 29,
    31 for H, 24, 29, 34, 39 for g.

    Cost: 100 epochs at batch 128. Expected top-1 in %, Diving-48 / Jester [P2 Table 4]: L 89.0 / 97.6, H 89.8 / 97.7,
    g 90.1 / 97.7, g at 384 px 90.2 / 97.8.

    Args:
        videos: in the training list.
    """
    return SweepRecipe(
        steps=steps_of(100, videos=videos, global_batch=128),
        batch_size=128,
        lrs=(1e-3, 3e-4, 1e-4),
        weight_decay=0.8,
        decay_all=True,
    )
