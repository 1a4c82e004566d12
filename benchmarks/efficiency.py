"""What a backbone costs as clips grow longer: parameters, FLOPs, throughput, peak memory.

Convention: one multiply-add is 2 FLOP (torch's counter); papers that print "GFLOPs" of fvcore count multiply-adds, half
of it. Elementwise work counts nothing. Throughput and memory are measured, so they include what the counter leaves out;
the three rank networks differently, hence three columns.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from backbones.meta import meta_device
from backbones.ops.selective_scan.table import COUNTED, auto_is
from benchmarks.points import OUT_OF_MEMORY, Build, Mode, Peak, Point, Setup

FLOP_FREE_NAMESPACES = ("aten", "prim", "prims")
# Operators of PyTorch that multiply and add, but have no formula in torch's counter.
UNCOUNTED_PREFIXES = ("_fft_", "linalg_", "_cdist", "_lstm", "lstm", "gru", "mkldnn_", "_trilinear", "grid_sampler")
MAX_BATCH = 1024
_MODES: tuple[Mode, Mode] = ("inference", "training")


class Flops(NamedTuple):
    """FLOPs of one call (a multiply-add is 2), and operators whose work is not in the number."""

    flops: int
    uncounted: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """Costs of one backbone at one clip length; None where a number could not be had.

    Attributes:
        frames: frames of the clip.
        gflops: forward pass of one clip, in 1e9 FLOP.
        uncounted: operators that `gflops` leaves out.
        clips_per_s: forward passes per second of CPU (or GPU) time, median over rounds.
        clips_per_s_low: slowest round.
        clips_per_s_high: fastest round.
        inference_mib: peak above weights and clips, forward pass.
        training_mib: the same, forward and backward pass, gradients included.
        note: why a number is missing, such as "out of memory (training)".
    """

    frames: int
    gflops: float | None = None
    uncounted: tuple[str, ...] = ()
    clips_per_s: float | None = None
    clips_per_s_low: float | None = None
    clips_per_s_high: float | None = None
    inference_mib: float | None = None
    training_mib: float | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "uncounted": list(self.uncounted)}


def count_parameters(module: nn.Module) -> int:
    """Number of trainable weights."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


class _Unformulated(TorchDispatchMode):
    """Notes operators that compute but have no FLOP formula."""

    def __init__(self, known: Mapping[Any, Any]) -> None:
        super().__init__()
        self.known = known
        self.found: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        foreign = func.namespace not in FLOP_FREE_NAMESPACES
        if packet not in self.known and (foreign or packet.__name__.startswith(UNCOUNTED_PREFIXES)):
            self.found.add(f"{func.namespace}::{packet.__name__}")
        return func(*args, **(kwargs or {}))


def _conv_backward_flops(
    grad_out: Sequence[int], x: Sequence[int], weight: Sequence[int], *rest: Any, out_shape: object = None
) -> int:
    """Either gradient takes the forward's work; torch's formula forgets the groups of a depthwise convolution."""
    *_, transposed, _, _, wanted = rest
    return 2 * math.prod(x if transposed else grad_out) * math.prod(weight[1:]) * sum(wanted[:2])


def count_flops(call: Callable[[], object]) -> Flops:
    """Count the FLOPs of a call.

    Attention is counted as its two matrix products, and "auto" of the selective scan as `COUNTED`, whichever kernels
    would run: those that consist of elementwise operators would count nothing.
    """
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _conv_backward_flops})
    unformulated = _Unformulated(counter.flop_registry)
    with auto_is(COUNTED), sdpa_kernel(SDPBackend.MATH), counter, unformulated:
        call()
    return Flops(counter.get_total_flops(), tuple(sorted(unformulated.found)))


class Measured(NamedTuple):
    """What a point showed.

    Attributes:
        peak: peak memory of one call.
        seconds: of each call that was timed.
        note: why calls are missing; "" where none are.
    """

    peak: Peak
    seconds: list[float]
    note: str


def in_turns(
    builds: Mapping[str, Build],
    frames: int,
    setups: Mapping[str, Setup],
    *,
    rounds: int,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Measured]:
    """Peak memory and times of systems at one clip length, each in a fresh process.

    Memory is measured one system after the other. Then the systems take turns, so drifts of the machine hit all alike.

    Args:
        builds: name -> maker of the network.
        frames: length of the clips.
        setups: name -> how it is run.
        rounds: calls of each system.
        tell: called with a note before each measurement of memory and each round.
    """
    with ExitStack() as stack:
        points, peaks = {}, {}
        for name, build in builds.items():
            tell(f"{frames} frames: memory of {name}")
            points[name] = stack.enter_context(Point(build, frames, setups[name]))
            peaks[name] = points[name].peak()
        seconds: dict[str, list[float]] = {name: [] for name in builds}
        for number in range(1, rounds + 1):
            tell(f"{frames} frames: round {number} of {rounds}")
            for name, point in points.items():
                taken = point.seconds()
                seconds[name] += [] if taken is None else [taken]
    return {name: Measured(peaks[name], seconds[name], points[name].note) for name in builds}


def throughput(
    builds: Mapping[str, Build],
    frames: int,
    *,
    img_size: int,
    batch_size: int,
    rounds: int,
    device: str = "cpu",
) -> dict[str, list[float]]:
    """Clips per second of each system in each round, forward passes; see `in_turns`.

    A system that runs out of memory gets an empty list.

    Raises:
        RuntimeError: for a system that fails for another reason.
    """
    setup = Setup(img_size=img_size, batch_size=batch_size, device=device, timeout_s=None)
    measured = in_turns(builds, frames, dict.fromkeys(builds, setup), rounds=rounds)
    for name, one in measured.items():
        if one.note and not one.note.startswith(OUT_OF_MEMORY):
            raise RuntimeError(f"{name} at {frames} frames: {one.note}")
    return {name: [batch_size / taken for taken in one.seconds] for name, one in measured.items()}


def peak_memory(build: Build, frames: int, setup: Setup) -> Peak:
    """Peak memory of one call, measured in a fresh process."""
    with Point(build, frames, setup) as point:
        return point.peak()


def largest_batch(build: Build, frames: int, setup: Setup, budget_mib: float) -> int:
    """Largest power of two of clips whose call fits a budget of memory, weights and clips included.

    At most `MAX_BATCH`, and at least 1, which may not fit either: measuring it will tell.
    """
    batch = 1
    while batch < MAX_BATCH:
        peak = peak_memory(build, frames, replace(setup, batch_size=2 * batch))
        if peak.mib is None or peak.mib + peak.held_mib > budget_mib:
            break
        batch *= 2
    return batch


def sweep(
    builds: Mapping[str, Build],
    frames: Sequence[int],
    *,
    img_size: int,
    batch_size: int,
    rounds: int,
    device: str = "cpu",
    jobs: int = 1,
    limit_mib: int | None = None,
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> dict[str, list[CostPoint]]:
    """All costs of all systems at all clip lengths.

    A point that runs out of memory is recorded as such, and the sweep goes on.

    Args:
        builds: name -> maker of the network.
        frames: clip lengths.
        img_size: side of the clips in pixels.
        batch_size: clips per call where time and memory are measured.
        rounds: interleaved timing rounds.
        device: where to measure.
        jobs: memory measurements at a time; timings always have the machine to themselves.
        limit_mib: see `Setup`.
        progress: called with steps done, steps in all, and a note.
    """
    setup = Setup(img_size=img_size, batch_size=batch_size, device=device, limit_mib=limit_mib)
    cells = [(name, length, mode) for length in frames for name in builds for mode in _MODES]
    total, peaks = len(cells) + len(frames), {}
    with ThreadPool(jobs) as pool:
        measured = pool.imap(lambda cell: peak_memory(builds[cell[0]], cell[1], replace(setup, mode=cell[2])), cells)
        for done, (cell, peak) in enumerate(zip(cells, measured, strict=True)):
            progress(done, total, f"memory at {cell[1]} frames")
            peaks[cell] = peak
    points: dict[str, list[CostPoint]] = {name: [] for name in builds}
    for done, length in enumerate(frames, start=len(cells)):
        progress(done, total, f"throughput at {length} frames")
        rates = throughput(builds, length, img_size=img_size, batch_size=batch_size, rounds=rounds, device=device)
        for name, build in builds.items():
            flops = count_flops(one_clip(build, length, img_size))
            points[name].append(_point(length, flops, rates[name], *(peaks[name, length, mode] for mode in _MODES)))
    progress(total, total, "done")
    return points


def one_clip(build: Build, frames: int, img_size: int) -> Callable[[], object]:
    """A forward pass of one clip that computes shapes only: no data, no time, no memory."""
    with meta_device():
        model = build(frames).eval()
        video = torch.empty(1, 3, frames, img_size, img_size)
    return lambda: model(video)


def _point(frames: int, flops: Flops, rates: list[float], inference: Peak, training: Peak) -> CostPoint:
    notes = [f"{peak.note} ({name})" for name, peak in (("inference", inference), ("training", training)) if peak.note]
    if not rates:
        notes.append("out of memory (throughput)")
    return CostPoint(
        frames=frames,
        gflops=flops.flops / 1e9,
        uncounted=flops.uncounted,
        clips_per_s=statistics.median(rates) if rates else None,
        clips_per_s_low=min(rates, default=None),
        clips_per_s_high=max(rates, default=None),
        inference_mib=inference.mib,
        training_mib=training.mib,
        note="; ".join(notes),
    )
