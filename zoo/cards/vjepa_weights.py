"""Every released file of V-JEPA and V-JEPA 2: encoders, probes, transformers' copies, and what cannot be built yet.

A probe's file holds the head only; its `backbone` names the card of the frozen encoder. Numbers are percent.

Sources: README of facebookresearch/jepa and of facebookresearch/vjepa2, arXiv 2404.08471 (V-JEPA) and 2506.09985
(V-JEPA 2), the Hugging Face collection facebook/v-jepa-2.
"""

from collections.abc import Mapping
from typing import NamedTuple

from zoo.card import Card, Classifier, ClipSpec, Reported, Source, Weights

ENCODER, ENCODER_2 = "V-JEPA encoder", "V-JEPA 2 encoder"
PROBE, PROBE_2, ANTICIPATION = "V-JEPA probe", "V-JEPA 2 probe", "V-JEPA 2 anticipation probe"
HF_MODEL, HF_CLASSIFIER = "V-JEPA 2, transformers", "V-JEPA 2 classifier, transformers"

_URL, _URL_2 = "https://dl.fbaipublicfiles.com/jepa/", "https://dl.fbaipublicfiles.com/vjepa2/"
_README, _README_2 = "facebookresearch/jepa README", "facebookresearch/vjepa2 README"
_TABLES_2 = "arXiv 2506.09985 Tables 4 and 5"
_TOP1 = "top-1"
_FROZEN, _FROZEN_4 = "top-1, frozen attentive probe", "top-1, frozen four-layer attentive probe"
_NO_ORDER = "the authors publish no class order: it is that of the csv files with which they trained"
_SHUFFLED = "printed accuracy is a mean over batches of clips placed at random; expect a few hundredths of difference"

_FALLBACK = "where a file has no 'target_encoder' the authors' loaders take 'encoder'"
_OPTIMISER = "a training file: it also holds the context encoder, the predictor and the optimiser"


class _First(NamedTuple):
    """An encoder of V-JEPA, whose probes report the same numbers; AVA is mAP."""

    folder: str
    side: int
    k400: float
    ssv2: float
    in1k: float
    places205: float
    inat21: float
    ava: float


# Folder and numbers: README; AVA: arXiv 2404.08471, Table 6.
FIRST: Mapping[str, _First] = {
    "vjepa_large_16_224": _First("vitl16", 224, 80.8, 69.5, 74.8, 60.3, 67.8, 25.6),
    "vjepa_huge_16_224": _First("vith16", 224, 82.0, 71.4, 75.9, 61.7, 67.9, 25.8),
    "vjepa_huge_16_384": _First("vith16-384", 384, 81.9, 72.2, 77.4, 62.8, 72.6, 25.0),
}
# Name in the file's name, classes, segments and views; an image is one clip of 16 equal frames.
FIRST_PROBES = {
    "k400": ("k400", 400, 8, 3),
    "ssv2": ("ssv2", 174, 2, 3),
    "in1k": ("in1k", 1000, 1, 1),
    "places205": ("places", 205, 1, 1),
    "inat21": ("inat", 10_000, 1, 1),
}


def _weights(url: str, layout: str, *, entry: str, licence: str, num_classes: int = 0) -> Weights:
    return Weights(
        sources=(Source(url=url),),
        layout=layout,
        entry=entry,
        num_classes=num_classes,
        code_licence=licence.partition(" (")[0],
        weight_licence=licence,
    )


def _first_encoder(name: str, row: _First) -> Card:
    numbers = {dataset: getattr(row, dataset) for dataset in FIRST_PROBES}
    reported = [Reported(dataset, _FROZEN, value, _README) for dataset, value in numbers.items()]
    url = f"{_URL}{row.folder}/{row.folder}.pth.tar"
    return Card(
        architecture=name,
        tag="videomix2m",
        weights=_weights(url, ENCODER, entry="target_encoder", licence="CC-BY-NC-4.0"),
        clip=ClipSpec(num_frames=16, sampling="vjepa", stride=4, img_size=row.side, clips=8, crops=3),
        dataset="videomix2m",
        task="pretraining",
        reported=(*reported, Reported("ava", "mAP, frozen backbone", row.ava, "arXiv 2404.08471 Table 6")),
        notes=(
            "the numbers are those of attentive probes on the frozen encoder, which have files of their own",
            "IN1K 77.9 of the abstract (H at 384 px) is a probe of two layers; the released one of one layer has 77.4",
            _FALLBACK,
            _OPTIMISER,
            "the authors' loader silently ignores a position table for other clips; so does ours, and says so",
        ),
    )


def _first_probe(name: str, row: _First, dataset: str) -> Card:
    short, num_classes, clips, crops = FIRST_PROBES[dataset]
    image = clips == 1
    clip = ClipSpec(
        num_frames=16,
        # An image is repeated: all its frames are one.
        sampling="uniform" if image else "vjepa",
        stride=1 if image else 4,
        img_size=row.side,
        short_side=row.side * 256 // 224 if image else None,
        clips=clips,
        crops=crops,
        flip=dataset != "ssv2",
    )
    images = ("an image becomes a clip of 16 equal frames",) if image else ()
    url = f"{_URL}{row.folder}/{short}-probe.pth.tar"
    return Card(
        architecture=name,
        tag=f"videomix2m_probe_{dataset}",
        weights=_weights(url, PROBE, entry="classifier", licence="CC-BY-NC-4.0", num_classes=num_classes),
        classifier=Classifier(pool="mean", kind="attentive", num_heads=16),
        clip=clip,
        dataset=dataset,
        labels={"ssv2": "ssv2", "k400": "k400_vjepa"}.get(dataset, ""),
        task="probe",
        backbone=f"{name}.videomix2m",
        reported=(Reported(dataset, _TOP1, getattr(row, dataset), _README),),
        notes=(
            *images,
            "the file's xattn.proj is not used: the authors' code never applies it (jepa issue 94)",
            "the probe sees the tokens of all segments of a view at once; probabilities are averaged over views",
            _NO_ORDER,
            _SHUFFLED,
        ),
    )


class _Second(NamedTuple):
    """An encoder of V-JEPA 2: its file, transformers' repository, side, and numbers by data set."""

    file: str
    repository: str
    side: int
    numbers: Mapping[str, float]


# arXiv 2506.09985: Table 4, and Table 5 for EPIC-KITCHENS-100 (recall at 5 of actions).
SECOND: Mapping[str, _Second] = {
    "vjepa2_large_16_256": _Second(
        "vitl.pt",
        "vjepa2-vitl-fpc64-256",
        256,
        {"ssv2": 73.7, "diving48": 89.0, "jester": 97.6, "k400": 85.1, "coin": 86.8, "in1k": 83.5, "ek100": 32.7},
    ),
    "vjepa2_huge_16_256": _Second(
        "vith.pt",
        "vjepa2-vith-fpc64-256",
        256,
        {"ssv2": 74.0, "diving48": 89.8, "jester": 97.7, "k400": 85.3, "coin": 87.9, "in1k": 83.8, "ek100": 36.5},
    ),
    "vjepa2_giant_16_256": _Second(
        "vitg.pt",
        "vjepa2-vitg-fpc64-256",
        256,
        {"ssv2": 75.3, "diving48": 90.1, "jester": 97.7, "k400": 86.6, "coin": 90.7, "in1k": 84.6, "ek100": 38.0},
    ),
    "vjepa2_giant_16_384": _Second(
        "vitg-384.pt",
        "vjepa2-vitg-fpc64-384",
        384,
        {"ssv2": 77.3, "diving48": 90.2, "jester": 97.8, "k400": 87.3, "coin": 91.1, "in1k": 85.1, "ek100": 39.7},
    ),
}
RECALL = "recall@5 of actions, frozen probe"


def _second_encoder(name: str, row: _Second, *, hf: bool) -> Card:
    reported = [
        Reported(dataset, RECALL if dataset == "ek100" else _FROZEN_4, value, _TABLES_2)
        for dataset, value in row.numbers.items()
    ]
    if hf:
        weights = _hf_weights(row.repository, HF_MODEL)
        notes: tuple[str, ...] = (
            "which of encoder and target_encoder was converted is not stated; the authors' hub loader of the time took "
            "encoder, their evaluations take target_encoder, and features of the two differ a little",
            "the numbers are those of the same weights in the authors' files",
            "holds the predictor too",
        )
    else:
        weights = _weights(f"{_URL_2}{row.file}", ENCODER_2, entry="target_encoder", licence="MIT")
        notes = (
            "the authors' hub loader of the first release took 'encoder'; their evaluations take 'target_encoder'",
            _FALLBACK,
            _OPTIMISER,
            "which entries of a training file the released file keeps has not been checked on a download",
        )
    sizes = ("IN1K at 384 px is evaluated at 512 px in the paper",) if row.side == 384 else ()
    return Card(
        architecture=name,
        tag="videomix22m_hf" if hf else "videomix22m",
        weights=weights,
        clip=ClipSpec(num_frames=64, sampling="vjepa", stride=4, img_size=row.side, clips=8, crops=3),
        dataset="videomix22m",
        task="pretraining",
        reported=tuple(reported),
        notes=("trained on 4 frames per second; the last phase on clips of 64 frames", *sizes, *notes),
    )


def _hf_weights(repository: str, layout: str, num_classes: int = 0) -> Weights:
    return Weights(
        sources=(Source(hf_repo=f"facebook/{repository}", hf_file="model.safetensors"),),
        layout=layout,
        num_classes=num_classes,
        code_licence="MIT",
        weight_licence="MIT",
    )


class _Probe(NamedTuple):
    """A probe of V-JEPA 2, and transformers' classifier made of it; the heads of that one are the encoder's."""

    architecture: str
    dataset: str
    file: str
    repository: str
    frames: int
    stride: int
    clips: int
    layers: tuple[int, ...]
    value: float
    hf_heads: int


_L, _G = (17, 19, 21, 23), (24, 29, 34, 39)
# Files, frames, steps and views: README; layers: configs/eval of the repository.
SECOND_PROBES = (
    _Probe("vjepa2_large_16_256", "ssv2", "ssv2-vitl-16x2x3", "vitl-fpc16-256", 16, 4, 2, (), 73.7, 16),
    _Probe("vjepa2_giant_16_384", "ssv2", "ssv2-vitg-384-64x2x3", "vitg-fpc64-384", 64, 2, 2, (), 77.3, 22),
    _Probe("vjepa2_large_16_256", "diving48", "diving48-vitl-256", "vitl-fpc32-256", 32, 2, 4, _L, 89.0, 16),
    _Probe("vjepa2_giant_16_384", "diving48", "diving48-vitg-384-32x4x3", "vitg-fpc32-384", 32, 2, 4, _G, 90.2, 22),
)
SECOND_CLASSES = {"ssv2": 174, "diving48": 48}


def _second_probe(row: _Probe, *, hf: bool) -> Card:
    num_classes = SECOND_CLASSES[row.dataset]
    clip = ClipSpec(
        num_frames=row.frames,
        sampling="vjepa",
        stride=row.stride,
        img_size=SECOND[row.architecture].side,
        clips=row.clips,
        crops=3,
        flip=row.dataset != "ssv2",
    )
    if hf:
        weights = _hf_weights(f"vjepa2-{row.repository}-{row.dataset}", HF_CLASSIFIER, num_classes)
        classifier = Classifier(pool="mean", kind="attentive", num_heads=row.hf_heads, depth=4, attention_eps=1e-6)
        notes = _hf_notes(row)
    else:
        url = f"{_URL_2}evals/{row.file}.pt"
        weights = _weights(url, PROBE_2, entry="classifiers.0", licence="MIT", num_classes=num_classes)
        classifier = Classifier(pool="mean", kind="attentive", num_heads=16, depth=4, layers=row.layers)
        seen = f"sees the tokens of blocks {', '.join(map(str, row.layers))}, one after the other"
        notes = ((seen,) if row.layers else ()) + (_NO_ORDER, _SHUFFLED)
    return Card(
        architecture=row.architecture,
        tag=f"videomix22m_{row.dataset}_hf" if hf else f"videomix22m_probe_{row.dataset}",
        weights=weights,
        overrides={"num_frames": row.frames},
        classifier=classifier,
        clip=clip,
        dataset=row.dataset,
        labels="ssv2" if row.dataset == "ssv2" else "",
        task="classification" if hf else "probe",
        backbone="" if hf else f"{row.architecture}.videomix22m",
        reported=(Reported(row.dataset, _TOP1, row.value, _README_2),),
        notes=notes,
    )


def _hf_notes(row: _Probe) -> tuple[str, ...]:
    heads = "the pooler has 22 heads, as many as the encoder, while the authors' probe was trained with 16"
    layers = "the pooler sees the tokens of the last block only, while the authors' probe was trained on four blocks'"
    return (
        "the number is that of the authors' probe with all its views; it was not measured for this file",
        *([heads] if row.hf_heads != 16 else []),
        *([layers] if row.layers else []),
        "layer norms of the pooler have eps 1e-6, in the authors' probes 1e-5",
        "transformers' processor resizes to 256/224 of the crop and takes its centre, without further views",
        "the class names are id2label in the repository's config.json",
    )


# Verbs, nouns and actions that occur in the training annotations, as the authors count them. From memory of the
# statistics of arXiv 2006.13256 and confirmed by nothing: a file with other counts is refused with theirs.
EK100 = {"verb": 97, "noun": 289, "action": 3568}
# Table 5 of arXiv 2506.09985: recall at 5 of action, verb and noun.
ANTICIPATING = (
    ("vjepa2_large_16_256", "ek100-vitl-256.pt", (32.7, 57.8, 53.8)),
    ("vjepa2_giant_16_384", "ek100-vitg-384.pt", (39.7, 63.6, 57.1)),
)


def _anticipation(name: str, file: str, recalls: tuple[float, float, float]) -> Card:
    total = sum(EK100.values())
    return Card(
        architecture=name,
        tag="videomix22m_probe_ek100",
        weights=_weights(
            f"{_URL_2}evals/{file}", ANTICIPATION, entry="classifiers.0", licence="MIT", num_classes=total
        ),
        overrides={"num_frames": 32},
        classifier=Classifier(
            pool="mean", kind="attentive", num_heads=16, depth=4, questions=EK100, fps=8, seconds=1.0
        ),
        clip=ClipSpec(num_frames=32, sampling="dense", img_size=SECOND[name].side),
        dataset="ek100",
        task="probe",
        backbone=f"{name}.videomix22m",
        reported=tuple(
            Reported("ek100", f"recall@5 of {what}s", value, _README_2)
            for what, value in zip(("action", "verb", "noun"), recalls, strict=True)
        ),
        notes=(
            "action anticipation: looks at 32 frames, 8 per second, that end 1 second before the action",
            "needs the predictor of the backbone's file: the head sees the clip's tokens and those predicted for the "
            "tubelet after 1 second",
            "numbers of classes (97, 289, 3568 in the training annotations) are from memory: no file or list confirmed "
            "them; if the file has others, pass classifier=Classifier(..., questions={'verb': ..., ...})",
            "recall is the mean over the classes that occur in the validation set",
        ),
    )


class _Unbuilt(NamedTuple):
    """A file whose network the zoo does not have: architecture, tag, file, entry and what its clips look like."""

    architecture: str
    tag: str
    file: str
    entry: str
    frames: int
    side: int


UNBUILT_AC = (
    "the action-conditioned predictor of V-JEPA 2-AC (1024 wide, 24 deep, 16 heads) is not part of the zoo yet; its "
    "encoder is that of vjepa2_giant_16_256"
)
UNBUILT_2_1 = (
    "V-JEPA 2.1 differs from V-JEPA 2 in its rotary positions (interleaved, interpolated), has embeddings for images "
    "and modalities and norms for several layers, and is not part of the zoo yet"
)
_LICENCE_2_1 = "MIT (repository; not re-checked for these files)"
UNBUILT = (
    _Unbuilt("vjepa2_ac_giant_16_256", "droid", "vjepa2-ac-vitg.pt", "encoder", 8, 256),
    _Unbuilt("vjepa2_1_base_16_384", "videomix_dist", "vjepa2_1_vitb_dist_vitG_384.pt", "ema_encoder", 16, 384),
    _Unbuilt("vjepa2_1_large_16_384", "videomix_dist", "vjepa2_1_vitl_dist_vitG_384.pt", "ema_encoder", 16, 384),
    _Unbuilt("vjepa2_1_giant_16_384", "videomix", "vjepa2_1_vitg_384.pt", "target_encoder", 16, 384),
    _Unbuilt("vjepa2_1_gigantic_16_384", "videomix", "vjepa2_1_vitG_384.pt", "target_encoder", 16, 384),
)


def _unbuilt(row: _Unbuilt) -> Card:
    conditioned = row.tag == "droid"
    notes = (
        "the predictor is 12 blocks deep in the distilled files, 24 in the others, with 8 mask tokens; the released "
        "config of ViT-L said 24 although its file has 12 (vjepa2 issue 149)",
        "released in March 2026; number of frames as in V-JEPA, not stated in the registry",
    )
    return Card(
        architecture=row.architecture,
        tag=row.tag,
        weights=_weights(f"{_URL_2}{row.file}", "", entry=row.entry, licence="MIT" if conditioned else _LICENCE_2_1),
        clip=ClipSpec(num_frames=row.frames, sampling="vjepa", stride=4, img_size=row.side),
        dataset=row.tag.removesuffix("_dist"),
        task="pretraining",
        notes=("a world model of robot arms: it predicts what an action leads to",) if conditioned else notes,
        missing=UNBUILT_AC if conditioned else UNBUILT_2_1,
    )


CARDS: tuple[Card, ...] = (
    *(
        card
        for name, row in FIRST.items()
        for card in (_first_encoder(name, row), *(_first_probe(name, row, dataset) for dataset in FIRST_PROBES))
    ),
    *(_second_encoder(name, row, hf=hf) for name, row in SECOND.items() for hf in (False, True)),
    *(_second_probe(row, hf=False) for row in SECOND_PROBES),
    *(_anticipation(*row) for row in ANTICIPATING),
    *(_second_probe(row, hf=True) for row in SECOND_PROBES),
    *(_unbuilt(row) for row in UNBUILT),
)
