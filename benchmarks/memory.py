"""Peak memory of a stretch of code, for a process that was started for this measurement alone."""

import ctypes
import ctypes.util
import sys
from pathlib import Path

import torch

if sys.platform != "win32":
    import resource

MIB = 2**20
_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")


class PeakMeter:
    """Measures the peak between `start` and `stop` above what was in use at `start`.

    On CUDA: what the caching allocator handed out. On Linux: resident memory, whose high-water mark can be reset. On
    other Unix systems the high-water mark only grows, which is exact in a fresh process as long as the stretch needs
    more than anything before it. Windows: not measured.

    Args:
        device: "cpu" or a CUDA device.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.base = 0

    def limit(self, mib: int | None) -> None:
        """Let further allocations fail beyond `mib` above the present address space."""
        if mib is None or sys.platform == "win32":
            return
        used = _status_kib("VmSize") * 1024 if _STATUS.exists() else 0
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + mib * MIB, hard))

    def start(self) -> None:
        """Begin; everything in use now belongs to the base."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self.base = torch.cuda.memory_allocated()
        elif _CLEAR_REFS.exists():
            _trim()
            _CLEAR_REFS.write_text("5")  # 5: reset the high-water mark (proc(5))
            self.base = _status_kib("VmRSS") * 1024
        elif sys.platform != "win32":
            self.base = _high_water()

    def stop(self) -> float | None:
        """MiB above the base; None where it cannot be measured."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
            return (torch.cuda.max_memory_allocated() - self.base) / MIB
        if _CLEAR_REFS.exists():
            return (_status_kib("VmHWM") * 1024 - self.base) / MIB
        if sys.platform != "win32":
            return (_high_water() - self.base) / MIB
        return None


def _status_kib(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"{_STATUS} has no line {name!r}")


def _high_water() -> int:
    """Largest resident size so far in bytes; macOS counts in bytes, other systems in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _trim() -> None:
    """Give freed memory back, so that it does not serve the measured stretch unseen."""
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)
