"""VideoMAE and mae_st: architectures, pretraining decoders and the layouts of their files.

Sources: MCG-NJU/VideoMAE (modeling_pretrain.py, modeling_finetune.py, scripts/) and transformers' VideoMAE;
facebookresearch/mae_st (models_mae.py, models_vit.py, FINETUNE.md, util/kinetics.py).
"""

from collections.abc import Mapping
from typing import Any, Literal

from backbones import vit
from zoo.card import Architecture, Card, Classifier, ClipSpec, Converter, Rule, cut, join, rename
from zoo.cards.videomae_weights import CARDS as RELEASED

# A pretraining file read into the fine-tuning form leaves the encoder's final norm over.
_OPTIONAL = ("decoder.*", "backbone.norm.*")


def _renames(*pairs: tuple[str, str]) -> tuple[Rule, ...]:
    return tuple(rename(theirs, ours) for theirs, ours in pairs)


VIDEOMAE_PRETRAIN = Converter(
    name="VideoMAE pretraining",
    needs=("encoder.blocks.*.attn.qkv.weight", "decoder.blocks.*.attn.qkv.weight", "encoder_to_decoder.weight"),
    rules=_renames(
        ("encoder.blocks.*.gamma_1", "backbone.blocks.*.ls1.gamma"),
        ("encoder.blocks.*.gamma_2", "backbone.blocks.*.ls2.gamma"),
        ("encoder.*", "backbone.*"),
        ("decoder.blocks.*.gamma_1", "decoder.blocks.*.ls1.gamma"),
        ("decoder.blocks.*.gamma_2", "decoder.blocks.*.ls2.gamma"),
        ("encoder_to_decoder.weight", "decoder.embed.weight"),
        ("mask_token", "decoder.mask_tokens.0"),
        ("decoder.*", "decoder.*"),
    ),
    optional=_OPTIONAL,
)
VIDEOMAE_FINETUNE = Converter(
    name="VideoMAE fine-tuned",
    needs=("patch_embed.proj.weight", "blocks.*.attn.q_bias", "head.weight"),
    lacks=("cls_token",),
    rules=_renames(
        ("blocks.*.gamma_1", "backbone.blocks.*.ls1.gamma"),
        ("blocks.*.gamma_2", "backbone.blocks.*.ls2.gamma"),
        ("blocks.*", "backbone.blocks.*"),
        ("patch_embed.*", "backbone.patch_embed.*"),
        # Without mean pooling there is no fc_norm, and the encoder's own norm is there instead.
        ("norm.*", "backbone.norm.*"),
        ("fc_norm.*", "head.norm.*"),
        ("head.*", "head.linear.*"),
    ),
)

_HF_BLOCK = (
    ("attention.output.dense.*", "attn.proj.*"),
    ("intermediate.dense.*", "mlp.fc1.*"),
    ("output.dense.*", "mlp.fc2.*"),
    ("layernorm_before.*", "norm1.*"),
    ("layernorm_after.*", "norm2.*"),
)
_HF_QKV = tuple(f"attention.attention.{name}.weight" for name in ("query", "key", "value"))
# Every published file spells the biases as in version 4; models of transformers 5 hold them as in version 5.
_HF_BIASES = {4: ("q_bias", "v_bias"), 5: ("query.bias", "value.bias")}


def _hf_blocks(theirs: str, ours: str, version: int) -> tuple[Rule, ...]:
    """Rules for the blocks under `theirs`, which become those under `ours`; the key has no bias in any version."""
    query_bias, value_bias = (f"{theirs}.attention.attention.{name}" for name in _HF_BIASES[version])
    return (
        join(tuple(f"{theirs}.{name}" for name in _HF_QKV), f"{ours}.attn.qkv.weight"),
        *_renames((query_bias, f"{ours}.attn.q_bias"), (value_bias, f"{ours}.attn.v_bias")),
        *_renames(*((f"{theirs}.{their}", f"{ours}.{our}") for their, our in _HF_BLOCK)),
    )


def _hf(kind: str, version: int, needs: tuple[str, ...], rules: tuple[Rule, ...]) -> Converter:
    """A layout of transformers' VideoMAE."""
    bias = f"videomae.encoder.layer.*.attention.attention.{_HF_BIASES[version][0]}"
    return Converter(
        name=f"VideoMAE {kind}, transformers {version} spelling",
        needs=(bias, *needs),
        rules=(
            *_hf_blocks("videomae.encoder.layer.*", "backbone.blocks.*", version),
            *_renames(
                ("videomae.embeddings.patch_embeddings.projection.*", "backbone.patch_embed.proj.*"),
                ("videomae.layernorm.*", "backbone.norm.*"),
            ),
            *rules,
        ),
        optional=_OPTIONAL,
    )


def _hf_pretrain(version: int) -> Converter:
    return _hf(
        "pretraining",
        version,
        ("encoder_to_decoder.weight",),
        (
            *_hf_blocks("decoder.decoder_layers.*", "decoder.blocks.*", version),
            *_renames(
                ("encoder_to_decoder.weight", "decoder.embed.weight"),
                ("mask_token", "decoder.mask_tokens.0"),
                ("decoder.norm.*", "decoder.norm.*"),
                ("decoder.head.*", "decoder.head.*"),
            ),
        ),
    )


def _hf_classifier(version: int) -> Converter:
    rules = _renames(("fc_norm.*", "head.norm.*"), ("classifier.*", "head.linear.*"))
    return _hf("classifier", version, ("classifier.weight",), rules)


HF_PRETRAIN, HF_PRETRAIN_V5 = _hf_pretrain(4), _hf_pretrain(5)
HF_CLASSIFIER, HF_CLASSIFIER_V5 = _hf_classifier(4), _hf_classifier(5)

Tables = Literal["separable", "joint", "joint with class row"]
# Keys by which mae_st's files with each kind of position tables are told apart.
_MAE_ST_KEYS: dict[Tables, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "separable": (("pos_embed_spatial",), ()),
    "joint": (("pos_embed",), ("cls_token",)),
    "joint with class row": (("pos_embed", "cls_token"), ()),
}


def _mae_st_part(theirs: str, ours: str, tables: Tables) -> tuple[Rule, ...]:
    """Rules for encoder or decoder: separate q, k and v become one, and the position tables get our names.

    Args:
        theirs: prefix of their keys, "" or "decoder_".
        ours: our namespace.
        tables: their position tables.
    """
    pos, cls = f"{theirs}pos_embed", f"{ours}.cls_pos_embed"
    positions = {
        "separable": _renames(
            (f"{pos}_spatial", f"{ours}.pos_embed"),
            (f"{pos}_temporal", f"{ours}.temporal_pos_embed"),
            (f"{pos}_class", cls),
        ),
        "joint": _renames((pos, f"{ours}.pos_embed")),
        "joint with class row": (cut(pos, (cls, f"{ours}.pos_embed"), sizes=(1, -1), dim=1),),
    }
    attention = (
        join(tuple(f"{theirs}blocks.*.attn.{name}.{kind}" for name in "qkv"), f"{ours}.blocks.*.attn.qkv.{kind}")
        for kind in ("weight", "bias")
    )
    return (
        *attention,
        *_renames((f"{theirs}blocks.*", f"{ours}.blocks.*"), (f"{theirs}cls_token", f"{ours}.cls_token")),
        *positions[tables],
    )


def mae_st_pretrain(tables: Tables) -> Converter:
    """Layout of mae_st's MaskedAutoencoderViT; every released file has separable tables."""
    needs, lacks = _MAE_ST_KEYS[tables]
    return Converter(
        name=f"mae_st pretraining, {tables} positions",
        needs=("blocks.*.attn.q.weight", "decoder_embed.weight", *needs),
        lacks=lacks,
        rules=(
            *_mae_st_part("decoder_", "decoder", tables),
            *_mae_st_part("", "backbone", tables),
            *_renames(
                ("patch_embed.*", "backbone.patch_embed.*"),
                ("norm.*", "backbone.norm.*"),
                ("decoder_embed.*", "decoder.embed.*"),
                ("mask_token", "decoder.mask_tokens.0"),
                ("decoder_norm.*", "decoder.norm.*"),
                ("decoder_pred.*", "decoder.head.*"),
            ),
        ),
        optional=_OPTIONAL,
    )


def mae_st_finetune(tables: Tables) -> Converter:
    """Layout of mae_st's VisionTransformer, whose `norm` comes after pooling."""
    needs, lacks = _MAE_ST_KEYS[tables]
    return Converter(
        name=f"mae_st fine-tuned, {tables} positions",
        needs=("blocks.*.attn.q.weight", "head.weight", *needs),
        lacks=("decoder_embed.weight", *lacks),
        rules=(
            *_mae_st_part("", "backbone", tables),
            *_renames(
                ("patch_embed.*", "backbone.patch_embed.*"), ("norm.*", "head.norm.*"), ("head.*", "head.linear.*")
            ),
        ),
    )


# Decoders of the released pretraining files, as arguments of `heads.masked_decoder.MaskedDecoder`.
# VideoMAE: scripts pass a depth of 4 or 12, the class builds 8 by default. mae_st: PRETRAIN.md, depth 4, default 8.
DECODERS: Mapping[str, Mapping[str, Any]] = {
    "videomae_small": {"width": 192, "depth": 4, "num_heads": 3},
    "videomae_base": {"width": 384, "depth": 4, "num_heads": 6},
    "videomae_large": {"width": 512, "depth": 12, "num_heads": 8},
    "videomae_huge": {"width": 640, "depth": 12, "num_heads": 8},
    "mae_st_large": {"width": 512, "depth": 4, "num_heads": 16, "embed_bias": True, "flavor": vit.MAE_ST},
    "mae_st_huge": {"width": 512, "depth": 4, "num_heads": 16, "embed_bias": True, "flavor": vit.MAE_ST},
}

VIDEOMAE_CLIP = ClipSpec(num_frames=16, sampling="strided", stride=4, img_size=224, clips=5, crops=3)
MAE_ST_CLIP = ClipSpec(
    num_frames=16,
    sampling="dense",
    stride=4,
    img_size=224,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    clips=7,
    crops=3,
)
# For the embedded clips: every frame of 16, the whole picture.
PICO_CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24, flip=False)
SHRINK = {"img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}

MEAN_POOL = Classifier(pool="mean", norm=True, options={"final_norm": False})
MAE_ST_MEAN_POOL = Classifier(pool="mean", norm=True, dropout=0.5, options={"final_norm": False})
MAE_ST_HUGE_MEAN_POOL = Classifier(pool="mean", norm=True, dropout=0.5, options={"final_norm": False, "patch_size": 16})

_HF = (HF_PRETRAIN, HF_CLASSIFIER, HF_PRETRAIN_V5, HF_CLASSIFIER_V5)
_SMALL_NOTE = "transformers' conversion helper sets 16 heads for the small model; the authors' has 6, and so has ours"
_NORM_NOTE = (
    "the authors' fine-tuning starts its norm after pooling from the pretrained norm of the encoder; here the head's "
    "norm starts fresh"
)
_HUGE_NOTE = "pretrained with patches of 14 px; the authors' fine-tuning factory vit_huge_patch14 builds 16 px"


def _videomae(name: str, parameters: int, *notes: str) -> Architecture:
    """The published sizes share clip, classifier, layouts, source and licence."""
    return Architecture(
        name=name,
        family="videomae",
        build=getattr(vit, name),
        parameters=parameters,
        clip=VIDEOMAE_CLIP,
        classifier=MEAN_POOL,
        converters=(VIDEOMAE_PRETRAIN, VIDEOMAE_FINETUNE, *_HF),
        objective="mae",
        source="arXiv 2203.12602; MCG-NJU/VideoMAE",
        code_licence="CC-BY-NC-4.0 (the authors' code; ours is Apache-2.0)",
        shrink=SHRINK,
        notes=notes,
    )


def _mae_st(name: str, parameters: int, classifier: Classifier, *notes: str) -> Architecture:
    """Both published sizes share clip, layouts, source and licence."""
    return Architecture(
        name=name,
        family="mae_st",
        build=getattr(vit, name),
        parameters=parameters,
        clip=MAE_ST_CLIP,
        classifier=classifier,
        converters=tuple(layout(tables) for layout in (mae_st_pretrain, mae_st_finetune) for tables in _MAE_ST_KEYS),
        objective="mae",
        source="arXiv 2205.09113; facebookresearch/mae_st",
        code_licence="CC-BY-NC-4.0 (the authors' code; ours is Apache-2.0)",
        shrink=SHRINK,
        notes=notes,
    )


ARCHITECTURES = (
    _videomae("videomae_small", 21_879_168, _SMALL_NOTE),
    _videomae("videomae_base", 86_225_664),
    _videomae("videomae_large", 303_858_688),
    _videomae("videomae_huge", 631_604_480),
    _mae_st("mae_st_large", 304_094_208, MAE_ST_MEAN_POOL, _NORM_NOTE),
    _mae_st("mae_st_huge", 631_909_120, MAE_ST_HUGE_MEAN_POOL, _NORM_NOTE, _HUGE_NOTE),
    Architecture(
        name="vit_pico",
        family="videomae",
        build=vit.vit_pico,
        parameters=224_320,
        clip=PICO_CLIP,
        classifier=MEAN_POOL,
        objective="mae",
        source="VideoMAE's form at a size for the embedded suite",
        notes=("for the embedded suite",),
    ),
    Architecture(
        name="vit_still_pico",
        family="teacher",
        build=vit.vit_still_pico,
        parameters=213_120,
        clip=ClipSpec(num_frames=1, sampling="segments", img_size=24, flip=False),
        # Its class token's attention is what masks are drawn from; averaged tokens would leave it untrained.
        classifier=Classifier(pool="cls"),
        source="DeiT's form (arXiv 2012.12877) at a size for the embedded suite",
        notes=("looks at single frames; teaches UMT's students on the embedded suite, in place of CLIP",),
    ),
)
CARDS: tuple[Card, ...] = RELEASED
