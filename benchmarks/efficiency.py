"""What a backbone costs as clips grow longer: parameters, FLOPs, throughput, peak memory.

Convention: one multiply-add is 2 FLOP (torch's counter); papers that print "GFLOPs" of fvcore count multiply-adds, half
of it. Elementwise work counts nothing. Throughput and memory are measured, so they include what the counter leaves out;
the three rank networks differently, hence three columns.
"""

import functools
import gc
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import connection
from multiprocessing.pool import ThreadPool
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from backbones.meta import meta_device
from benchmarks.memory import PeakMeter
from benchmarks.processes import fresh_processes

Build = Callable[[int], nn.Module]  # number of frames -> network; picklable
Mode = Literal["inference", "training"]
FLOP_FREE_NAMESPACES = ("aten", "prim", "prims")
# Operators of PyTorch that multiply and add, but have no formula in torch's counter.
UNCOUNTED_PREFIXES = ("_fft_", "linalg_", "_cdist", "_lstm", "lstm", "gru", "mkldnn_", "_trilinear", "grid_sampler")
POINT_TIMEOUT_S = 120.0
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


def count_flops(call: Callable[[], object]) -> Flops:
    """Count the FLOPs of a call.

    Attention is counted as its two matrix products, whichever kernel would run.
    """
    counter = FlopCounterMode(display=False)
    unformulated = _Unformulated(counter.flop_registry)
    with sdpa_kernel(SDPBackend.MATH), counter, unformulated:
        call()
    return Flops(counter.get_total_flops(), tuple(sorted(unformulated.found)))


def throughput(
    builds: Mapping[str, Build],
    frames: int,
    *,
    img_size: int,
    batch_size: int,
    rounds: int,
    device: str = "cpu",
) -> dict[str, list[float]]:
    """Clips per second of each system in each round; systems take turns, so drifts of the machine hit all alike.

    CPU time on the CPU, which other load of the machine hardly touches; wall-clock time between synchronisations
    elsewhere. A system that runs out of memory gets an empty list.
    """
    rates: dict[str, list[float]] = {name: [] for name in builds}
    models = {name: build(frames).eval().to(device) for name, build in builds.items()}
    video = torch.rand(batch_size, 3, frames, img_size, img_size, device=device)
    with torch.inference_mode():
        usable = [name for name, model in models.items() if _fits(model, video)]
        for _ in range(rounds):
            for name in usable:
                rates[name].append(batch_size / _timed(models[name], video))
    return rates


def _fits(model: nn.Module, video: Tensor) -> bool:
    """Warm up; False when there is not enough memory."""
    try:
        model(video)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def _timed(model: nn.Module, video: Tensor) -> float:
    """Seconds of one forward pass."""
    if video.device.type != "cuda":
        start = time.process_time()
        model(video)
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    model(video)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch raises a plain RuntimeError when the CPU's allocator fails."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


class Peak(NamedTuple):
    """Peak memory of one call above weights and clips in MiB, or why there is none."""

    mib: float | None
    note: str


def peak_memory(
    build: Build,
    frames: int,
    *,
    img_size: int,
    batch_size: int,
    mode: Mode,
    device: str = "cpu",
    limit_mib: int | None = None,
) -> Peak:
    """Peak memory of one forward pass (and backward pass), measured in a fresh process.

    Args:
        build: makes the network.
        frames: length of the clips.
        img_size: side of the clips in pixels.
        batch_size: clips per call.
        mode: "inference" or "training".
        device: where to run.
        limit_mib: address space that the process may use above what it has at the start (Linux and macOS).
    """
    context = fresh_processes()
    ours, theirs = context.Pipe(duplex=False)
    words = (theirs, build, (batch_size, 3, frames, img_size, img_size), mode, device, limit_mib)
    process = context.Process(target=_peak_of_one_call, args=words, daemon=True)
    process.start()
    theirs.close()
    try:
        peak = ours.recv() if ours.poll(POINT_TIMEOUT_S) else Peak(None, f"no answer in {POINT_TIMEOUT_S:.0f} s")
    except EOFError:
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        peak = Peak(None, "out of memory (killed)" if killed else f"the process died with code {process.exitcode}")
    if process.is_alive():
        process.kill()
    process.join()
    ours.close()
    return peak


def _peak_of_one_call(
    pipe: connection.Connection,
    build: Build,
    shape: tuple[int, int, int, int, int],
    mode: Mode,
    device: str,
    limit_mib: int | None,
) -> None:
    """Body of the fresh process."""
    torch.set_num_threads(1)
    try:
        model = build(shape[2]).train(mode == "training").to(device)
        meter = PeakMeter(device)
        _call(model, torch.rand(1, *shape[1:], device=device), mode)  # what libraries allocate once
        model.zero_grad(set_to_none=True)
        video = torch.rand(shape, device=device)
        gc.collect()
        meter.limit(limit_mib)
        meter.start()
        _call(model, video, mode)
        mib = meter.stop()
        pipe.send(Peak(mib, "" if mib is not None else "peak memory cannot be read on this platform"))
    except (RuntimeError, MemoryError) as error:
        pipe.send(Peak(None, "out of memory" if is_out_of_memory(error) else str(error)))


def _call(model: nn.Module, video: Tensor, mode: Mode) -> None:
    if mode == "inference":
        with torch.inference_mode():
            model(video)
        return
    model(video).float().mean().backward()


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
        limit_mib: see `peak_memory`.
        progress: called with steps done, steps in all, and a note.
    """
    measure = functools.partial(
        peak_memory, img_size=img_size, batch_size=batch_size, device=device, limit_mib=limit_mib
    )
    cells = [(name, length, mode) for length in frames for name in builds for mode in _MODES]
    total, peaks = len(cells) + len(frames), {}
    with ThreadPool(jobs) as pool:
        measured = pool.imap(lambda cell: measure(builds[cell[0]], cell[1], mode=cell[2]), cells)
        for done, (cell, peak) in enumerate(zip(cells, measured, strict=True)):
            progress(done, total, f"memory at {cell[1]} frames")
            peaks[cell] = peak
    points: dict[str, list[CostPoint]] = {name: [] for name in builds}
    for done, length in enumerate(frames, start=len(cells)):
        progress(done, total, f"throughput at {length} frames")
        rates = throughput(builds, length, img_size=img_size, batch_size=batch_size, rounds=rounds, device=device)
        for name, build in builds.items():
            flops = count_flops(_one_clip(build, length, img_size))
            points[name].append(_point(length, flops, rates[name], *(peaks[name, length, mode] for mode in _MODES)))
    progress(total, total, "done")
    return points


def _one_clip(build: Build, frames: int, img_size: int) -> Callable[[], object]:
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
