"""`zoo eval TOKENIZER --protocol reconstruction`: how well clips of a suite come back, beside codecs at equal rate."""

import time
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import torch

from backbones.tokenizer import Tokenizer
from benchmarks.evaluation import RECONSTRUCTION, Request, allowed_failures
from benchmarks.gallery import SOME, Gallery, in_unit_range
from benchmarks.plan import plain
from benchmarks.protocols.common import begun
from benchmarks.protocols.reconstruction import Report, reconstruct
from benchmarks.provenance import provenance
from benchmarks.results import RANDOM, WEIGHTS, Identity, Interval, Result, Store, digest
from benchmarks.session import RequestError, check_data
from benchmarks.suite import Suite
from benchmarks.suites.table import get_suite
from zoo.card import ClipSpec
from zoo.folders import require_writable
from zoo.registry import get_card
from zoo.suggest import unknown
from zoo.tokenizers import create_tokenizer, tokenizer_of
from zoo.training.features import device_of
from zoo.weight_cache import digests

# What the protocol looks at; anything else of a request would be ignored without a word.
TAKEN = (
    "name", "suite", "data", "task", "split", "checkpoint", "pretrained", "protocol", "batch_size", "hardware", "seed",
    "limit", "out", "tolerate",
)  # fmt: skip


class Told(NamedTuple):
    """What an evaluation leaves.

    Attributes:
        result: the stored result.
        path: its file.
        report: the tokenizer and the codecs beside it.
        reason: why there is no headline number; "" where there is one.
    """

    result: Result
    path: Path
    report: Report
    reason: str


def evaluate_tokenizer(request: Request, *, progress: bool = False) -> Told:
    """Send test clips of a suite through a tokenizer and codecs, and store the result.

    Args:
        request: what was asked for. `limit` is the number of videos per task, evenly spread over the list; 64 when
            None.
        progress: show what takes long.

    Raises:
        UnknownNameError: for a tokenizer, suite, task or split that does not exist.
        RequestError: for options that mean nothing here, and clips that the tokenizer cannot take.
        CheckpointError: when weights cannot be used.
        UnreadableVideoError: when no video can be read.
    """
    suite = checked(request)
    clip = clip_of(request, suite)
    tokenizer, weights = _tokenizer(request)
    require_writable("--out", request.out)
    start = time.perf_counter()
    videos = suite.prepare(request.data, progress)
    gallery = Gallery(suite, videos, videos.cache(progress=progress))
    seen, failed = gallery.some(clip, request.limit or SOME)
    device = device_of(request.hardware.accelerator)
    batches = [it.to(device) for it in in_unit_range(seen, clip).split(request.batch_size)]
    report = reconstruct(tokenizer.to(device), batches, name=request.name)
    expected = len(seen) + len(failed)
    allowed = allowed_failures(request.tolerate, expected)
    reason = f"{len(failed)} of {expected} videos could not be read" if len(failed) > allowed else ""
    protocol = {"videos_per_task": request.limit or SOME, "codecs": "at equal rate, each clip by itself"}
    settings = plain({"protocol": protocol, "clip": clip.to_dict(), "split": suite.test_split, "weights": weights})
    hashes = {task.name: videos.split_hash(task.name, suite.test_split) for task in suite.tasks}
    identity = Identity(
        kind="evaluate",
        system=request.name,
        init=RANDOM if weights == RANDOM else f"{WEIGHTS}{weights[:12]}",
        suite=suite.name,
        task=request.task,
        split_hash=digest(hashes),
        protocol=RECONSTRUCTION,
        settings_hash=digest(settings),
        seed=request.seed,
    )
    result = replace(
        begun(identity, settings, provenance(threads=torch.get_num_threads()), decoder=request.decoder),
        metrics={} if reason else {name: Interval(it, it, it) for name, it in report.numbers().items()},
        n_expected=expected,
        n_evaluated=len(seen),
        failed=failed,
        details={"report": report.plain(), "notes": list(report.notes), "tolerated": allowed},
        seconds=time.perf_counter() - start,
    )
    path = Store(request.out).add(result)
    return Told(Result.from_json(path.read_text(encoding="utf-8")), path, report, reason)


def checked(request: Request) -> Suite:
    """The suite of a request with the tasks and the list asked for.

    Raises:
        RequestError: for options that mean nothing here.
        UnknownNameError: for names that do not exist.
    """
    tokenizer_of(request.name)
    usual = Request(name=request.name, suite=request.suite)
    given = [it.name for it in fields(Request) if getattr(request, it.name) != getattr(usual, it.name)]
    hardware = replace(request.hardware, accelerator=usual.hardware.accelerator)
    wrong = [name for name in given if name not in TAKEN] + (["hardware"] if hardware != usual.hardware else [])
    if wrong:
        words = "--devices, --num-nodes, --strategy or --precision" if wrong[0] == "hardware" else f"--{wrong[0]}"
        raise RequestError(f"--protocol {RECONSTRUCTION} takes no {words.replace('_', '-')}")
    if request.pretrained and request.checkpoint is not None:
        raise RequestError("give either --pretrained or --checkpoint, not both")
    suite = get_suite(request.suite)
    check_data(suite, request.data)
    split = request.split or suite.test_split
    if split not in suite.splits:
        raise unknown("split", split, suite.splits)
    tasks = (suite.task(request.task),) if request.task else suite.tasks
    return replace(suite, tasks=tasks, test_split=split)


def clip_of(request: Request, suite: Suite) -> ClipSpec:
    """The clips of the tokenizer, cut by the suite's rule.

    Raises:
        RequestError: for a tokenizer made for larger pictures than the suite's.
    """
    own = get_card(request.name).clip if request.pretrained else tokenizer_of(request.name).clip
    if suite.side_px is not None and own.img_size > suite.side_px:
        raise RequestError(
            f"{request.name} is made for clips of {own.img_size} px, and the videos of {suite.name} have "
            f"{suite.side_px} px: enlarged ones would say nothing about it"
        )
    return replace(suite.tasks[0].clip_spec(own), clips=1, crops=1)


def _tokenizer(request: Request) -> tuple[Tokenizer, str]:
    """The tokenizer in eval mode, and which weights it has: a hash, or "random"."""
    if request.checkpoint is not None and not request.checkpoint.is_file():
        raise RequestError(f"--checkpoint {request.checkpoint}: there is no such file")
    with torch.random.fork_rng():
        torch.manual_seed(request.seed)
        made = create_tokenizer(request.name, pretrained=request.pretrained, checkpoint_path=request.checkpoint).eval()
    if request.checkpoint is not None:
        return made, digests(request.checkpoint).sha256
    return made, request.name if request.pretrained else RANDOM
