"""Builds the C++ sources beside this file on the machine that runs them, once, and loads the result.

A build takes about 20 seconds and says so: `load(build=True)` builds what is not there, which is what the first use on
a machine without a GPU comes to, and `load(build=False)` takes what an earlier build left in the zoo's cache.
Both answer once per process, so that an implementation never changes in the middle of a run.

Libraries are filed by what they depend on: torch, the flags for this processor and the sources. Each is built in a
folder of its own and moved into place whole. A lock of the operating system keeps two processes from building at the
same time; unlike a lock file it ends with its holder, also with one that was killed.
"""

import hashlib
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import torch

from backbones.folders import cache_root

if sys.platform != "win32":
    import fcntl

STEPS = 32  # tokens between the states that a forward pass keeps for its backward
NAME = "zoo_selective_scan"
HERE = Path(__file__).parent
SOURCES = ("selective_scan.cpp", "conv.cpp")
HEADERS = ("tiles.h", "vector_math.h")
# Names and flags as in torch/_inductor/cpu_vec_isa.py, after which ATen's vector headers choose their instructions.
INSTRUCTION_SETS = {
    "AVX512": "-mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma -mf16c",
    "AVX2": "-mavx2 -mfma -mf16c",
}
TAIL_LINES = 12
_logger = logging.getLogger(__name__)
_problems: dict[bool, str] = {}


class Target(NamedTuple):
    """What to build for: the name of the instruction set, and flags for the compiler."""

    instructions: str
    flags: tuple[str, ...]


def target() -> Target:
    """The best instruction set of this processor that ATen's vector headers know; ATEN_CPU_CAPABILITY lowers it."""
    best = torch.backends.cpu.get_cpu_capability()
    name, capability = (best, best) if best in INSTRUCTION_SETS else ("", "DEFAULT")
    flags = [
        f"-DCPU_CAPABILITY={capability}",
        f"-DCPU_CAPABILITY_{capability}",
        *INSTRUCTION_SETS.get(name, "").split(),
    ]
    if not name:
        name = "NEON" if platform.machine() in ("aarch64", "arm64") else "no vector instructions"
    openmp = [] if sys.platform == "darwin" else ["-fopenmp"]  # Apple's compiler has none
    return Target(name, ("-O3", *openmp, f"-DZOO_STEPS={STEPS}", *flags))


def library() -> Path:
    """Where the library for this torch, this processor and these sources lies once it is built."""
    digest = hashlib.sha256(repr((torch.__version__, sys.platform, platform.machine(), target().flags)).encode())
    for name in (*SOURCES, *HEADERS):
        digest.update((HERE / name).read_bytes())
    return cache_root() / "kernels" / f"{NAME}-{digest.hexdigest()[:16]}" / f"{NAME}.so"


def load(*, build: bool) -> str:
    """Load the library into this process; returns "" when it is there, else why it is not.

    Args:
        build: build it where it does not exist. The first answer for either value stands for the whole process.
    """
    if build not in _problems:
        if torch.compiler.is_compiling():
            return "it was not loaded before torch.compile began to trace"
        _problems[build] = _load(build)
    return _problems[build]


def obstacle() -> str:
    """Why there can be no library on this machine, or ""; quick, and without loading one."""
    return "" if library().exists() else _missing()


def _missing() -> str:
    """What a build lacks, or ""."""
    if sys.platform == "win32":
        return "it is not built on Windows"
    compiler = os.environ.get("CXX", "c++")
    if shutil.which(compiler.split()[0]) is None:
        return f"there is no C++ compiler {compiler!r} (the environment variable CXX names another)"
    if shutil.which("ninja") is None:
        return "there is no ninja on the PATH (pip install ninja)"
    return ""


def _load(build: bool) -> str:
    path = library()
    try:
        if not path.exists():
            if missing := _missing():
                return missing
            if not build:
                return "it is not built yet; asking for it by name, or with ZOO_SCAN=compiled, builds it once"
            _build_alone(path)
        torch.ops.load_library(path)
    except (OSError, RuntimeError) as error:
        tail = "\n".join(str(error).strip().splitlines()[-TAIL_LINES:])
        return f"it does not {'load' if path.exists() else 'build'}: {tail}"
    return ""


def _build_alone(path: Path) -> None:
    """Build, or wait for the process that does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _build(path)


def _build(path: Path) -> None:
    instructions, flags = target()
    _logger.warning("building the CPU kernel of the selective scan for %s, once (about 20 s)", instructions)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the loader and of what it imports
        from torch.utils import cpp_extension

        cpp_extension.load(
            NAME,
            [str(HERE / source) for source in SOURCES],
            extra_cflags=list(flags),
            extra_ldflags=[flag for flag in flags if flag == "-fopenmp"],
            build_directory=folder,
            is_python_module=False,
        )
        log = f"{instructions}\n{' '.join(flags)}\ntorch {torch.__version__}\n{time.monotonic() - start:.1f} s\n"
        path.with_name("build.log").write_text(log)
        os.replace(Path(folder) / f"{NAME}.so", path)
