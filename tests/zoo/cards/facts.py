"""What the registry of released files says, in the words of the cards."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zoo.card import Card
from zoo.cards import clip, umt, videomamba, vit

RELEASED: list[Card] = [card for family in (videomamba, umt, vit, clip) for card in family.CARDS]
CARDS: dict[str, Card] = {card.name: card for card in RELEASED}
BUILDABLE = {name: card for name, card in CARDS.items() if not card.missing}
NO_VIEWS = {"clips": 1, "crops": 1}
DATA = {
    "imagenet-1k": "in1k",
    "kinetics-400": "k400",
    "something-something-v2": "ssv2",
    "Moments in Time V1": "mitv1",
    "AVA v2.2": "ava22",
    "WIT-400M (OpenAI)": "wit400m",
    "CC3M + WebVid-2M": "cc3m+webvid2m",
    "5M + COCO + VG + SBU + CC12M": "cc3m+webvid2m+coco+vg+sbu+cc12m",
    "17M with WebVid-10M in place of WebVid-2M": "cc3m+webvid10m+coco+vg+sbu+cc12m",
}


class Facts(NamedTuple):
    """Facts of an entry, or of a card."""

    frames: int
    img_size: int
    num_classes: int
    views: dict[str, int]
    dataset: str
    repo: str
    files: set[str]
    numbers: list[tuple[str, str, float]]


def entries() -> dict[str, dict[str, Any]]:
    """Every entry of these families by name; skips the test where the registry is not."""
    folder = Path(os.environ.get("ZOO_FIXTURES", "nowhere")).parent / "registry"
    found = {}
    for file in ("registry-videomamba.json", "registry-umt-videomae.json"):
        if not (folder / file).exists():
            pytest.skip("the registry of released files is not here; set ZOO_FIXTURES to shared/fixtures")
        for entry in json.loads((folder / file).read_text())["entries"]:
            assert entry["name"] not in found
            found[entry["name"]] = entry
    return found


def _data(name: str) -> str:
    """A data set of the registry in our words."""
    return DATA.get(name, name.partition(" (")[0].lower())


def of_entry(entry: dict[str, Any]) -> Facts:
    """Both registries in one form."""
    options, clip_ = entry.get("arch_kwargs") or entry["kwargs"], entry.get("input") or entry
    urls = entry.get("source_urls") or [entry["url"]]
    return Facts(
        frames=clip_["frames"],
        img_size=clip_.get("res") or clip_["resolution"],
        num_classes=options.get("num_classes", 0),
        views=entry["views"] or NO_VIEWS,
        dataset=_data(entry["dataset"]),
        repo=entry["hf_repo"] or "",
        files={url for url in urls if url and "huggingface.co" not in url} | {entry.get("hf_file") or ""} - {""},
        numbers=sorted(_numbers(entry)),
    )


def of_card(card: Card) -> Facts:
    sources, hub = card.weights.sources, {"model.safetensors", "pytorch_model.bin"}
    repos = {it.hf_repo for it in sources} - {""}
    assert len(repos) <= 1
    return Facts(
        frames=card.clip.num_frames,
        img_size=card.clip.img_size,
        num_classes=card.weights.num_classes,
        views={"clips": card.clip.clips, "crops": card.clip.crops},
        dataset=card.dataset,
        repo="".join(repos),
        files={it.url or it.hf_file for it in sources} - hub,
        numbers=sorted((it.dataset, it.metric, it.value) for it in card.reported),
    )


def _numbers(entry: dict[str, Any]) -> list[tuple[str, str, float]]:
    """Every number of an entry as data set, metric and value."""
    data, metric = _data(entry["dataset"]), entry["metric"]
    if isinstance(metric, str) and metric.startswith("zero-shot"):
        return [
            (test, f"zero-shot {way} R@{rank}", value)
            for test, rows in entry["value"].items()
            for way, row in zip(("t2v", "v2t"), rows, strict=True)
            for rank, value in zip((1, 5, 10), row, strict=True)
        ]
    if isinstance(metric, str) or "input" in entry:
        flops = {"GFLOPs per view": entry.get("gflops_per_view"), "GFLOPs": entry.get("flops_g")}
        numbers = {metric: entry["value"], "top5": entry.get("top5"), **flops}
        return [(data, name, value) for name, value in numbers.items() if value is not None]
    metric = metric or {}
    if "zero_shot_retrieval" in metric:
        tuned = entry["reference_finetuned"]
        answers = [(test.lower(), "fine-tuned accuracy", value) for test, value in tuned["qa"].items()]
        return [
            *_ranks(metric["zero_shot_retrieval"], "zero-shot "),
            *_ranks(tuned["retrieval"], "fine-tuned "),
            *answers,
        ]
    if "T2V" in metric:
        return _ranks({entry["dataset"]: metric}, "")
    names = {"k400_top1_after_finetune": "top1 after fine-tuning"}
    return [(data, names.get(name, name), value) for name, value in metric.items()]


def _ranks(tables: dict[str, Any], how: str) -> list[tuple[str, str, float]]:
    return [
        (test.lower(), f"{how}{way.lower()} R@{rank[1:]}", value)
        for test, ways in tables.items()
        for way, row in ways.items()
        for rank, value in row.items()
    ]
