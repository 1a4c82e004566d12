"""The points of `zoo efficiency`: which there are, which are stored already, and the measurement of the others.

Systems of one clip length are timed in turns, so a length is measured for all of them or not at all, and stored then.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from backbones.contract import Backbone
from backbones.meta import meta_device
from backbones.ops.selective_scan.table import choose, implementations
from benchmarks.efficiency import Flops, Measured, count_flops, count_parameters, in_turns, largest_batch, one_clip
from benchmarks.points import ATTENTIONS, DTYPES, NO_ANSWER, OUT_OF_MEMORY, Mode, Setup
from benchmarks.provenance import Provenance, clock_words, now, provenance
from benchmarks.results import RANDOM, Identity, Result, Store, digest
from benchmarks.session import RequestError
from zoo.pretrained import require_buildable
from zoo.registry import builder_options, create_backbone, get_architecture, get_card, has_tag
from zoo.suggest import unknown

MODES: dict[str, Mode] = {"infer": "inference", "train": "training"}
DEVICES = ("auto", "cpu", "cuda")
NOT_POSSIBLE = "not possible"
# What is no fault of the measurement: these are answers, and stay stored.
ANSWERS = (OUT_OF_MEMORY, NO_ANSWER, NOT_POSSIBLE)
SHARE_OF_GPU = 0.9  # of its memory, that a batch may fill where nobody names a budget
Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for.

    Attributes:
        names: architectures, released weights (their architecture counts), networks of other libraries.
        frames: clip lengths.
        resolution: side of the clips in pixels.
        batch: clips per call; None for the largest power of two that fits `memory_mib`.
        batches: clips per call of each network at each length, where `batch` does not say it for all.
        mode: "infer" or "train".
        dtype: one of `DTYPES`.
        attention: one of `ATTENTIONS`.
        compiled: through torch.compile.
        rounds: timed calls of each point.
        warm_up_s: see `Setup`.
        timed_s: see `Setup`.
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        memory_mib: budget of a batch; None for 90 % of a GPU's memory, and for batches of 1 on the CPU.
        timeout_s: longest wait for one call.
        out: folder of results and reports.
    """

    names: tuple[str, ...]
    frames: tuple[int, ...] = (8, 16, 32)
    resolution: int = 224
    batch: int | None = None
    batches: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    mode: str = "infer"
    dtype: str = "float32"
    attention: str = "sdpa"
    compiled: bool = False
    rounds: int = 10
    warm_up_s: float = 0.0
    timed_s: float = 0.0
    device: str = "auto"
    memory_mib: int | None = None
    timeout_s: float = 600.0
    out: Path = Path("runs/efficiency")


@dataclass(frozen=True)
class Network:
    """Makes the backbone of a name for clips of any length; picklable."""

    name: str
    resolution: int

    def __call__(self, frames: int) -> Backbone:
        """The backbone with random weights."""
        sizes = {"img_size": self.resolution, "num_frames": frames}
        known = builder_options(get_architecture(self.name))
        return create_backbone(self.name, **{option: value for option, value in sizes.items() if option in known})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request whose words are checked.

    Attributes:
        request: what was asked for.
        setup: how networks are run, with batches of 1.
        budget_mib: memory that a batch may fill; None where the batch is given.
        settings: what every point has in common.
        told: circumstances to record.
        clock: how fast the processor ran, and what was timed.
        store: where points lie.
    """

    request: Request
    setup: Setup
    budget_mib: float | None
    settings: dict[str, Any]
    told: Provenance
    clock: str
    store: Store

    @property
    def stem(self) -> str:
        """File name of the report: one for each group of settings."""
        return f"efficiency-{self.request.mode}-{self.request.resolution}px-{digest(self.settings)[:8]}"

    def missing(self) -> list[int]:
        """Clip lengths that are not measured yet."""
        finished = {result.identity.key: result for result in self.store.results()}
        return [
            frames
            for frames in self.request.frames
            if not all(
                (result := finished.get(identity(self, name, frames).key)) and not self._too_short(result)
                for name in self.request.names
            )
        ]

    def _too_short(self, result: Result) -> bool:
        """Whether a point gave no answer in less time than it would have now."""
        note = result.details["point"]["note"]
        return note.startswith(NO_ANSWER) and result.details["timeout_s"] < self.request.timeout_s

    def stored(self) -> dict[str, list[Result]]:
        """System -> its points of these settings at any length, shortest first; of equal points the newest."""
        newest = {
            result.identity.key: result
            for result in self.store.results()
            if {**result.settings, "frames": None} == {**self.settings, "frames": None}
        }
        ordered = sorted(newest.values(), key=lambda result: result.settings["frames"])
        return {name: [one for one in ordered if one.identity.system == name] for name in self.request.names}


def open_plan(request: Request) -> Plan:
    """Check what was asked for.

    Raises:
        UnknownNameError: for a network, mode, dtype, attention or device that does not exist, with the closest ones.
        RequestError: for a GPU that is not there, and a budget beside a given batch.
        CheckpointError: for released weights whose network does not exist.
    """
    for what, value, valid in (
        ("mode", request.mode, MODES),
        ("dtype", request.dtype, DTYPES),
        ("attention", request.attention, ATTENTIONS),
        ("device", request.device, DEVICES),
    ):
        if value not in valid:
            raise unknown(what, value, valid)
    names = tuple(dict.fromkeys(request.names))
    for name in names:
        if has_tag(name):
            require_buildable(get_card(name))
        get_architecture(name)
    request = replace(request, names=names, frames=tuple(sorted(set(request.frames))))
    device = _device(request.device)
    told = provenance(threads=1)
    setup = Setup(
        img_size=request.resolution,
        batch_size=1,
        mode=MODES[request.mode],
        device=device,
        dtype=request.dtype,
        attention=request.attention,
        compiled=request.compiled,
        warm_up_s=request.warm_up_s,
        timed_s=request.timed_s,
        timeout_s=request.timeout_s,
    )
    told = told if device == "cpu" else replace(told, device=f"{torch.cuda.get_device_name()}; {told.device}")
    budget = _budget(request, device)
    return Plan(
        request=request,
        setup=setup,
        budget_mib=budget,
        settings=_settings(request, device, budget, told),
        told=told,
        clock=clock_words(device),
        store=Store(request.out / "results"),
    )


def _device(wanted: str) -> str:
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise RequestError("--device cuda: PyTorch finds no GPU on this machine; leave it out, or say --device cpu")
    return "cuda" if found and wanted != "cpu" else "cpu"


def _budget(request: Request, device: str) -> float | None:
    """Memory that a batch may fill; None where its size is given, and on a CPU without a stated budget."""
    if request.batches or request.batch is not None:
        if request.memory_mib is not None:
            raise RequestError(f"--memory chooses the batch, and --batch {request.batch} gives it: say --batch auto")
        return None
    if request.memory_mib is not None:
        return float(request.memory_mib)
    return SHARE_OF_GPU * torch.cuda.get_device_properties(0).total_memory / 2**20 if device == "cuda" else None


def _settings(request: Request, device: str, budget: float | None, told: Provenance) -> dict[str, Any]:
    """All that shapes the numbers of every point, as it comes back from JSON."""
    asked = asdict(request)
    words = ("resolution", "mode", "dtype", "attention", "compiled", "rounds", "warm_up_s", "timed_s")
    return {
        **{word: asked[word] for word in words},
        "batch": request.batch or ("auto" if budget else 1),
        "batches": {name: [list(pair) for pair in each.items()] for name, each in request.batches.items()},
        "memory_mib": budget,
        "device": told.device,
        "versions": {name: it for name, it in told.versions.items() if name in ("python", "torch", "timm")},
        "scan": _scan(device),
        "in_turns": sorted(request.names),
        "frames": None,
    }


def _scan(device: str) -> str:
    """The implementation of the selective scan that "auto" stands for here."""
    chosen = choose("auto", torch.empty(1, 8, 8, device=device))
    return next(name for name, row in implementations().items() if row == chosen)


def identity(plan: Plan, name: str, frames: int) -> Identity:
    """Under which a point is found again."""
    return Identity(
        kind="cost",
        system=name,
        init=RANDOM,
        suite="",
        task=f"{frames}_frames",
        split_hash="",
        protocol="efficiency",
        settings_hash=digest({**plan.settings, "frames": frames}),
        seed=0,
    )


def measure(plan: Plan, lengths: Sequence[int], tell: Tell) -> None:
    """Measure and store all systems at some clip lengths.

    Args:
        plan: what is measured.
        lengths: numbers of frames.
        tell: called with a note before each step.
    """
    for frames in lengths:
        start = time.perf_counter()
        points = _points(plan, frames, tell)
        seconds = (time.perf_counter() - start) / len(points)
        for name, (parameters, point) in points.items():
            plan.store.add(_result(plan, name, frames, parameters, point, seconds))


def _points(plan: Plan, frames: int, tell: Tell) -> dict[str, tuple[int | None, dict[str, Any]]]:
    """System -> its parameters and its point at one length, in the order of the request."""
    found: dict[str, tuple[int | None, dict[str, Any]]] = {}
    counts: dict[str, tuple[int, Flops]] = {}
    for name in plan.request.names:
        network = Network(name, plan.request.resolution)
        try:
            with meta_device():
                parameters = count_parameters(network(frames))
            counts[name] = (parameters, count_flops(one_clip(network, frames, plan.request.resolution)))
        except (ValueError, RuntimeError) as error:
            note = f"{NOT_POSSIBLE}: {str(error).splitlines()[0]}"
            found[name] = (None, as_point(frames, 0, None, None, note))
    builds, setups = {name: Network(name, plan.request.resolution) for name in counts}, {}
    for name, build in builds.items():
        batch = plan.request.batches.get(name, {}).get(frames) or plan.request.batch or 1
        if plan.budget_mib is not None:
            tell(f"{frames} frames: how large a batch of {name} may be")
            batch = largest_batch(build, frames, plan.setup, plan.budget_mib)
        setups[name] = replace(plan.setup, batch_size=batch)
    measured = in_turns(builds, frames, setups, rounds=plan.request.rounds, tell=tell)
    for name, (parameters, flops) in counts.items():
        found[name] = (parameters, as_point(frames, setups[name].batch_size, flops, measured[name]))
    return {name: found[name] for name in plan.request.names}


def as_point(frames: int, batch: int, flops: Flops | None, measured: Measured | None, note: str = "") -> dict[str, Any]:
    """A point with everything that reports print; None where a number could not be had.

    Args:
        frames: of the clip.
        batch: clips per call.
        flops: forward pass of one clip.
        measured: memory and times of calls.
        note: why there is neither.
    """
    seconds = measured.seconds if measured else []
    peak = measured.peak if measured else None
    gflops = flops.flops / 1e9 if flops else None
    middle = statistics.median(seconds) if seconds else None
    return {
        "frames": frames,
        "batch": batch,
        "gflops": gflops,
        "gmacs": gflops / 2 if gflops is not None else None,
        "uncounted": list(flops.uncounted) if flops else [],
        "latency_ms_p50": 1e3 * middle if middle is not None else None,
        "latency_ms_p95": 1e3 * float(np.quantile(seconds, 0.95)) if seconds else None,
        "ms_per_clip": 1e3 * middle / batch if middle is not None else None,
        "clips_per_s": batch / middle if middle else None,
        "peak_mib": peak.mib if peak else None,
        "peak_mib_per_clip": peak.mib / batch if peak and peak.mib is not None else None,
        "held_mib": peak.held_mib if peak and peak.mib is not None else None,
        "seconds": seconds,
        "note": note or (measured.note or measured.peak.note if measured else ""),
    }


def _result(
    plan: Plan, name: str, frames: int, parameters: int | None, point: dict[str, Any], seconds: float
) -> Result:
    return Result(
        identity=identity(plan, name, frames),
        settings={**plan.settings, "frames": frames},
        metrics={},
        details={
            "parameters": parameters,
            "point": point,
            "clock": plan.clock,
            "timeout_s": plan.request.timeout_s,
        },
        device=plan.told.device,
        versions=plan.told.versions,
        commit=plan.told.commit,
        seconds=seconds,
        command=plan.told.command,
        created=now(),
    )
