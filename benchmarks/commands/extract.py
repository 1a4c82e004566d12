"""`zoo extract`: features of a frozen backbone, written for our protocols and for other tools."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.commands.models import named_model

if TYPE_CHECKING:
    from benchmarks.suite import Task
    from zoo.card import ClipSpec
    from zoo.data.records import Record
    from zoo.model import VideoModel

WORDS = "compute features of a frozen backbone once and keep them as files"
EXAMPLES = """\
examples:
  zoo extract umt_base.k710 --list val.csv --data videos --out features
  zoo extract NAME --suite k400 --data /data/k400 --split train --split val --out features --pool none
  zoo extract NAME --list val.csv --out features --form twlvi      for the tools of Twelve Labs
  zoo extract vit_pico --random --list val.csv --out features      random weights, to try things out

Stop it with Ctrl-C at any time: the same command goes on where it stopped. Protocols that are given the folder
OUT/bank, or OUT itself with --form bank, find the features there."""
FORMS, POOLS = ("bank", "twlvi", "mteb"), ("mean", "cls", "none")


class ExtractError(ValueError):
    """What a person asked for cannot be done; the message says what would be right."""


class Wanted(NamedTuple):
    """A list whose features are wanted."""

    split: str
    records: "list[Record]"
    classes: tuple[str, ...]


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("name", metavar="NAME", help="released weights, or an architecture with --checkpoint")
    parser.add_argument("--suite", metavar="SUITE", help="videos of a suite, by its official lists")
    parser.add_argument("--task", metavar="TASK", help="of the suite (its first)")
    parser.add_argument("--split", action="append", metavar="SPLIT", help="of the suite, may be repeated (all)")
    parser.add_argument("--list", type=Path, metavar="FILE", help="videos and labels, one pair per line")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the videos (the list's own)")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="where features are written")
    parser.add_argument("--layers", metavar="N,N", help="blocks whose outputs are joined, from 0 (the last)")
    parser.add_argument("--pool", choices=POOLS, default="mean", help="one vector per view, or all tokens (mean)")
    parser.add_argument("--form", choices=FORMS, default="bank", help="files of ours, or for other tools (bank)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights of an architecture")
    parser.add_argument("--random", action="store_true", help="random weights of seed 0, to try things out")
    parser.add_argument("--clips", type=int, metavar="N", help="temporal clips per video (the protocol's)")
    parser.add_argument("--crops", type=int, metavar="N", help="spatial crops per clip (the protocol's)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="clips at a time (8)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="loading processes (0)")
    parser.add_argument("--accelerator", default="auto", metavar="NAME", help="where to compute (auto)")


def run(arguments: argparse.Namespace) -> int:
    """Write the features of each list and say where."""
    from benchmarks.feature_files import videos_of, write_arrays, write_twlvi
    from zoo.data.datamodule import VideoDataModule
    from zoo.folders import require_writable
    from zoo.training.feature_cache import cached_features
    from zoo.training.features import check_accelerator, device_of

    _check(arguments)
    check_accelerator(arguments.accelerator)
    task, lists = _lists(arguments)
    model = named_model(arguments.name, checkpoint=arguments.checkpoint, random=arguments.random, num_classes=0)
    _check_layers(_layers(arguments.layers), model.backbone.depth)
    spec = _clip(model, task, arguments)
    if arguments.pool == "cls":
        _check_class_token(model, spec)
    require_writable("--out", arguments.out)
    bank_form = arguments.form == "bank"
    for wanted in lists:
        data = VideoDataModule(
            spec=spec, test=wanted.records, batch_size=arguments.batch_size, num_workers=arguments.workers
        )
        bank = cached_features(
            model,
            data,
            wanted.records,
            arguments.out if bank_form else arguments.out / "bank",
            pool=None if arguments.pool == "none" else arguments.pool,
            layers=_layers(arguments.layers),
            device=device_of(arguments.accelerator),
            progress=True,
        )
        shape = " x ".join(map(str, bank.tokens.shape))
        print(f"{wanted.split}: {len(wanted.records)} records, features {shape} in {arguments.out}")  # noqa: T201
        if bank_form:
            continue
        root = arguments.data or (arguments.list.parent if arguments.list else Path())
        videos = videos_of(bank, wanted.records, crops=spec.crops, root=root)
        if arguments.form == "twlvi":
            write_twlvi(videos, arguments.out / wanted.split)
        else:
            write_arrays(videos, arguments.out / wanted.split, classes=wanted.classes)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if bool(arguments.suite) == bool(arguments.list):
        raise ExtractError("name either --suite SUITE or --list FILE")
    if arguments.list and (arguments.task or arguments.split):
        raise ExtractError("--task and --split are of suites; a --list is one list")
    if arguments.form != "bank" and arguments.pool == "none":
        raise ExtractError(f"--form {arguments.form} holds one vector per clip; choose --pool mean or cls")
    if arguments.random and arguments.checkpoint:
        raise ExtractError("--random and --checkpoint exclude each other")
    for option in ("clips", "crops", "batch_size"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ExtractError(f"--{option.replace('_', '-')} must be at least 1, not {value}")
    if arguments.workers < 0:
        raise ExtractError(f"--workers must be at least 0, not {arguments.workers}")
    _layers(arguments.layers)


def _layers(words: str | None) -> list[int] | None:
    """Numbers of blocks.

    Raises:
        ExtractError: for anything else.
    """
    if words is None:
        return None
    if not all(word.isdecimal() for word in words.split(",")):
        raise ExtractError(f"--layers {words!r} is no list of blocks such as 5,8,11")
    return [int(word) for word in words.split(",")]


def _check_layers(layers: list[int] | None, depth: int) -> None:
    wrong = [layer for layer in layers or () if layer >= depth]
    if wrong:
        raise ExtractError(f"--layers {wrong[0]}: there is no such block; this network has blocks 0 to {depth - 1}")


def _check_class_token(model: "VideoModel", spec: "ClipSpec") -> None:
    """Look at the tokens of an empty clip: nothing else tells whether a network has a class token.

    Raises:
        ExtractError: if it has none.
    """
    import torch

    with torch.no_grad():
        features = model.backbone.eval().forward_features(torch.zeros(1, 3, spec.num_frames, *[spec.img_size] * 2))
    if not features.prefix.shape[1]:
        raise ExtractError("--pool cls: this network has no class token; choose --pool mean or none")


def _lists(arguments: argparse.Namespace) -> "tuple[Task | None, list[Wanted]]":
    """The task of the suite, if there is one, and the lists."""
    from benchmarks.suites.table import get_suite
    from zoo.data.records import read_list
    from zoo.suggest import unknown

    if arguments.list:
        return None, [Wanted(arguments.list.stem, read_list(arguments.list, root=arguments.data), ())]
    suite = get_suite(arguments.suite)
    task = suite.task(arguments.task) if arguments.task else suite.tasks[0]
    for split in arguments.split or ():
        if split not in suite.splits:
            raise unknown("split", split, list(suite.splits))
    videos = suite.prepare(arguments.data, True)
    # Twelve Labs' tools know the splits by these two names.
    names = {suite.train_split: "train", suite.test_split: "val"} if arguments.form == "twlvi" else {}
    return task, [
        Wanted(names.get(split, split), videos.records(task.name, split), videos.classes(task.name))
        for split in arguments.split or suite.splits
    ]


def _clip(model: "VideoModel", task: "Task | None", arguments: argparse.Namespace) -> "ClipSpec":
    """The clips of the network, by the suite's protocol, and the views that were asked for."""
    if model.spec is None:
        raise ExtractError(f"{arguments.name} does not say which clips it takes")
    spec = task.clip_spec(model.spec.clip) if task else model.spec.clip
    return replace(spec, clips=arguments.clips or spec.clips, crops=arguments.crops or spec.crops)
