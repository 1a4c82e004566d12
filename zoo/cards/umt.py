"""UMT: students, their fine-tuned forms and the layouts of the authors' files.

Source: arXiv 2303.16058; OpenGVLab/unmasked_teacher single_modality (models, exp/ and MODEL_ZOO.md), MIT.
"""

from backbones import umt
from zoo.card import Architecture, Card, Classifier, ClipSpec, Converter, rename
from zoo.cards.umt_text_weights import CARDS as MULTIMODAL
from zoo.cards.umt_weights import CARDS as RELEASED

_BLOCKS = (
    rename("blocks.*.gamma_1", "backbone.blocks.*.ls1.gamma"),
    rename("blocks.*.gamma_2", "backbone.blocks.*.ls2.gamma"),
    rename("blocks.*", "backbone.blocks.*"),
    rename("patch_embed.*", "backbone.patch_embed.*"),
    rename("pos_embed", "backbone.pos_embed"),
)

PRETRAIN = Converter(
    name="UMT stage 1",
    needs=("encoder.blocks.*.attn.q_bias", "clip_decoder.*.head.weight"),
    rules=(
        rename("encoder.blocks.*.gamma_1", "backbone.blocks.*.ls1.gamma"),
        rename("encoder.blocks.*.gamma_2", "backbone.blocks.*.ls2.gamma"),
        rename("encoder.*", "backbone.*"),
        rename("clip_decoder.*.head.*", "decoder.layers.*.linear.*"),
        rename("clip_decoder.*.norm.*", "decoder.layers.*.norm.*"),
    ),
    # The fine-tuning form has its norm in the head, and the authors start that afresh.
    optional=("decoder.*", "backbone.norm.*"),
)
FINETUNE = Converter(
    name="UMT fine-tuned",
    needs=("patch_embed.proj.weight", "blocks.*.attn.q_bias", "head.weight"),
    lacks=("cls_token", "encoder_to_decoder.weight"),
    rules=(
        *_BLOCKS,
        # Without mean pooling, and in action detection, there is no fc_norm and the encoder's own norm is there.
        rename("norm.*", "backbone.norm.*"),
        rename("fc_norm.*", "head.norm.*"),
        rename("head.*", "head.linear.*"),
    ),
)

# The published fine-tuning form makes its position table for 8 frames of 224 px.
TABLE = (8, 14, 14)
MEAN_POOL = Classifier(pool="mean", norm=True, options={"final_norm": False, "table_grid": TABLE})
CLIP = ClipSpec(num_frames=8, sampling="uniform", img_size=224, clips=4, crops=3)
# For the embedded clips of 16 frames: every other one, the whole picture.
PICO_CLIP = ClipSpec(num_frames=8, sampling="dense", stride=2, img_size=24, flip=False)
SHRINK = {"img_size": 16, "num_frames": 4, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}


def _published(name: str, parameters: int) -> Architecture:
    return Architecture(
        name=name,
        family="umt",
        build=getattr(umt, name),
        parameters=parameters,
        clip=CLIP,
        classifier=MEAN_POOL,
        converters=(PRETRAIN, FINETUNE),
        objective="umt",
        source="arXiv 2303.16058; OpenGVLab/unmasked_teacher",
        code_licence="MIT",
        shrink=SHRINK,
        notes=(
            "fine-tuned with 8 or 16 frames; files for other clips than 8 frames of 224 px hold their position table",
            "action detection reads files with the final norm: final_norm=True",
        ),
    )


ARCHITECTURES = (
    _published("umt_base", 85_635_840),
    _published("umt_large", 303_072_256),
    Architecture(
        name="umt_pico",
        family="umt",
        build=umt.umt_pico,
        parameters=212_032,
        clip=PICO_CLIP,
        classifier=Classifier(pool="mean", norm=True, options={"final_norm": False}),
        objective="umt",
        source="UMT's form at a size for the embedded suite",
        notes=("for the embedded suite",),
    ),
)
CARDS: tuple[Card, ...] = (*RELEASED, *MULTIMODAL)
