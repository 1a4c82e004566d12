"""Released files of VideoMAE (9 pretrained, 9 fine-tuned) and of mae_st (6 pretrained).

Facts: MCG-NJU/VideoMAE MODEL_ZOO.md (files, numbers), scripts and FINETUNE.md (views); facebookresearch/mae_st README,
PRETRAIN.md and FINETUNE.md; arXiv 2203.12602 and 2205.09113. The authors' own files lie on Google Drive. Most were
converted for transformers and lie on the Hugging Face hub in its layout, from where they come without a question: that
file is the card's first, the authors' is its next, and which of the two layouts a file has is told by its keys.
"""

from zoo.card import Card, ClipSpec, Reported, Source, Weights

DRIVE = "https://drive.google.com/file/d/{}/view"
ZOO = "MCG-NJU/VideoMAE MODEL_ZOO.md"
LICENCE = "CC-BY-NC-4.0"
BY_HAND = (
    "Google Drive asks a question before large files, which a program cannot always answer: if fetching fails, "
    "download the file in a browser and give it as checkpoint_path"
)
TWO_LAYOUTS = (
    "the hub's file is in transformers' layout ({}), the one on Google Drive in the authors' ({}); both are read"
)
CONVERTED = "transformers' own classes norm with other epsilons than the authors; here the authors' are used"
SIX_HEADS = (
    "transformers' conversion helper sets 16 heads for the small model, the authors' has 6, and so has ours: check "
    "num_attention_heads in the hub's config before trusting a model of transformers"
)
OTHER_POOLING = "transformers' ForVideoClassification on this file would classify by token 0; the authors take the mean"
NORM = "the authors' fine-tuning leaves encoder.norm and the decoder out and starts a norm after pooling afresh"


def _weights(drive: str, hub: str, num_classes: int, layout: str) -> Weights:
    """Files on the hub, where there are, and on Google Drive; a repository may hold either form on the hub."""
    files = ("model.safetensors", "pytorch_model.bin") if hub else ()
    return Weights(
        sources=(
            *(Source(hf_repo=f"MCG-NJU/videomae-{hub}", hf_file=file) for file in files),
            Source(url=DRIVE.format(drive)),
        ),
        # The two layouts differ, so the file that came says which it has.
        layout="" if hub else layout,
        num_classes=num_classes,
        code_licence=LICENCE,
        weight_licence=LICENCE,
    )


def _file_notes(hub: str, theirs: str, ours: str) -> tuple[str, ...]:
    return (TWO_LAYOUTS.format(theirs, ours), CONVERTED) if hub else (BY_HAND,)


def _pretrained(size: str, data: str, epochs: int, drive: str, hub: str = "", *notes: str) -> Card:
    """A pretraining row; training crops at several scales and never flips."""
    return Card(
        architecture=f"videomae_{size}",
        tag=f"{data}_pt_e{epochs}",
        weights=_weights(drive, hub, 0, "VideoMAE pretraining"),
        clip=ClipSpec(num_frames=16, sampling="dense", stride=2 if data == "ssv2" else 4, img_size=224, flip=False),
        dataset=data,
        task="pretraining",
        notes=(
            *notes,
            f"{epochs} epochs, tube masks of {75 if data == 'ucf101' else 90} %",
            *((OTHER_POOLING,) if hub else ()),
            NORM,
            *_file_notes(hub, "VideoMAEForPreTraining", "encoder.*, decoder.*"),
        ),
    )


CLASSES = {"k400": 400, "ssv2": 174, "ucf101": 101}
# Kinetics in MMAction2's and transformers' alphabetical order, Something-Something by its own label file.
LABELS = {"k400": "k400_alphabetical", "ssv2": "ssv2", "ucf101": ""}


def _classifier(
    size: str, data: str, epochs: int, top1: float, top5: float, drive: str, hub: str = "", *notes: str
) -> Card:
    """A fine-tuning row, of the network pretrained on the same data for so many epochs."""
    motion = data == "ssv2"
    clip = ClipSpec(
        num_frames=16,
        sampling="segments" if motion else "strided",
        stride=1 if motion else 4,
        img_size=224,
        clips=2 if motion else 5,
        crops=3,
        flip=not motion,
    )
    return Card(
        architecture=f"videomae_{size}",
        tag=f"{data}_pt_e{epochs}_{data}_ft",
        weights=_weights(drive, hub, CLASSES[data], "VideoMAE fine-tuned"),
        clip=clip,
        dataset=data,
        labels=LABELS[data],
        reported=(Reported(data, "top1", top1, ZOO), Reported(data, "top5", top5, ZOO)),
        notes=(
            *notes,
            f"started from videomae_{size}.{data}_pt_e{epochs}",
            *_file_notes(hub, "VideoMAEForVideoClassification", "fc_norm.*, head.*"),
        ),
    )


BAD_SCRIPT = "the script's link in this row of the model zoo points at the large model's"
ONCE = "fine-tuned without repeated augmentation"
VIDEOMAE = (
    _pretrained("small", "k400", 1600, "1nU-H1u3eJ-VuyCveU7v-WIOcAVxs5Hww"),
    _classifier(
        "small", "k400", 1600, 79.0, 93.8, "1ygjLRm1kvs9mwGsP3lLxUExhRo6TWnrx", "small-finetuned-kinetics", SIX_HEADS
    ),
    _pretrained("base", "k400", 800, "1JfrhN144Hdg7we213H1WxwR3lGYOlmIn", "base-short"),
    _classifier(
        "base",
        "k400",
        800,
        80.0,
        94.4,
        "18EEgdXY9347yK3Yb28O-GxFMbk41F6Ne",
        "base-short-finetuned-kinetics",
        f"{ONCE}; with it the table prints 81.0 and 94.8, of which there is no file",
    ),
    _pretrained("base", "k400", 1600, "1tEhLyskjb755TJ65ptsrafUG2llSwQE1", "base"),
    _classifier(
        "base", "k400", 1600, 81.5, 95.1, "1MzwteHH-1yuMnFb8vRBQDvngV1Zl-d3z", "base-finetuned-kinetics", BAD_SCRIPT
    ),
    _pretrained("large", "k400", 1600, "1qLOXWb_MGEvaI7tvuAe94CV7S2HXRwT3", "large"),
    _classifier("large", "k400", 1600, 85.2, 96.8, "1jX1CiqxSkCfc94y8FRW1YGHy-GNvHCuD", "large-finetuned-kinetics"),
    _pretrained("huge", "k400", 1600, "1AJQR1Rsi2N1pDn9tLyJ8DQrUREiBA1bO"),
    _classifier("huge", "k400", 1600, 86.6, 97.1, "104ouJZxSVPSAm0LwJXd6IzjdA_RGLqZi", "huge-finetuned-kinetics"),
    _pretrained("small", "ssv2", 2400, "1p_I1aaONOeUvRmRQw1UT3-L2H8XJClHu"),
    _classifier(
        "small", "ssv2", 2400, 66.8, 90.3, "1ajlMrT06jiiM-5YjNI2X_UFyzsuYbbtZ", "small-finetuned-ssv2", SIX_HEADS
    ),
    _pretrained("base", "ssv2", 800, "181hLvyrrPW2IOGA46fkxdJk0tNLIgdB2", "base-short-ssv2"),
    _classifier(
        "base", "ssv2", 800, 69.6, 92.0, "1xZCiaPF4w7lYmLt5o1D5tIZyDdLtJAvH", "base-short-finetuned-ssv2", ONCE
    ),
    _pretrained("base", "ssv2", 2400, "1I18dY_7rSalGL8fPWV82c0-foRUDzJJk", "base-ssv2"),
    _classifier("base", "ssv2", 2400, 70.8, 92.4, "1dt_59tBIyzdZd5Ecr22lTtzs_64MOZkT", "base-finetuned-ssv2"),
    _pretrained("base", "ucf101", 3200, "1BHev4meNgKM0o_8DMRbuzAsKSP3IpQ3o"),
    _classifier("base", "ucf101", 3200, 91.3, 98.5, "1MSyon6fPpKz7oqD6WDGPFK4k_Rbyb6fw"),
)

STORE = "https://dl.fbaipublicfiles.com/video-mae/pretrain/"
# The same networks as PySlowFast saved them; no list of their names is known to us.
PYSLOWFAST = "https://dl.fbaipublicfiles.com/mae_st/pretrain/vit_{}/{}_400ep_rep4_mr9_16x4.pyth"


def _mae_st(size: str, data: str, md5_prefix: str, *reported: Reported) -> Card:
    """A pretraining file of mae_st: random masks of 90 %, 400 epochs of 4 samples per clip."""
    return Card(
        architecture=f"mae_st_{size}",
        tag=f"{data}_pt",
        weights=Weights(
            sources=(Source(url=f"{STORE}mae_pretrain_vit_{size}_{data}.pth"),),
            layout="mae_st pretraining, separable positions",
            md5_prefix=md5_prefix,
            code_licence=LICENCE,
            weight_licence=LICENCE,
        ),
        clip=ClipSpec(
            num_frames=16,
            sampling="dense",
            stride=4,
            img_size=224,
            mean=(0.45, 0.45, 0.45),
            std=(0.225, 0.225, 0.225),
        ),
        # Also when classes are asked for: the fine-tuning form of the authors has patches of 16 px.
        overrides={"patch_size": 14} if size == "huge" else {},
        dataset=data,
        task="pretraining",
        reported=reported,
        notes=(
            f"trained in PySlowFast and converted by the authors; as it was before, in a layout that the zoo does not "
            f"read: {PYSLOWFAST.format(size[0], data)}",
            "sizes and tables are the README's; no file was opened",
            *(("patches of 14 px here, of 16 px in the authors' fine-tuning",) if size == "huge" else ()),
        ),
    )


MAE_ST = (
    _mae_st(
        "large",
        "k400",
        "edf3a5",
        Reported("k400", "top1 after fine-tuning", 84.35, "facebookresearch/mae_st FINETUNE.md"),
    ),
    _mae_st("large", "k600", "9a9645"),
    _mae_st("large", "k700", "cdbada"),
    _mae_st("huge", "k400", "3d7f64"),
    _mae_st("huge", "k600", "27495e"),
    _mae_st("huge", "k700", "4c4e3c"),
)
CARDS: tuple[Card, ...] = (*VIDEOMAE, *MAE_ST)
