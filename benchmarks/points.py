"""One network at one clip length in a process of its own: its peak memory first, then its time whenever it is asked.

What runs out of memory, is killed, takes too long or fails is a note of its point; the others go on.
"""

import gc
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing import connection
from types import TracebackType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.memory import MIB, PeakMeter
from benchmarks.processes import fresh_processes

Build = Callable[[int], nn.Module]  # number of frames -> network; picklable
Mode = Literal["inference", "training"]
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "float16": torch.float16}
ATTENTIONS = ("sdpa", "math")
POINT_TIMEOUT_S = 120.0
GOODBYE_S = 5.0
OUT_OF_MEMORY, NO_ANSWER = "out of memory", "no answer"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a network is run.

    Attributes:
        img_size: side of the clips in pixels.
        batch_size: clips per call.
        mode: "inference", a forward pass; "training", forward and backward pass.
        device: where to run.
        dtype: one of `DTYPES`; the short ones by autocast, over float32 weights.
        attention: "sdpa" for the kernel that PyTorch chooses, "math" for one that holds the whole map of attention.
        compiled: through torch.compile, for exactly these shapes.
        warm_up_s: memory is the peak of calls repeated for so long, the first one among them; 0 for one call after the
            first.
        timed_s: a time is the mean of calls repeated for so long; 0 for one call.
        limit_mib: address space that the process may use above what it has at the start (Linux and macOS).
        timeout_s: longest wait for one answer; None for any time.
    """

    img_size: int
    batch_size: int
    mode: Mode = "inference"
    device: str = "cpu"
    dtype: str = "float32"
    attention: str = "sdpa"
    compiled: bool = False
    warm_up_s: float = 0.0
    timed_s: float = 0.0
    limit_mib: int | None = None
    timeout_s: float | None = POINT_TIMEOUT_S


class Peak(NamedTuple):
    """Memory of one call in MiB.

    Attributes:
        mib: peak above weights and clips; None where there is none.
        note: why there is none.
        held_mib: weights, buffers and clips.
    """

    mib: float | None
    note: str
    held_mib: float = 0.0


class Point:
    """A network in a process of its own, for a `with` statement.

    Args:
        build: makes the network.
        frames: length of the clips.
        setup: how it is run.

    Attributes:
        note: why it does not answer any more; "" as long as it does.
    """

    def __init__(self, build: Build, frames: int, setup: Setup) -> None:
        context = fresh_processes()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, build, frames, setup), daemon=True)
        self._process.start()
        theirs.close()
        repeated_s = max(setup.warm_up_s, setup.timed_s)
        self._timeout_s = None if setup.timeout_s is None else setup.timeout_s + repeated_s
        self.note = ""

    def __enter__(self) -> "Point":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        if not self.note and error is None:
            self._process.join(GOODBYE_S)  # it leaves by itself, and tidies up after torch.compile
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def peak(self) -> Peak:
        """Peak memory of one call; waits for it. To be asked once, and before anything else."""
        answer = self._answer()
        return answer if isinstance(answer, Peak) else Peak(None, self.note)

    def seconds(self) -> float | None:
        """Time of one call; None when it does not answer any more."""
        if self.note:
            return None
        with suppress(OSError):  # it may have died since its last answer, which the next line finds out too
            self._pipe.send(True)
        answer = self._answer()
        return answer if isinstance(answer, float) else None

    def _answer(self) -> Peak | float | None:
        """What the process says; None, and a note, when it says why there is no number, or nothing."""
        try:
            answer = self._pipe.recv() if self._pipe.poll(self._timeout_s) else f"{NO_ANSWER} in {self._timeout_s:g} s"
        except (EOFError, ConnectionResetError):
            self._process.join()
            killed = self._process.exitcode == -signal.SIGKILL
            answer = f"{OUT_OF_MEMORY} (killed)" if killed else f"the process died with code {self._process.exitcode}"
        if isinstance(answer, str):
            self.note = answer
            return None
        return answer


def serve(pipe: connection.Connection, build: Build, frames: int, setup: Setup) -> None:
    """Body of the process: peak memory, then a time for each message, until nobody listens any more."""
    torch.set_num_threads(1)
    try:
        runner = _Runner(build, frames, setup)
        pipe.send(runner.peak())
        while pipe.recv():
            pipe.send(runner.seconds())
    except (EOFError, ConnectionError):
        return
    except (RuntimeError, ValueError, MemoryError) as error:
        words = str(error).strip() or type(error).__name__
        pipe.send(OUT_OF_MEMORY if is_out_of_memory(error) else words.splitlines()[0])


class _Runner:
    """A network and its clips."""

    def __init__(self, build: Build, frames: int, setup: Setup) -> None:
        self.setup = setup
        self.shape = (setup.batch_size, 3, frames, setup.img_size, setup.img_size)
        self.model = build(frames).train(setup.mode == "training").to(setup.device)
        self.network = torch.compile(self.model, dynamic=False) if setup.compiled else self.model
        self.video: Tensor | None = None

    def peak(self) -> Peak:
        setup, meter = self.setup, PeakMeter(self.setup.device)
        if not setup.warm_up_s:
            # What libraries allocate once, and what torch.compile needs to compile for these very shapes.
            self._call(torch.rand(setup.batch_size if setup.compiled else 1, *self.shape[1:], device=setup.device))
            self.model.zero_grad(set_to_none=True)
        self.video = torch.rand(self.shape, device=setup.device)
        gc.collect()
        meter.limit(setup.limit_mib)
        meter.start()
        self._repeat(self.video, setup.warm_up_s)
        mib = meter.stop()
        if setup.device.startswith("cuda"):
            torch.cuda.empty_cache()  # the next network is measured beside this one
        held = [self.video, *self.model.parameters(), *self.model.buffers()]
        note = "" if mib is not None else "peak memory cannot be read on this platform"
        return Peak(mib, note, sum(one.numel() * one.element_size() for one in held) / MIB)

    def seconds(self) -> float:
        """CPU time on the CPU, which other load of the machine hardly touches; elsewhere between synchronisations."""
        if self.video is None:
            raise RuntimeError("peak memory is measured first")
        self.model.zero_grad(set_to_none=True)
        if self.video.device.type != "cuda":
            start = time.process_time()
            calls = self._repeat(self.video, self.setup.timed_s)
            return (time.process_time() - start) / calls
        self._call(self.video)  # allocates what the last turn gave back
        self.model.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        start = time.perf_counter()
        calls = self._repeat(self.video, self.setup.timed_s)
        taken = (time.perf_counter() - start) / calls
        self.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()  # the others of this turn need the memory
        return taken

    def _repeat(self, video: Tensor, seconds: float) -> int:
        """Call until so many seconds have passed, once at least; how often."""
        calls, end = 0, time.perf_counter() + seconds
        while not calls or time.perf_counter() < end:
            self._call(video)
            if video.device.type == "cuda":
                torch.cuda.synchronize()
            calls += 1
        return calls

    def _call(self, video: Tensor) -> None:
        with _kernels(self.setup.attention), _precision(self.setup):
            if self.setup.mode == "inference":
                with torch.inference_mode():
                    self.network(video)
                return
            loss = self.network(video).float().mean()
        loss.backward()


def _kernels(attention: str) -> AbstractContextManager[None]:
    return sdpa_kernel(SDPBackend.MATH) if attention == "math" else nullcontext()


def _precision(setup: Setup) -> AbstractContextManager[None]:
    if setup.dtype == "float32":
        return nullcontext()
    return torch.autocast(setup.device.partition(":")[0], DTYPES[setup.dtype])


def is_out_of_memory(error: BaseException) -> bool:
    """PyTorch raises a plain RuntimeError when the CPU's allocator fails."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)
