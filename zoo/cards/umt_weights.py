"""UMT's released files of one modality: 2 students, 17 action classifiers, 2 action detectors.

Facts: OpenGVLab/unmasked_teacher, single_modality/MODEL_ZOO.md (files, numbers) and exp/ (views); arXiv 2303.16058. The
files have no Hugging Face repository. The wrapper around the weights of a file ("model", "module" or none) is not known
before it is read. `umt_text_weights` has the multimodal ones.
"""

from zoo.card import Card, Classifier, ClipSpec, Reported, Source, Weights

STORE = "https://pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com/umt/single_modality/"
ZOO = "OpenGVLab/unmasked_teacher single_modality/MODEL_ZOO.md"
LICENCE = "MIT"
WEIGHT_LICENCE = "MIT (of the code; the weights state no licence of their own)"
# Detectors keep the final norm, which classifiers by mean pooling have in the head.
WITH_NORM = Classifier(pool="mean")

# The group's orders. The last part of a tag is the data set; "ft" alone is that of Kinetics-710 itself.
LABELS = {
    "k400": "k400_opengvlab",
    "k600": "k600_opengvlab",
    "k700": "k700_opengvlab",
    "ft": "k710_opengvlab",
    "ssv2": "ssv2",
}
ONE_CROP = "the script evaluates 4 clips x 1 crop, the table says 3 crops"
LABELS_K400 = (
    "the class order is the authors' own (UniFormer's) by all we know, but was not checked on these weights; the first "
    "400 rows of a K710 classifier have it too"
)
LABELS_REST = (
    "rows of a K710 classifier are picked by the authors' label_mixto{}.json, which is not in their repository"
)
SSV2_VIEWS = "the table says 4 clips x 3 crops; the script and the protocol of the data set take 2 x 3"
SSV2_FILE = (
    "the file name says ftk710; table and script start from the pretrained student, not the one fine-tuned on K710"
)
DETECTOR = (
    "the classifier belongs on boxes: tokens averaged over time, RoIAlign 7 x 7, maximum, then linear; a whole clip in "
    "place of a box is not what the mAP is of"
)
SPAN = "8 frames spread over a span of 300 around the key frame; boxes by a person detector, score at least 0.8"


def _weights(size: str, stages: str, clip: ClipSpec, num_classes: int, layout: str) -> Weights:
    """A file, whose name follows from size, training stages and clip."""
    file = f"{size[0]}16_{stages}_f{clip.num_frames}_res{clip.img_size}.pth"
    return Weights(
        sources=(Source(url=STORE + file),),
        layout=layout,
        num_classes=num_classes,
        code_licence=LICENCE,
        weight_licence=WEIGHT_LICENCE,
    )


def _student(size: str, teacher: str) -> Card:
    clip = ClipSpec(num_frames=8, sampling="uniform", img_size=224)
    return Card(
        architecture=f"umt_{size}",
        tag="k710_pt_f8_res224",
        weights=_weights(size, "ptk710", clip, 0, "UMT stage 1"),
        clip=clip,
        dataset="k710",
        task="pretraining",
        notes=(
            f"200 epochs, teacher {teacher}",
            "the teacher saw frames normalised with ImageNet's statistics, not CLIP's",
            "the authors' fine-tuning leaves the final norm out and starts one after pooling afresh",
        ),
    )


def _classifier(
    size: str,
    tag: str,
    stages: str,
    num_classes: int,
    top1: float,
    *notes: str,
    frames: int = 8,
    img_size: int = 224,
) -> Card:
    """A row of the tables; the last part of the tag is the data set."""
    dataset = tag.split("_")[-1]
    motion = dataset == "ssv2"
    clip = ClipSpec(
        num_frames=frames,
        sampling="segments" if motion else "uniform",
        img_size=img_size,
        clips=2 if motion else 4,
        crops=3,
        flip=not motion,
    )
    return Card(
        architecture=f"umt_{size}",
        tag=f"{tag}_f{frames}_res{img_size}",
        weights=_weights(size, stages, clip, num_classes, "UMT fine-tuned"),
        clip=clip,
        overrides={"num_frames": frames, "img_size": img_size},
        dataset="k710" if dataset == "ft" else dataset,
        labels=LABELS.get(dataset, ""),
        reported=(Reported("k710" if dataset == "ft" else dataset, "top1", top1, ZOO),),
        notes=notes,
    )


def _k710(size: str, top1: float) -> Card:
    start = f"started from umt_{size}.k710_pt_f8_res224"
    return _classifier(size, "k710_ft", "ptk710_ftk710", 710, top1, LABELS_K400, start)


def _kinetics(size: str, classes: int, top1: float, *notes: str, frames: int = 8) -> Card:
    """Kinetics-400, 600 or 700, each from the classifier of K710."""
    labels = LABELS_K400 if classes == 400 else LABELS_REST.format(classes)
    notes = (*notes, labels, f"started from umt_{size}.k710_ft_f8_res224")
    stages = f"ptk710_ftk710_ftk{classes}"
    return _classifier(size, f"k710_ft_k{classes}", stages, classes, top1, *notes, frames=frames)


def _moments(size: str, img_size: int, top1: float, *notes: str) -> Card:
    """Moments in Time V1, from the classifier of Kinetics-400."""
    notes = (*notes, f"started from umt_{size}.k710_ft_k400_f8_res224")
    if img_size != 224:
        notes = (*notes, "by the script it went on from the model of 224 px")
    stages = "ptk710_ftk710_ftk400_ftmitv1"
    return _classifier(size, "k710_ft_k400_ft_mitv1", stages, 339, top1, *notes, img_size=img_size)


def _motion(size: str, top1: float) -> Card:
    """Something-Something V2, from the pretrained student."""
    notes = (SSV2_VIEWS, SSV2_FILE, f"started from umt_{size}.k710_pt_f8_res224")
    return _classifier(size, "k710_pt_ssv2", "ptk710_ftk710_ftssv2", 174, top1, *notes)


def _detector(size: str, mean_ap: float, *notes: str) -> Card:
    """AVA v2.2: actions of persons in boxes."""
    clip = ClipSpec(num_frames=8, sampling="uniform", img_size=224)
    return Card(
        architecture=f"umt_{size}",
        tag="k710_ft_ava22_f8_res224",
        weights=_weights(size, "ptk710_ftk710_ftava", clip, 80, "UMT fine-tuned"),
        clip=clip,
        classifier=WITH_NORM,
        dataset="ava22",
        task="detection",
        reported=(Reported("ava22", "mAP", mean_ap, f"{ZOO}; action_detection/README"),),
        notes=(*notes, DETECTOR, SPAN, f"started from umt_{size}.k710_ft_f8_res224"),
    )


CARDS: tuple[Card, ...] = (
    _student("base", "CLIP ViT-B/16 at 224 px"),
    _student("large", "CLIP ViT-L/14 at 196 px"),
    _k710("base", 81.9),
    _k710("large", 86.0),
    _kinetics("base", 400, 87.4),
    _kinetics("large", 400, 90.3),
    _kinetics("large", 400, 90.6, ONE_CROP, frames=16),
    _kinetics("base", 600, 87.8),
    _kinetics("large", 600, 90.4),
    _kinetics("large", 600, 90.5, ONE_CROP, frames=16),
    _kinetics("base", 700, 78.5),
    _kinetics("large", 700, 83.2),
    _kinetics("large", 700, 83.6, ONE_CROP, frames=16),
    _moments("base", 224, 44.6),
    _moments("base", 384, 45.5, "the label of this row (384 px) of the model zoo says L/16, the file is B/16"),
    _moments("large", 224, 48.0),
    _moments("large", 384, 48.7, "the script evaluates 6 clips x 3 crops, the table says 4 x 3"),
    _motion("base", 70.8),
    _motion("large", 74.7),
    _detector("base", 33.5),
    _detector("large", 39.8, "trained without mixed precision, for stability"),
)
