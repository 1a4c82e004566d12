"""VideoMamba: sizes and official layouts.

Sources: Li et al., arXiv 2403.06977 (ECCV 2024), Table 1 and section 4; OpenGVLab/VideoMamba (image_sm, video_sm and
video_mm), Apache-2.0.
"""

from backbones import videomamba
from zoo.card import Architecture, Card, Classifier, ClipSpec, Converter, Rule, cut, rename, unsqueeze
from zoo.cards.videomamba_weights import CARDS as RELEASED


def _direction(official_suffix: str, ours: str) -> tuple[Rule, ...]:
    """Rules of what a scan direction has of its own; the authors mark the backward one by a suffix."""
    theirs, mine = "layers.*.mixer.", f"backbone.blocks.*.mixer.{ours}."
    return (
        rename(f"{theirs}A{official_suffix}_log", f"{mine}A_log"),
        rename(f"{theirs}D{official_suffix}", f"{mine}D"),
        rename(f"{theirs}conv1d{official_suffix}.*", f"{mine}conv.*"),
        rename(f"{theirs}x_proj{official_suffix}.*", f"{mine}x_proj.*"),
        rename(f"{theirs}dt_proj{official_suffix}.*", f"{mine}dt_proj.*"),
    )


TRUNK = (
    *_direction("", "causal"),
    *_direction("_b", "anticausal"),
    rename("layers.*", "backbone.blocks.*"),
    # The first row of the authors' table belongs to the class token.
    cut("pos_embed", ("backbone.cls_pos_embed", "backbone.pos_embed"), sizes=(1, -1), dim=1),
    rename("temporal_pos_embedding", "backbone.temporal_pos_embed"),
    rename("cls_token", "backbone.cls_token"),
)
CLASSIFIER = (rename("norm_f.*", "backbone.norm.*"), rename("head.*", "head.linear.*"))
PATCH_EMBED = rename("patch_embed.*", "backbone.patch_embed.*")

VIDEO = Converter(
    name="VideoMamba video classifier",
    needs=("layers.*.mixer.A_log", "temporal_pos_embedding", "norm_f.weight"),
    rules=(*TRUNK, *CLASSIFIER, PATCH_EMBED),
)
IMAGE = Converter(
    name="VideoMamba image classifier",
    needs=("layers.*.mixer.A_log", "norm_f.weight"),
    lacks=("temporal_pos_embedding",),
    rules=(
        *TRUNK,
        *CLASSIFIER,
        # Our image model embeds tubelets of one frame.
        unsqueeze("patch_embed.proj.weight", "backbone.patch_embed.proj.weight", dim=2),
        PATCH_EMBED,
    ),
    # Projection onto the teacher, used in self-distillation only.
    drop=("distill_head.*",),
)
PRETRAINED = Converter(
    name="VideoMamba masked pretraining",
    needs=("layers.*.mixer.A_log", "norm.weight"),
    lacks=("norm_f.weight",),
    rules=(
        *TRUNK,
        rename("norm.*", "backbone.norm.*"),
        PATCH_EMBED,
        # Projection onto CLIP's features.
        rename("clip_decoder.*.head.*", "decoder.layers.*.linear.*"),
        rename("clip_decoder.*.norm.*", "decoder.layers.*.norm.*"),
    ),
    # The norm in front of the multimodal stage's text fusion.
    drop=("pool_norm.*",),
)

# Views of the reported Kinetics-400 evaluation: 4 clips x 3 crops. Something-Something takes 2 x 3 (paper, Table 4).
CLIP = ClipSpec(num_frames=8, sampling="uniform", img_size=224, clips=4, crops=3)
# ImageNet: one central crop; short side 224 / 0.875 (image_sm, crop ratio of the scripts).
IMAGE_CLIP = ClipSpec(num_frames=1, sampling="uniform", img_size=224, short_side=256, interpolation="bicubic")
# For the embedded clips: every frame of 16, the whole picture.
PICO_CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24, flip=False)
SHRINK = {"img_size": 32, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3}


def _architecture(name: str, parameters: int, clip: ClipSpec, *notes: str) -> Architecture:
    """All members share head, layouts, source and licence."""
    return Architecture(
        name=name,
        family="videomamba",
        build=getattr(videomamba, name.removesuffix("_pretrain")),
        parameters=parameters,
        clip=clip,
        # Class token after the final norm, no dropout before the classifier.
        classifier=Classifier(pool="mean" if name.endswith("_pico") else "cls"),
        converters=(VIDEO, IMAGE, PRETRAINED),
        # Unmasked tokens are aligned with CLIP's (section 3.3); the image models are distilled from a smaller one.
        objective="self_distillation" if clip is IMAGE_CLIP else "umt",
        source="arXiv 2403.06977; OpenGVLab/VideoMamba",
        code_licence="Apache-2.0",
        shrink={} if name.endswith("_pico") else SHRINK,
        notes=notes,
    )


IMAGE_FORM = "num_frames=1 with tubelet_size=1 is the image model"
ARCHITECTURES: tuple[Architecture, ...] = (
    _architecture("videomamba_tiny", 6_956_544, CLIP, IMAGE_FORM),
    _architecture("videomamba_small", 25_414_656, CLIP, IMAGE_FORM),
    _architecture("videomamba_middle", 73_645_056, CLIP, IMAGE_FORM),
    _architecture(
        "videomamba_middle_pretrain",
        73_645_056,
        CLIP,
        "the middle model's form in masked pretraining, of the same weights",
    ),
    _architecture("videomamba_base", 96_829_440, IMAGE_CLIP, IMAGE_FORM, "published as an image model only"),
    _architecture(
        "videomamba_pico",
        57_536,
        PICO_CLIP,
        "for the embedded suite: 4 states and expansion 1, published sizes have 16 and 2",
        "starts as Mamba does and averages its tokens: the authors' start and a class token need longer training",
    ),
)
CARDS: tuple[Card, ...] = RELEASED
