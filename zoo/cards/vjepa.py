"""V-JEPA and V-JEPA 2: architectures, predictors and the layouts of their files.

Sources: facebookresearch/jepa (src/models, configs/pretrain), facebookresearch/vjepa2 (src/models, src/hub) and
transformers' VJEPA2. Clips of the reported evaluations: the attentive probes on Kinetics, Table 17 of arXiv 2404.08471
and Appendix C of arXiv 2506.09985.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from backbones import vjepa
from backbones.vit import ViT
from zoo.card import Architecture, Card, Classifier, ClipSpec, Converter, Rule, join, rename, unsqueeze
from zoo.cards.vjepa_weights import ANTICIPATION, ENCODER, ENCODER_2, HF_CLASSIFIER, HF_MODEL, PROBE, PROBE_2
from zoo.cards.vjepa_weights import CARDS as RELEASED

_OPTIONAL = ("decoder.*",)
# A training file holds `encoder`, `target_encoder` and `predictor`, each with names that begin with module.backbone;
# `zoo.weight_files` takes the target encoder, which the authors evaluate.
OFFICIAL = Converter(
    name=ENCODER,
    needs=("pos_embed", "patch_embed.proj.weight", "blocks.*.attn.qkv.bias", "norm.weight"),
    lacks=("cls_token", "head.weight", "time_embed", "temporal_pos_embed"),
    rules=(rename("*", "backbone.*"),),
    optional=_OPTIONAL,
)
OFFICIAL_IMAGE = Converter(
    name="V-JEPA image encoder",
    needs=OFFICIAL.needs,
    lacks=OFFICIAL.lacks,
    # An image model embeds with a 2-D kernel.
    rules=(
        unsqueeze("patch_embed.proj.weight", "backbone.patch_embed.proj.weight", dim=2),
        rename("*", "backbone.*"),
    ),
    optional=_OPTIONAL,
)
OFFICIAL_2 = Converter(
    name=ENCODER_2,
    needs=("patch_embed.proj.weight", "blocks.*.attn.qkv.bias", "norm.weight"),
    lacks=OFFICIAL.lacks,
    rules=(rename("*", "backbone.*"),),
    # The authors' loaders tolerate a table, for which networks with rotary positions have no use.
    drop=("pos_embed",),
    optional=_OPTIONAL,
)
OFFICIAL_PREDICTOR = Converter(
    name="V-JEPA predictor",
    needs=("predictor_embed.weight", "predictor_blocks.*.attn.qkv.weight", "mask_tokens.0"),
    rules=(
        rename("predictor_embed.*", "decoder.embed.*"),
        rename("predictor_pos_embed", "decoder.pos_embed"),
        rename("mask_tokens.*", "decoder.mask_tokens.*"),
        rename("predictor_blocks.*", "decoder.blocks.*"),
        rename("predictor_norm.*", "decoder.norm.*"),
        rename("predictor_proj.*", "decoder.head.*"),
    ),
    fills=("decoder.*",),
)
_PROBE_RULES = (
    rename("pooler.query_tokens", "head.query"),
    rename("pooler.cross_attention_block.*", "head.cross.*"),
    rename("pooler.blocks.*", "head.blocks.*"),
    rename("linear.*", "head.linear.*"),
)
# Their keys begin with module.; a file of V-JEPA 2 holds a list of them.
OFFICIAL_PROBE = Converter(
    name=PROBE,
    needs=("pooler.query_tokens", "pooler.cross_attention_block.xattn.proj.weight", "linear.weight"),
    rules=_PROBE_RULES,
    # The authors' code has this layer and never applies it.
    drop=("pooler.cross_attention_block.xattn.proj.*",),
    fills=("head.*",),
)
OFFICIAL_PROBE_2 = Converter(
    name=PROBE_2,
    needs=("pooler.query_tokens", "pooler.cross_attention_block.xattn.q.weight", "linear.weight"),
    lacks=("pooler.cross_attention_block.xattn.proj.weight",),
    rules=_PROBE_RULES,
    fills=("head.*",),
)
OFFICIAL_ANTICIPATION = Converter(
    name=ANTICIPATION,
    needs=("pooler.query_tokens", "pooler.cross_attention_block.xattn.q.weight", "*_classifier.weight"),
    rules=(*_PROBE_RULES[:3], rename("*_classifier.*", "head.linears.*.*")),
    fills=("head.*",),
)


def _hf_blocks(theirs: str, ours: str) -> tuple[Rule, ...]:
    """Rules for the blocks under `theirs`: separate q, k and v become one."""
    attention = tuple(
        join(
            tuple(f"{theirs}.attention.{name}.{kind}" for name in ("query", "key", "value")), f"{ours}.attn.qkv.{kind}"
        )
        for kind in ("weight", "bias")
    )
    return (*attention, rename(f"{theirs}.attention.proj.*", f"{ours}.attn.proj.*"), rename(f"{theirs}.*", f"{ours}.*"))


def _hf_encoder(prefix: str) -> tuple[Rule, ...]:
    return (
        rename(f"{prefix}encoder.embeddings.patch_embeddings.proj.*", "backbone.patch_embed.proj.*"),
        *_hf_blocks(f"{prefix}encoder.layer.*", "backbone.blocks.*"),
        rename(f"{prefix}encoder.layernorm.*", "backbone.norm.*"),
    )


def _hf_predictor(num_mask_tokens: int) -> tuple[Rule, ...]:
    """Rules for the predictor; its mask tokens are one tensor there and separate here."""
    tokens = Rule(
        ("predictor.embeddings.mask_tokens",),
        tuple(f"decoder.mask_tokens.{index}" for index in range(num_mask_tokens)),
        lambda stacked: [it.contiguous() for it in stacked[0].unbind()],
        lambda parts: [torch.stack(parts)],
    )
    return (
        tokens,
        rename("predictor.embeddings.predictor_embeddings.*", "decoder.embed.*"),
        *_hf_blocks("predictor.layer.*", "decoder.blocks.*"),
        rename("predictor.layernorm.*", "decoder.norm.*"),
        rename("predictor.proj.*", "decoder.head.*"),
    )


def transformers_model(num_mask_tokens: int = 10) -> Converter:
    """Layout of transformers' VJEPA2Model, encoder and predictor; every released file has 10 mask tokens."""
    return Converter(
        name=HF_MODEL,
        needs=("encoder.layer.*.attention.query.weight", "predictor.embeddings.mask_tokens"),
        rules=(*_hf_encoder(""), *_hf_predictor(num_mask_tokens)),
    )


def _hf_classifier() -> Converter:
    """Layout of transformers' VJEPA2ForVideoClassification: an attentive head over the encoder's tokens."""
    theirs, ours = "pooler.cross_attention_layer", "head.cross"
    layers, blocks = "pooler.self_attention_layers.*", "head.blocks.*"
    rules: list[Rule] = [rename("pooler.query_tokens", "head.query"), rename("classifier.*", "head.linear.*")]
    for kind in ("weight", "bias"):
        key_value = tuple(f"{theirs}.cross_attn.{name}_proj.{kind}" for name in "kv")
        qkv = tuple(f"{layers}.self_attn.{name}_proj.{kind}" for name in "qkv")
        rules += [
            rename(f"{theirs}.cross_attn.q_proj.{kind}", f"{ours}.xattn.q.{kind}"),
            join(key_value, f"{ours}.xattn.kv.{kind}"),
            join(qkv, f"{blocks}.attn.qkv.{kind}"),
            rename(f"{layers}.self_attn.out_proj.{kind}", f"{blocks}.attn.proj.{kind}"),
        ]
    for prefix, name in ((theirs, ours), (layers, blocks)):
        rules += [rename(f"{prefix}.layer_norm{index}.*", f"{name}.norm{index}.*") for index in (1, 2)]
        rules.append(rename(f"{prefix}.mlp.*", f"{name}.mlp.*"))
    return Converter(
        name=HF_CLASSIFIER,
        needs=("vjepa2.encoder.layer.*.attention.query.weight", "classifier.weight"),
        rules=(*_hf_encoder("vjepa2."), *rules),
        # Transformers' classifiers carry a predictor that they never call.
        drop=("vjepa2.predictor.*",),
        classifier={"num_heads": "encoder", "attention_eps": 1e-6},
    )


TRANSFORMERS = transformers_model()
TRANSFORMERS_CLASSIFIER = _hf_classifier()

# Predictors of the released files, as arguments of `heads.masked_decoder.MaskedDecoder`; `dim` and `out_dim` are the
# backbone's width. The first V-JEPA gives its predictor as many heads as the encoder has, 16; V-JEPA 2 gives it 12, and
# its files hold 10 mask tokens.
_PREDICTOR = {"width": 384, "depth": 12, "embed_bias": True, "zero_mask_tokens": True, "decay_mask_tokens": True}
_PREDICTOR_1 = {**_PREDICTOR, "num_heads": 16, "num_mask_tokens": 2, "flavor": vjepa.VJEPA}
_PREDICTOR_2 = {**_PREDICTOR, "num_heads": 12, "num_mask_tokens": 10, "flavor": vjepa.VJEPA2}
PREDICTORS: Mapping[str, Mapping[str, Any]] = {
    "vjepa_large_16_224": _PREDICTOR_1,
    "vjepa_huge_16_224": _PREDICTOR_1,
    "vjepa_huge_16_384": _PREDICTOR_1,
    "vjepa2_large_16_256": _PREDICTOR_2,
    "vjepa2_huge_16_256": _PREDICTOR_2,
    "vjepa2_giant_16_256": _PREDICTOR_2,
    "vjepa2_giant_16_384": _PREDICTOR_2,
}

# Frozen evaluation on Kinetics-400: 8 segments, 3 views. Something-Something takes 2 segments (README of both).
CLIP = ClipSpec(num_frames=16, sampling="vjepa", stride=4, img_size=224, clips=8, crops=3)
# The released weights end with clips of 64 frames; their Kinetics-400 probes look at 16 (arXiv 2506.09985, section 4).
CLIP_2 = ClipSpec(num_frames=64, sampling="vjepa", stride=4, img_size=256, clips=8, crops=3)
PROBE_FRAMES = "the reported Kinetics-400 probe looks at clips of 16 frames (num_frames=16); the weights end with 64"
PICO_CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24, flip=False)
SHRINK = {"img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}

# The published probes: attention by a learned query, 16 heads whatever the encoder has; four blocks in V-JEPA 2.
HEAD = Classifier(pool="mean", kind="attentive", num_heads=16)
HEAD_2 = Classifier(pool="mean", kind="attentive", num_heads=16, depth=4)


def _side(build: Callable[..., ViT]) -> int:
    """Side of the clips that a builder is for."""
    side: int = inspect.signature(build).parameters["img_size"].default
    return side


def _vjepa(name: str, parameters: int, build: Callable[..., ViT], *notes: str) -> Architecture:
    return Architecture(
        name=name,
        family="vjepa",
        build=build,
        parameters=parameters,
        clip=replace(CLIP, img_size=_side(build)),
        classifier=HEAD if name in PREDICTORS else Classifier(pool="mean"),
        converters=(OFFICIAL, OFFICIAL_PROBE, OFFICIAL_PREDICTOR),
        objective="vjepa",
        source="arXiv 2404.08471; facebookresearch/jepa",
        code_licence="CC-BY-NC-4.0 (the authors' code; ours is Apache-2.0)",
        shrink=SHRINK,
        notes=notes,
        predictor=PREDICTORS.get(name, {}),
    )


def _vjepa2(name: str, parameters: int, build: Callable[..., ViT]) -> Architecture:
    return Architecture(
        name=name,
        family="vjepa2",
        build=build,
        parameters=parameters,
        clip=replace(CLIP_2, img_size=_side(build)),
        classifier=HEAD_2,
        converters=(
            OFFICIAL_2,
            TRANSFORMERS,
            TRANSFORMERS_CLASSIFIER,
            OFFICIAL_PROBE_2,
            OFFICIAL_ANTICIPATION,
            OFFICIAL_PREDICTOR,
        ),
        objective="vjepa",
        source="arXiv 2506.09985; facebookresearch/vjepa2",
        code_licence="MIT (the authors' code; ours is Apache-2.0)",
        shrink=SHRINK,
        notes=(
            "transformers' classifiers pool with as many heads as the encoder has, the authors' with 16",
            PROBE_FRAMES,
        ),
        predictor=PREDICTORS[name],
    )


def _pico(name: str, parameters: int, family: str) -> Architecture:
    return Architecture(
        name=name,
        family=family,
        build=getattr(vjepa, name),
        parameters=parameters,
        clip=PICO_CLIP,
        classifier=Classifier(pool="mean"),
        objective="vjepa",
        source="the family's form at a size for the embedded suite",
        notes=("for the embedded suite", "starts xavier-uniform like vit_pico"),
    )


_UNPUBLISHED = "a size of the authors' code for which they released no weights"

ARCHITECTURES = (
    _vjepa("vjepa_tiny", 5_633_856, vjepa.vjepa_tiny, _UNPUBLISHED),
    _vjepa("vjepa_small", 21_884_544, vjepa.vjepa_small, _UNPUBLISHED),
    _vjepa("vjepa_base", 86_236_416, vjepa.vjepa_base, _UNPUBLISHED),
    # Names of released networks end with patch and side, as their files do: each side is a network of its own.
    _vjepa("vjepa_large_16_224", 303_885_312, vjepa.vjepa_large),
    _vjepa("vjepa_huge_16_224", 631_648_000, vjepa.vjepa_huge),
    _vjepa("vjepa_huge_16_384", 631_648_000, partial(vjepa.vjepa_huge, img_size=384)),
    _vjepa2("vjepa2_large_16_256", 303_885_312, vjepa.vjepa2_large),
    _vjepa2("vjepa2_huge_16_256", 631_648_000, vjepa.vjepa2_huge),
    _vjepa2("vjepa2_giant_16_256", 1_012_173_952, vjepa.vjepa2_giant),
    _vjepa2("vjepa2_giant_16_384", 1_012_173_952, partial(vjepa.vjepa2_giant, img_size=384)),
    _pico("vjepa_pico", 224_704, "vjepa"),
    _pico("vjepa2_pico", 224_704, "vjepa2"),
)
CARDS: tuple[Card, ...] = RELEASED
