"""A request for a comparison, and everything it stands for once names are checked and videos are there."""

import json
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.budgets import Budget, budget
from benchmarks.plan import Comparison
from benchmarks.provenance import Provenance, provenance
from benchmarks.suite import Suite
from benchmarks.suites import digits
from benchmarks.systems import systems
from zoo.data.cache import FrameCache
from zoo.folders import cache_root

SUITES = {"digits": (digits.SUITE, digits.SMOKE)}
REQUEST_FILE = "request.json"


class RequestError(ValueError):
    """What a person asked for cannot be done; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for.

    Attributes:
        names: architectures.
        suite: name of the suite.
        protocol: name of the evaluation protocol.
        budget: name of the budget.
        seeds: number of training seeds.
        out: folder of results, weights and report.
        jobs: runs at a time; one per core when None.
        cache: where videos and decoded frames are kept; the zoo's own folder when None.
    """

    names: tuple[str, ...]
    suite: str = "digits"
    protocol: str = "finetune"
    budget: str = "quick"
    seeds: int = 1
    out: Path = Path("runs/compare")
    jobs: int | None = None
    cache: Path | None = None

    @property
    def command(self) -> str:
        """The command line that asks for the same; `jobs` is left out, because results do not depend on it."""
        words = ["zoo", "compare", *self.names, "--suite", self.suite, "--protocol", self.protocol]
        words += ["--budget", self.budget, "--seeds", str(self.seeds), "--out", str(self.out)]
        return shlex.join([*words, *(["--cache", str(self.cache)] if self.cache else [])])

    def save(self) -> None:
        """Note in the folder what it was made for, so that its report can be made again."""
        values = {**asdict(self), "out": str(self.out), "cache": str(self.cache) if self.cache else None}
        (self.out / REQUEST_FILE).write_text(json.dumps(values, indent=1))

    @classmethod
    def load(cls, folder: Path) -> "Request":
        """What a folder was made for.

        Raises:
            RequestError: for a folder that no comparison was written to.
        """
        file = folder / REQUEST_FILE
        if not file.exists():
            raise RequestError(f"no comparison was written to {folder}: it has no {REQUEST_FILE}")
        try:
            values = json.loads(file.read_text())
            cache = Path(values["cache"]) if values["cache"] else None
            return cls(**{**values, "names": tuple(values["names"]), "out": folder, "cache": cache})
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise RequestError(f"{file} is damaged ({reason}); run the comparison again, it repeats nothing") from None


@dataclass(frozen=True, kw_only=True)
class Session:
    """A request with everything that it stands for.

    Attributes:
        request: what was asked for.
        comparison: what the plan is made from.
        cache: decoded videos.
        told: circumstances to record.
    """

    request: Request
    comparison: Comparison
    cache: FrameCache | None
    told: Provenance

    @property
    def suite(self) -> Suite:
        """The suite."""
        return self.comparison.suite

    @property
    def budget(self) -> Budget:
        """The budget."""
        return self.comparison.budget


def _require_writable(option: str, folder: Path) -> None:
    """Make a folder, or say which option to change."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed, reason = os.access(folder, os.W_OK), "writing is not allowed there"
    except OSError as error:
        allowed, reason = False, str(error.strerror)
    if not allowed:
        raise RequestError(f"{option} {folder}: {reason}; give a folder that can be written to")


def open_session(request: Request, console: Console) -> Session:
    """Check the names, make the videos, decode them.

    Raises:
        UnknownNameError: for a name that does not exist, with the closest ones.
        SizeError: for an architecture that is not made for the suite's clips.
        RequestError: for folders that cannot be written to.
    """
    spent = budget(request.budget)
    suite = SUITES[request.suite][spent.small_suite]
    # Names are checked before the minute that rendering takes.
    sized = systems(request.names, side_px=suite.side_px, suite=request.suite)
    for option, folder in (("--out", request.out), ("--cache", request.cache or cache_root())):
        _require_writable(option, folder)
    console.print(f"videos of {suite.name}: rendered and decoded at the first use, read after that", highlight=False)
    videos = suite.prepare(request.cache, console.is_terminal)
    return Session(
        request=request,
        comparison=Comparison(
            systems=sized,
            suite=suite,
            videos=videos,
            protocol=request.protocol,
            budget=spent,
            seeds=range(request.seeds),
        ),
        cache=videos.cache(progress=console.is_terminal),
        told=provenance(threads=1),
    )
