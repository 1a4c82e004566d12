"""Networks of other libraries as backbones: timm's vision transformers frame by frame, transformers' VideoMAE.

They compute every token and cannot drop any. Sources: timm (Apache-2.0), transformers (Apache-2.0);
facebookresearch/dinov2 for the sizes and the statistics.
"""

from backbones import frames, frozen
from zoo.card import Architecture, Card, Classifier, ClipSpec

# timm has no rule for clips; 8 uniformly spread frames, one view.
FRAMES_CLIP = ClipSpec(num_frames=8, sampling="uniform", img_size=224, interpolation="bicubic")
# For the embedded clips: every frame of 16, the whole picture.
PICO_CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24, flip=False)
TIMM_SHRINK = {"img_size": 28, "num_frames": 4, "embed_dim": 32, "depth": 3, "num_heads": 4}
NO_DROPPING = "computes every token: it cannot be the student of a masked objective"
FRAMEWISE = "frame by frame: time is seen by the head only"

ARCHITECTURES = (
    Architecture(
        name="timm_vit_base_dinov2",
        family="adapter",
        build=frames.timm_vit_base_dinov2,
        parameters=85_724_928,
        clip=FRAMES_CLIP,
        classifier=Classifier(pool="mean"),
        source="timm vit_base_patch14_dinov2",
        code_licence="Apache-2.0",
        shrink=TIMM_SHRINK,
        notes=(FRAMEWISE, NO_DROPPING),
    ),
    Architecture(
        name="timm_vit_large_dinov2",
        family="adapter",
        build=frames.timm_vit_large_dinov2,
        parameters=303_227_904,
        clip=FRAMES_CLIP,
        classifier=Classifier(pool="mean"),
        source="timm vit_large_patch14_dinov2",
        code_licence="Apache-2.0",
        shrink=TIMM_SHRINK,
        notes=(FRAMEWISE, NO_DROPPING),
    ),
    Architecture(
        name="timm_vit_pico",
        family="adapter",
        build=frames.timm_vit_pico,
        parameters=213_120,
        clip=PICO_CLIP,
        classifier=Classifier(pool="mean"),
        source="timm vit_base_patch16_224 at a size for the embedded suite",
        code_licence="Apache-2.0",
        notes=("for the embedded suite", FRAMEWISE, NO_DROPPING),
    ),
    Architecture(
        name="hf_videomae_pico",
        family="adapter",
        build=frozen.hf_videomae_pico,
        parameters=224_320,
        clip=PICO_CLIP,
        classifier=Classifier(pool="mean", norm=True, options={"final_norm": False}),
        source="transformers VideoMAEModel at a size for the embedded suite",
        code_licence="Apache-2.0",
        notes=(
            "for the embedded suite",
            "videomae_* compute the same and can drop tokens",
            NO_DROPPING,
        ),
    ),
)
CARDS: tuple[Card, ...] = ()
