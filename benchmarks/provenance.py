"""Where a number came from: commit, device, versions, command line."""

import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "video-backbone-zoo",
    "torch",
    "triton",
    "torchvision",
    "timm",
    "pytorch-lightning",
    "numpy",
    "av",
    "decord",
    "scikit-learn",
)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The circumstances of a run, gathered once in the main process."""

    device: str
    versions: dict[str, str]
    commit: str
    command: str


def provenance(*, threads: int, command: list[str] | None = None) -> Provenance:
    """Describe this machine, its packages and the checkout.

    Args:
        threads: compute threads of each run.
        command: command line; `sys.argv` when None.
    """
    words = command if command is not None else ["zoo", *sys.argv[1:]]
    return Provenance(
        device=f"{processor()}, {threads} thread{'s' * (threads != 1)} per run, {platform.system()}",
        versions={"python": platform.python_version(), **installed(PACKAGES)},
        commit=commit(Path(__file__).parent),
        command=shlex.join(words),
    )


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def installed(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Name of the CPU as the machine gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit(folder: Path) -> str:
    """Commit of the checkout around a folder, with "+changes" when tracked files differ; "" outside a checkout."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head + ("+changes" if changed else "")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def clock_words(device: str) -> str:
    """What times are, and how fast the processor ran when this was asked."""
    if device == "cuda":
        return "wall-clock time between synchronisations"
    cpuinfo, rates = Path("/proc/cpuinfo"), []
    if cpuinfo.exists():
        rates = [float(line.partition(":")[2]) for line in cpuinfo.read_text().splitlines() if line[:7] == "cpu MHz"]
    return "CPU time of one thread" + (f", cores at {max(rates):,.0f} MHz when it began" if rates else "")
