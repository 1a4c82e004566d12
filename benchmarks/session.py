"""A request for a comparison, and everything it stands for once names are checked and videos are there."""

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks.budgets import Budget, budget
from benchmarks.plan import Comparison
from benchmarks.provenance import Provenance, provenance
from benchmarks.suite import Suite, Videos
from benchmarks.suites.finding import Finder
from benchmarks.suites.table import get_suite
from benchmarks.systems import systems
from zoo.data.cache import FrameCache
from zoo.folders import cache_root, require_writable

REQUEST_FILE = "request.json"


class RequestError(ValueError):
    """What a person asked for cannot be done; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for.

    Attributes:
        names: architectures.
        suite: name of the suite.
        data: folder of the suite's official files; None for a suite that is rendered.
        task: the only task to compare on; "" for all of the suite.
        protocol: name of the evaluation protocol.
        budget: name of the budget.
        seeds: number of training seeds.
        out: folder of results, weights and report.
        jobs: runs at a time; one per core when None.
        cache: where videos and decoded frames are kept; the zoo's own folder when None.
    """

    names: tuple[str, ...]
    suite: str = "digits"
    data: Path | None = None
    task: str = ""
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
        others = {"--task": self.task, "--data": self.data, "--cache": self.cache}
        return shlex.join([*words, *(word for name, it in others.items() if it for word in (name, str(it)))])

    def save(self) -> None:
        """Note in the folder what it was made for, so that its report can be made again."""
        values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}
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
            # Folders written before other suites than the embedded one could be compared on name no data.
            folders = {"cache": values["cache"], "data": values.get("data")}
            given = {name: Path(value) if value else None for name, value in folders.items()}
            return cls(**{**values, **given, "names": tuple(values["names"]), "out": folder})
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


def no_folder(path: Path) -> str:
    """Why a path is no folder."""
    return "this is a file, not a folder" if path.exists() else "there is no such folder"


def check_data(suite: Suite, folder: Path | None) -> None:
    """See whether the folder of a suite's official files is there, before anything is read.

    Raises:
        RequestError: where there is no such folder.
        SuiteError: where a suite needs one and none is named.
    """
    if folder is not None and not folder.is_dir():
        raise RequestError(f"--data {folder}: {no_folder(folder)}; it should hold the files of {suite.name}")
    if suite.url:
        Finder(suite.name, folder, url=suite.url)


def with_classes(suite: Suite, videos: Videos) -> Suite:
    """The suite with the tasks that ask for classes, and their names.

    Raises:
        RequestError: for a suite that asks for values alone.
    """
    tasks = tuple(task.named(videos.classes(task.name)) for task in suite.tasks if task.metric != "mse")
    if not tasks:
        raise RequestError(f"{suite.name} asks for values, and a comparison is one of classes; evaluate with zoo eval")
    return replace(suite, tasks=tasks)


def open_session(request: Request, console: Console) -> Session:
    """Check the names, make the videos, decode them.

    Raises:
        UnknownNameError: for a name that does not exist, with the closest ones.
        SizeError: for an architecture that is not made for the suite's clips.
        RequestError: for folders that are not there, and for suites without classes.
        FolderError: for folders that cannot be written to.
        SuiteError: for official files that are not below `request.data`.
        ListError: for annotation files that cannot be read.
    """
    spent = budget(request.budget)
    suite = get_suite(request.suite)
    suite = suite.small if spent.small_suite and suite.small else suite
    if request.task:
        suite = replace(suite, tasks=(suite.task(request.task),))
    # Names are checked before the minute that rendering takes.
    sized = systems(request.names, side_px=suite.side_px, suite=request.suite)
    if len(sized) < len(request.names):
        words = f"named more than once, which makes no difference: {', '.join(request.names)} are "
        console.print(words + ", ".join(it.label for it in sized), style="yellow", highlight=False, markup=False)
    for option, folder in (("--out", request.out), ("--cache", request.cache or cache_root())):
        require_writable(option, folder)
    check_data(suite, request.data)
    if request.data is None and not suite.url:
        console.print(
            f"videos of {suite.name}: rendered and decoded at the first use, read after that", highlight=False
        )
    videos = suite.prepare(request.data or request.cache, console.is_terminal)
    asked = with_classes(suite, videos)
    if values := [task.name for task in suite.tasks if task.metric == "mse"]:
        console.print(f"left out, because they ask for values and not for classes: {', '.join(values)}", style="yellow")
    return Session(
        request=request,
        comparison=Comparison(
            systems=sized,
            suite=asked,
            videos=videos,
            protocol=request.protocol,
            budget=spent,
            seeds=range(request.seeds),
        ),
        cache=videos.cache(progress=console.is_terminal),
        told=provenance(threads=1),
    )
