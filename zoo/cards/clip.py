"""OpenAI CLIP's image encoders, frame by frame: backbones, layouts, and the files that UMT and VideoMamba teach by.

Sources: Radford et al., arXiv 2103.00020; openai/CLIP (MIT); its files as transformers' CLIP on the Hugging Face hub;
OpenGVLab/unmasked_teacher single_modality/models/clip.py, which reads the image encoder by itself (vit_b16.pth, ...).
"""

from backbones import frozen
from zoo.card import (
    Architecture,
    Card,
    Classifier,
    ClipSpec,
    Converter,
    Rule,
    Source,
    Weights,
    cut,
    join,
    rename,
    unsqueeze,
)

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# OpenAI's names within a block, and ours.
_BLOCK = (
    ("ln_1.*", "norm1.*"),
    ("ln_2.*", "norm2.*"),
    ("attn.out_proj.*", "attn.out_proj.*"),
    ("mlp.c_fc.*", "mlp.fc1.*"),
    ("mlp.c_proj.*", "mlp.fc2.*"),
)
_HF_BLOCK = (
    ("layer_norm1.*", "norm1.*"),
    ("layer_norm2.*", "norm2.*"),
    ("self_attn.*", "attn.*"),
    ("mlp.*", "mlp.*"),
)


def _flipped(rule: Rule) -> Rule:
    """The rule with their side and ours exchanged."""
    return Rule(rule.ours, rule.theirs, rule.backward, rule.forward)


def _class_token(theirs: str) -> Rule:
    """Their class token is a bare vector."""
    return Rule(
        (theirs,), ("backbone.cls_token",), lambda it: [it[0][None, None]], lambda it: [it[0].squeeze(0).squeeze(0)]
    )


def _positions(theirs: str) -> Rule:
    """Their table has no batch axis, and its first row belongs to the class token."""
    tables = cut(theirs, ("backbone.cls_pos_embed", "backbone.pos_embed"), sizes=(1, -1), dim=1)
    return tables._replace(
        forward=lambda it: tables.forward([it[0][None]]), backward=lambda it: [tables.backward(it)[0].squeeze(0)]
    )


def _openai(prefix: str, kernel: Rule) -> tuple[Rule, ...]:
    """OpenAI's names under `prefix`."""
    theirs, ours = f"{prefix}transformer.resblocks.*", "backbone.blocks.*"
    attention = (
        _flipped(join(tuple(f"{ours}.attn.{part}_proj.{kind}" for part in "qkv"), f"{theirs}.attn.in_proj_{kind}"))
        for kind in ("weight", "bias")
    )
    return (
        *attention,
        *(rename(f"{theirs}.{their}", f"{ours}.{our}") for their, our in _BLOCK),
        _class_token(f"{prefix}class_embedding"),
        _positions(f"{prefix}positional_embedding"),
        kernel,
        rename(f"{prefix}ln_pre.*", "backbone.norm_pre.*"),
        rename(f"{prefix}ln_post.*", "backbone.norm.*"),
        # Onto the space shared with texts: no part of the backbone.
        Rule((f"{prefix}proj",), ("decoder.proj.weight",), lambda it: [it[0].t()], lambda it: [it[0].t()]),
    )


KERNEL = "backbone.patch_embed.proj.weight"
VISUAL = Converter(
    name="CLIP image encoder",
    needs=("class_embedding", "positional_embedding", "transformer.resblocks.*.attn.in_proj_weight"),
    # UMT's code holds kernels over one frame; OpenAI's, without that axis, pass as they are.
    rules=_openai("", _flipped(unsqueeze(KERNEL, "conv1.weight", dim=2))),
)
OPENAI = Converter(
    name="CLIP with its text encoder",
    needs=("visual.class_embedding", "visual.transformer.resblocks.*.attn.in_proj_weight"),
    rules=_openai("visual.", rename("visual.conv1.weight", KERNEL)),
    drop=(
        "transformer.*",
        "token_embedding.weight",
        "positional_embedding",
        "ln_final.*",
        "text_projection",
        "logit_scale",
        "input_resolution",
        "context_length",
        "vocab_size",
    ),
)
_HF = "vision_model.embeddings."
TRANSFORMERS = Converter(
    name="CLIP transformers",
    needs=(f"{_HF}class_embedding", "vision_model.encoder.layers.*.self_attn.q_proj.weight"),
    rules=(
        *(rename(f"vision_model.encoder.layers.*.{their}", f"backbone.blocks.*.{our}") for their, our in _HF_BLOCK),
        _class_token(f"{_HF}class_embedding"),
        _positions(f"{_HF}position_embedding.weight"),
        rename(f"{_HF}patch_embedding.weight", KERNEL),
        # transformers' own spelling.
        rename("vision_model.pre_layrnorm.*", "backbone.norm_pre.*"),
        rename("vision_model.post_layernorm.*", "backbone.norm.*"),
        rename("visual_projection.weight", "decoder.proj.weight"),
    ),
    drop=("text_model.*", "text_projection.weight", "logit_scale", f"{_HF}position_ids"),
)

SHRINK = {"img_size": 16, "num_frames": 2, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}


def _clip(img_size: int) -> ClipSpec:
    """One frame, the middle one, as CLIP was trained."""
    return ClipSpec(num_frames=1, sampling="uniform", img_size=img_size, mean=MEAN, std=STD, interpolation="bicubic")


def _architecture(name: str, parameters: int, img_size: int = 224) -> Architecture:
    return Architecture(
        name=name,
        family="clip",
        build=getattr(frozen, name),
        parameters=parameters,
        clip=_clip(img_size),
        classifier=Classifier(pool="cls"),
        converters=(VISUAL, OPENAI, TRANSFORMERS),
        source="arXiv 2103.00020; openai/CLIP",
        code_licence="MIT",
        shrink=SHRINK,
        notes=(
            "frame by frame: time is seen by the head only; num_frames=8 takes clips of 8",
            "computes every token: it cannot be the student of a masked objective",
            "without the projection onto the space shared with texts",
        ),
    )


def _card(size: str, file: str, img_size: int = 224) -> Card:
    """A model of OpenAI's repository on the hub, which holds the text encoder too."""
    repo = f"openai/clip-vit-{size.replace('_', '-')}"
    return Card(
        architecture=f"clip_visual_{size}",
        tag="openai",
        weights=Weights(
            sources=tuple(Source(hf_repo=repo, hf_file=name) for name in ("model.safetensors", "pytorch_model.bin")),
            layout=TRANSFORMERS.name,
            code_licence="MIT",
            weight_licence="MIT (OpenAI CLIP)",
        ),
        clip=_clip(img_size),
        dataset="wit400m",
        task="teacher",
        notes=(
            f"UMT's and VideoMamba's code reads the image encoder by itself from {file}, which nobody distributes: "
            "it is the visual.* part of OpenAI's file; it loads too",
            "as a teacher it saw frames normalised with ImageNet's statistics (as backbones.frozen.ClipTeacher does); "
            "by itself it wants CLIP's",
            "which of the two files its repository holds was not checked",
        ),
    )


ARCHITECTURES = (
    _architecture("clip_visual_base_patch16", 85_799_424),
    _architecture("clip_visual_large_patch14", 303_179_776),
    _architecture("clip_visual_large_patch14_336", 303_507_456, 336),
)
CARDS: tuple[Card, ...] = (
    _card("base_patch16", "vit_b16.pth"),
    _card("large_patch14", "vit_l14.pth"),
    _card("large_patch14_336", "vit_l14_336.pth", 336),
)
