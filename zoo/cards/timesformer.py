"""TimeSformer: architectures and the layouts of its released files.

Source: Bertasius et al., "Is Space-Time Attention All You Need for Video Understanding?" (arXiv 2102.05095) and
facebookresearch/TimeSformer: sizes from timesformer/models/vit.py, clips from configs/Kinetics, pixel statistics from
timesformer/config/defaults.py. The released files lie on a file-sharing service and are not carded.
"""

from backbones import timesformer
from zoo.card import Architecture, Card, Classifier, ClipSpec, Converter, cut, rename, unsqueeze

OFFICIAL = Converter(
    name="TimeSformer official",
    needs=("time_embed", "cls_token", "blocks.*.attn.qkv.weight"),
    rules=(
        cut("pos_embed", ("backbone.cls_pos_embed", "backbone.pos_embed"), sizes=(1, -1), dim=1),
        rename("time_embed", "backbone.temporal_pos_embed"),
        # A token is one frame deep, so the authors embed with a 2-D kernel.
        unsqueeze("patch_embed.proj.weight", "backbone.patch_embed.proj.weight", dim=2),
        rename("blocks.*.temporal_norm1.*", "backbone.blocks.*.temporal_norm.*"),
        rename("head.*", "head.linear.*"),
        rename("*", "backbone.*"),
    ),
)
_HF_BLOCK = (
    ("temporal_layernorm.*", "temporal_norm.*"),
    ("temporal_attention.attention.qkv.*", "temporal_attn.qkv.*"),
    ("temporal_attention.output.dense.*", "temporal_attn.proj.*"),
    ("temporal_dense.*", "temporal_fc.*"),
    ("layernorm_before.*", "norm1.*"),
    ("layernorm_after.*", "norm2.*"),
    ("attention.attention.qkv.*", "attn.qkv.*"),
    ("attention.output.dense.*", "attn.proj.*"),
    ("intermediate.dense.*", "mlp.fc1.*"),
    ("output.dense.*", "mlp.fc2.*"),
)
TRANSFORMERS = Converter(
    name="TimeSformer transformers",
    needs=("timesformer.embeddings.position_embeddings", "timesformer.encoder.layer.*"),
    rules=(
        cut(
            "timesformer.embeddings.position_embeddings",
            ("backbone.cls_pos_embed", "backbone.pos_embed"),
            sizes=(1, -1),
            dim=1,
        ),
        rename("timesformer.embeddings.time_embeddings", "backbone.temporal_pos_embed"),
        rename("timesformer.embeddings.cls_token", "backbone.cls_token"),
        unsqueeze(
            "timesformer.embeddings.patch_embeddings.projection.weight", "backbone.patch_embed.proj.weight", dim=2
        ),
        rename("timesformer.embeddings.patch_embeddings.projection.bias", "backbone.patch_embed.proj.bias"),
        *(rename(f"timesformer.encoder.layer.*.{theirs}", f"backbone.blocks.*.{ours}") for theirs, ours in _HF_BLOCK),
        rename("timesformer.layernorm.*", "backbone.norm.*"),
        rename("classifier.*", "head.linear.*"),
    ),
)

CLIP = ClipSpec(
    num_frames=8,
    sampling="dense",
    stride=32,
    img_size=224,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    clips=1,
    crops=3,
)
HR_CLIP = ClipSpec(
    num_frames=16, sampling="dense", stride=16, img_size=448, mean=CLIP.mean, std=CLIP.std, clips=1, crops=3
)
LARGE_CLIP = ClipSpec(
    num_frames=96, sampling="dense", stride=4, img_size=224, mean=CLIP.mean, std=CLIP.std, clips=1, crops=3
)
# For the embedded clips: every frame of 16, the whole picture, normalised as for the other small members, so that one
# teacher sees what all students see.
PICO_CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24, flip=False)
SHRINK = {"img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}


def _architecture(name: str, parameters: int, clip: ClipSpec, *notes: str) -> Architecture:
    """All members share head, layouts, source and licence."""
    return Architecture(
        name=name,
        family="timesformer",
        build=getattr(timesformer, name),
        parameters=parameters,
        clip=clip,
        # Class token after the final norm, no dropout before the classifier (vit.py).
        classifier=Classifier(pool="mean" if name.endswith("_pico") else "cls"),
        converters=(OFFICIAL, TRANSFORMERS),
        source="arXiv 2102.05095; facebookresearch/TimeSformer",
        code_licence="CC-BY-NC-4.0 (the authors' code; ours is Apache-2.0)",
        shrink={} if name.endswith("_pico") else SHRINK,
        notes=notes,
    )


ARCHITECTURES = (
    _architecture("timesformer_tiny", 7_753_920, CLIP, "DeiT-Ti's width: not in the TimeSformer paper"),
    _architecture("timesformer_base", 121_258_752, CLIP),
    _architecture("timesformer_hr", 121_716_480, HR_CLIP, "timesformer_base on 16 frames of 448 px"),
    _architecture("timesformer_large", 121_326_336, LARGE_CLIP, "timesformer_base on 96 frames"),
    _architecture(
        "timesformer_joint_tiny", 5_525_952, CLIP, "the 'TimeSformer-Ti' of Figure 1 in arXiv 2403.06977 (VideoMamba)"
    ),
    _architecture("timesformer_joint_base", 85_804_800, CLIP, "joint instead of divided space-time attention"),
    _architecture("timesformer_pico", 309_632, PICO_CLIP, "for the embedded suite"),
    _architecture("timesformer_joint_pico", 225_920, PICO_CLIP, "for the embedded suite"),
)
CARDS: tuple[Card, ...] = ()
