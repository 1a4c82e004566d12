"""UMT's released multimodal files: 6 pretrained, 14 fine-tuned for retrieval, 6 for answering questions.

Facts: OpenGVLab/unmasked_teacher, multi_modality/MODEL_ZOO.md after the authors' correction of MSVD on 2023-09-25
(files, numbers) and its configs. The zoo has no such network yet: these cards say what there is and that it cannot be
built.
"""

from collections.abc import Mapping

from zoo.card import Card, ClipSpec, Reported, Source, Weights
from zoo.cards.umt_weights import LICENCE, WEIGHT_LICENCE

STORE = "https://pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com/umt/multi_modality/"
ZOO = "OpenGVLab/unmasked_teacher multi_modality/MODEL_ZOO.md"
MISSING = (
    "the multimodal network (BERT beside the vision transformer, fused by cross-attention{}) is not part of the zoo "
    "yet; the vision part lies in the file under vision_encoder.*"
)
INFERRED = (
    "the link in the model zoo's table points at the B/16 file; this address follows the others' names and was not "
    "checked"
)
CORPORA: Mapping[str, str] = {
    "5m": "cc3m+webvid2m",
    "17m": "cc3m+cc12m+coco+vg+sbu+webvid2m",
    "25m": "cc3m+cc12m+coco+vg+sbu+webvid10m",
}
# Zero-shot retrieval: R@1, R@5, R@10 of text-to-video, then of video-to-text.
ZERO_SHOT: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("base", "5m"): {
        "msrvtt": "29.6 52.8 61.9 26.2 46.7 54.9",
        "didemo": "33.4 58.3 67.0 32.0 58.7 68.2",
        "activitynet": "28.3 53.0 64.2 25.9 50.2 61.7",
        "lsmdc": "16.8 30.5 37.6 12.9 27.4 33.6",
        "msvd": "36.2 65.7 76.1 58.5 78.7 84.3",
    },
    ("base", "17m"): {
        "msrvtt": "35.5 59.3 68.6 31.6 53.5 64.1",
        "didemo": "41.9 66.7 75.0 40.3 66.6 75.8",
        "activitynet": "33.8 59.1 70.4 31.6 56.2 67.9",
        "lsmdc": "18.1 33.1 40.0 16.0 29.9 35.7",
        "msvd": "41.4 70.6 80.1 62.5 80.8 87.0",
    },
    ("base", "25m"): {
        "msrvtt": "35.2 57.8 66.0 30.3 50.7 61.4",
        "didemo": "41.2 65.4 74.9 40.8 67.7 76.7",
        "activitynet": "35.5 60.6 71.8 32.8 57.6 69.2",
        "lsmdc": "19.1 33.4 42.2 15.7 30.6 37.4",
        "msvd": "42.3 71.7 80.8 61.9 82.5 88.5",
    },
    ("large", "5m"): {
        "msrvtt": "33.3 58.1 66.7 30.2 51.3 61.6",
        "didemo": "34.0 60.4 68.7 36.2 60.0 68.6",
        "activitynet": "31.9 60.2 72.0 30.0 59.1 71.3",
        "lsmdc": "20.0 37.2 43.7 16.1 32.0 39.2",
        "msvd": "44.4 73.3 82.4 66.1 85.5 89.4",
    },
    ("large", "17m"): {
        "msrvtt": "42.6 64.4 73.1 38.6 59.8 69.6",
        "didemo": "46.4 70.0 78.8 46.5 72.2 79.5",
        "activitynet": "42.8 69.6 79.8 40.7 67.6 78.6",
        "lsmdc": "25.2 43.0 50.5 23.2 37.7 44.2",
        "msvd": "49.9 77.7 85.3 75.4 89.6 94.0",
    },
    ("large", "25m"): {
        "msrvtt": "40.7 63.4 71.8 37.1 58.7 68.9",
        "didemo": "48.6 72.9 79.0 49.9 74.8 81.4",
        "activitynet": "41.9 68.9 80.3 39.4 66.8 78.3",
        "lsmdc": "24.9 41.7 51.8 21.9 37.8 45.7",
        "msvd": "49.0 76.9 84.7 74.5 89.7 92.8",
    },
}
# The same after fine-tuning; Something-Something has text-to-video only.
FINE_TUNED: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("base", "5m"): {
        "msrvtt": "46.3 72.7 82.0 44.4 72.8 80.7",
        "didemo": "54.8 83.0 89.0 52.9 80.2 85.8",
        "activitynet": "52.1 80.5 89.6 50.0 79.8 88.2",
        "lsmdc": "30.3 51.8 61.4 29.8 52.2 60.5",
        "msvd": "47.4 76.8 84.0 69.1 85.8 92.1",
        "ssv2-label": "63.1 87.1 92.3",
        "ssv2-template": "87.3 100.0 100.0",
    },
    ("base", "17m"): {
        "msrvtt": "50.6 75.4 83.5 49.4 76.7 83.5",
        "didemo": "60.8 85.1 91.0 59.5 83.8 90.7",
        "activitynet": "56.1 82.5 91.2 54.6 82.1 91.1",
        "lsmdc": "32.3 54.5 61.9 31.5 53.6 61.9",
        "msvd": "49.6 78.5 85.7 71.6 88.8 92.7",
        "ssv2-label": "63.4 88.0 92.9",
        "ssv2-template": "86.8 99.4 100.0",
    },
    ("base", "25m"): {
        "msrvtt": "51.0 76.5 84.2 49.0 77.0 84.7",
        "didemo": "61.6 86.8 91.5 59.5 84.9 90.5",
        "activitynet": "58.3 83.9 91.5 56.0 83.5 91.7",
        "lsmdc": "32.7 54.7 63.4 32.7 53.5 63.2",
        "msvd": "50.8 79.7 86.2 73.3 89.6 93.7",
        "ssv2-label": "64.2 88.2 92.7",
        "ssv2-template": "87.9 99.4 100.0",
    },
    ("large", "5m"): {
        "msrvtt": "53.3 76.6 83.9 51.4 76.3 82.8",
        "didemo": "59.7 84.9 90.8 59.5 84.5 90.7",
        "activitynet": "58.1 85.5 92.9 55.4 84.4 92.9",
        "lsmdc": "37.7 60.6 67.3 36.2 58.9 65.7",
        "msvd": "53.7 80.5 86.8 77.2 91.6 94.8",
        "ssv2-label": "70.5 92.4 95.5",
        "ssv2-template": "90.2 99.4 100.0",
    },
    ("large", "17m"): {
        "msrvtt": "56.5 80.1 87.4 56.7 79.6 86.7",
        "didemo": "66.6 89.9 93.7 66.4 87.5 92.9",
        "activitynet": "66.6 88.6 94.7 64.3 87.8 94.8",
        "lsmdc": "41.4 63.8 72.3 40.3 63.1 71.1",
        "msvd": "57.4 83.0 88.5 82.4 93.6 96.0",
        "ssv2-label": "73.1 93.2 96.4",
        "ssv2-template": "90.8 100.0 100.0",
    },
    ("large", "25m"): {
        "msrvtt": "58.8 81.0 87.1 58.6 81.6 86.5",
        "didemo": "70.4 90.1 93.5 65.7 89.6 93.3",
        "activitynet": "66.8 89.1 94.9 64.4 89.1 94.8",
        "lsmdc": "43.0 65.5 73.0 41.4 64.3 71.5",
        "msvd": "58.2 83.9 89.6 82.4 94.6 96.7",
        "ssv2-label": "73.3 92.7 96.9",
        "ssv2-template": "90.8 99.4 100.0",
    },
}
# Accuracy of answers after fine-tuning.
ANSWERS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("base", "5m"): {
        "activitynet-qa": 43.5,
        "msrvtt-qa": 44.3,
        "msrvtt-mc": 95.9,
        "msvd-qa": 49.1,
    },
    ("base", "17m"): {
        "activitynet-qa": 44.9,
        "msrvtt-qa": 44.9,
        "msrvtt-mc": 96.3,
        "msvd-qa": 48.9,
    },
    ("base", "25m"): {
        "activitynet-qa": 44.8,
        "msrvtt-qa": 44.9,
        "msrvtt-mc": 96.3,
        "msvd-qa": 49.5,
    },
    ("large", "5m"): {
        "activitynet-qa": 45.1,
        "msrvtt-qa": 45.5,
        "msrvtt-mc": 96.8,
        "msvd-qa": 51.3,
    },
    ("large", "17m"): {
        "activitynet-qa": 47.3,
        "msrvtt-qa": 46.4,
        "msrvtt-mc": 97.7,
        "msvd-qa": 53.4,
    },
    ("large", "25m"): {
        "activitynet-qa": 47.9,
        "msrvtt-qa": 47.1,
        "msrvtt-mc": 97.3,
        "msvd-qa": 55.2,
    },
}


def _weights(file: str) -> Weights:
    return Weights(sources=(Source(url=STORE + file),), code_licence=LICENCE, weight_licence=WEIGHT_LICENCE)


def _ranks(tables: Mapping[str, str], how: str) -> tuple[Reported, ...]:
    """Every number of a retrieval table; `how` goes before the metric, such as "zero-shot "."""
    metrics = [f"{how}{way} R@{rank}" for way in ("t2v", "v2t") for rank in (1, 5, 10)]
    return tuple(
        Reported(data, metric, float(value), ZOO)
        for data, row in tables.items()
        # A row without video-to-text has three numbers.
        for metric, value in zip(metrics, row.split(), strict=False)
    )


def _answers(size: str, corpus: str, how: str, only: str = "") -> tuple[Reported, ...]:
    return tuple(
        Reported(data, f"{how}accuracy", value, ZOO)
        for data, value in ANSWERS[size, corpus].items()
        if only in ("", data)
    )


def _pretrained(size: str, corpus: str) -> Card:
    """Stage 2: captions matched, contrasted and completed, tokens aligned with CLIP's."""
    teacher = "CLIP ViT-B/16" if size == "base" else "CLIP ViT-L/14"
    return Card(
        architecture=f"umt_mm_{size}",
        tag=f"pt_{corpus}",
        weights=_weights(f"{size[0]}16_{corpus}.pth"),
        clip=ClipSpec(num_frames=4, sampling="segments", img_size=224, interpolation="bicubic"),
        dataset=CORPORA[corpus],
        task="pretraining",
        reported=(
            *_ranks(ZERO_SHOT[size, corpus], "zero-shot "),
            *_ranks(FINE_TUNED[size, corpus], "fine-tuned "),
            *_answers(size, corpus, "fine-tuned "),
        ),
        notes=(
            f"the file also holds the frozen teacher, {teacher} (clip_teacher.*)",
            "zero-shot results are of 4 frames, re-ranked by the matching head; a user got less (thread 49)",
            "the first version of the paper printed MSVD too high, because captions were joined to paragraphs",
            f"started from umt_{size}.k710_pt_f8_res224",
        ),
        missing=MISSING.format(""),
    )


def _retrieval(size: str, tag: str, data: str, text: int, *notes: str) -> Card:
    """Fine-tuned for retrieval on `data` with texts of at most `text` tokens."""
    return Card(
        architecture=f"umt_mm_{size}",
        tag=f"pt_25m_ret_{tag}",
        weights=_weights(f"ret_{tag}_{size[0]}16_25m.pth"),
        clip=ClipSpec(num_frames=12, sampling="segments", img_size=224, interpolation="bicubic"),
        dataset=data,
        task="retrieval",
        reported=_ranks({data: FINE_TUNED[size, "25m"][data]}, ""),
        notes=(
            *notes,
            f"texts of at most {text} tokens; the best 128 of each query are re-ranked by the matching head",
            f"started from umt_mm_{size}.pt_25m",
        ),
        missing=MISSING.format(""),
    )


def _question(size: str, tag: str, data: str, *notes: str) -> Card:
    """Fine-tuned to answer questions: an answer of a list by its probability, the first 128 re-ranked."""
    return Card(
        architecture=f"umt_mm_{size}",
        tag=f"pt_25m_qa_{tag}",
        weights=_weights(f"qa_{tag}_{size[0]}16_25m.pth"),
        clip=ClipSpec(num_frames=12, sampling="segments", img_size=224, interpolation="bicubic"),
        dataset=data,
        task="question answering",
        reported=_answers(size, "25m", "", data),
        notes=(
            *notes,
            "questions of at most 25 tokens, answers of 5",
            "the released code calls the vision encoder with one argument too many and stops with a TypeError",
            f"started from umt_mm_{size}.pt_25m",
        ),
        missing=MISSING.format(", and a BERT decoder"),
    )


COPIED = "the released config of this row is a copy of the large model's (width 1024, BERT-large)"
LSMDC_TEXT = "the base model's zero-shot config takes 64 tokens"
RETRIEVAL = (
    ("msrvtt", "msrvtt", 32),
    ("didemo", "didemo", 64),
    ("anet", "activitynet", 150),
    ("lsmdc", "lsmdc", 96),
    ("msvd", "msvd", 64),
    ("ssv2_label", "ssv2-label", 25),
    ("ssv2_tpl", "ssv2-template", 25),
)
QUESTIONS = (("anet", "activitynet-qa"), ("msrvtt", "msrvtt-qa"), ("msvd", "msvd-qa"))
CONFLICTS: Mapping[tuple[str, str], str] = {
    ("large", "ssv2_tpl"): INFERRED,
    ("base", "lsmdc"): LSMDC_TEXT,
    ("base", "msrvtt-qa"): COPIED,
    ("large", "msvd-qa"): INFERRED,
}


def _conflict(size: str, row: str) -> tuple[str, ...]:
    return (CONFLICTS[size, row],) if (size, row) in CONFLICTS else ()


CARDS: tuple[Card, ...] = (
    *(_pretrained(size, corpus) for size in ("base", "large") for corpus in CORPORA),
    *(
        _retrieval(size, tag, data, text, *_conflict(size, tag))
        for tag, data, text in RETRIEVAL
        for size in ("base", "large")
    ),
    *(_question(size, tag, data, *_conflict(size, data)) for tag, data in QUESTIONS for size in ("base", "large")),
)
