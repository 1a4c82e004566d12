"""What a suite is: the constants of a set of videos and how its lists are read.

A suite's quirks live in its own file under `benchmarks/suites/` and nowhere else. Rendering, downloading or finding the
videos is left to `Suite.prepare`; what comes back answers for lists, hashes and decoded clips.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from benchmarks.layout import Layout, Plan
from zoo.card import ClipSpec
from zoo.data.cache import FrameCache
from zoo.data.records import Record
from zoo.suggest import unknown


class SuiteError(ValueError):
    """Videos or annotation files that are not where a suite looks for them; the message says what was looked for."""


@runtime_checkable
class Videos(Protocol):
    """A suite's videos on this machine."""

    def records(self, task: str, split: str) -> list[Record]:
        """The list of a task and split."""

    def pretraining(self) -> list[Record]:
        """Clips for pretraining, without labels; none of a test split."""

    def split_hash(self, task: str, split: str) -> str:
        """Hash of a list and of its videos."""

    def classes(self, task: str) -> tuple[str, ...]:
        """Names of a task's classes in the order of the labels.

        None for a regression, and where the files number the classes of a set without naming them.
        """

    def cache(self, *, workers: int | None = None, progress: bool = True) -> FrameCache | None:
        """All videos decoded, for suites small enough; None for others."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question that a suite asks.

    Attributes:
        name: as the command line knows it.
        question: what is asked, in one sentence.
        classes: names, in the order of the labels; empty where only the annotations hold them (`Videos.classes`).
        num_outputs: number of classes where `classes` is empty; 1 for a regression.
        metric: headline metric: "top1" is averaged over videos, "mean_class" and "recall5" (right among the five most
            probable ones) over classes; "mse" is the mean squared error of a regression.
        num_frames: frames of a video; None where they vary.
        sampling: rule that chooses the frames of a clip (see `zoo.data.sampling`); None for the network's own.
        clips: temporal clips per video in evaluation; None for the network's own.
        crops: spatial crops per clip in evaluation; None for the network's own.
        margin: short side after resizing over the side of the crop, where the network does not say itself; 1 for crops
            as large as the short side.
        flip: horizontal flips are allowed in training.
        videos_per_scene: consecutive videos of the lists that show one scene; they are not independent samples, so
            intervals and tests draw them together.
        ceiling: accuracy that a system without any sense of order can reach at best; None where order plays no part.
        leak_bounds: control -> accuracy that its 95 % interval must not lie above, or the suite leaks.
    """

    name: str
    question: str
    classes: tuple[str, ...] = ()
    num_outputs: int = 0
    metric: Literal["top1", "mean_class", "recall5", "mse"] = "top1"
    num_frames: int | None = None
    sampling: Literal["dense", "strided", "uniform", "segments", "vjepa"] | None = "uniform"
    clips: int | None = 1
    crops: int | None = 1
    margin: float = 1.0
    flip: bool = True
    videos_per_scene: int = 1
    ceiling: float | None = None
    leak_bounds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.classes) == bool(self.num_outputs):
            raise ValueError(f"task {self.name!r} needs either the names of its classes or num_outputs")

    @property
    def num_classes(self) -> int:
        """Number of classes; 1 for a regression."""
        return len(self.classes) or self.num_outputs

    @property
    def chance(self) -> float:
        """The headline metric of guessing among balanced classes."""
        return min(1.0, (5 if self.metric == "recall5" else 1) / self.num_classes)

    def named(self, names: tuple[str, ...]) -> "Task":
        """The task with the names of its classes, which are their labels where nobody names them."""
        names = names or tuple(str(label) for label in range(self.num_classes))
        return self if self.classes else replace(self, classes=names, num_outputs=0)

    def clip_spec(self, network: ClipSpec) -> ClipSpec:
        """The clips that a network gets here: its frames, size and normalisation, this task's sampling and views."""
        return replace(
            network,
            sampling=self.sampling or network.sampling,
            clips=self.clips or network.clips,
            crops=self.crops or network.crops,
            short_side=network.short_side or (int(network.img_size * self.margin) if self.margin > 1 else None),
            flip=network.flip and self.flip,
        )


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Constants of a set of videos.

    Attributes:
        name: as the command line knows it.
        description: what it is, in a sentence or two, for reports.
        tasks: in the order of tables.
        splits: names of the lists.
        test_split: the list that accuracies are measured on.
        licence: of the videos.
        source: where they come from.
        quirks: what one must know to read its numbers.
        prepare: finds or makes the videos; takes the folder that holds or will hold them (None for the default) and
            whether to show progress.
        side_px: shorter side of the videos in pixels; None where they vary or are large enough for every network.
        sizes: lengths of the lists in public use: whose list -> split (or "task/split") -> videos. A list of another
            length is no error; a result names the copy that its lists have the sizes of, or says that it is none.
        train_split: the list that systems are trained on.
        url: where the annotations are described or can be had.
        layout: a generated copy in the files and folders of the official release; None where nobody wrote that down.
        small: a part of the suite to try things out on; None where there is none.
    """

    name: str
    description: str
    tasks: tuple[Task, ...]
    splits: tuple[str, ...]
    test_split: str
    licence: str
    source: str
    quirks: tuple[str, ...]
    prepare: Callable[[Path | None, bool], Videos]
    side_px: int | None = None
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    train_split: str = "train"
    url: str = ""
    layout: Callable[[Plan], Layout] | None = None
    small: "Suite | None" = None

    def task(self, name: str) -> Task:
        """The task of a name.

        Raises:
            KeyError: naming the closest ones.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise unknown("task", name, [task.name for task in self.tasks])

    def sizes_of(self, task: str, split: str) -> dict[str, int]:
        """Whose list -> its length in videos, for a task's list in public use."""
        found = {whose: sizes.get(f"{task}/{split}", sizes.get(split)) for whose, sizes in self.sizes.items()}
        return {whose: length for whose, length in found.items() if length is not None}

    def copies_of(self, task: str, split: str, num_videos: int) -> list[str]:
        """Whose lists have this length, of those in public use.

        Args:
            task: a task's name.
            split: the list's name.
            num_videos: its length in videos.
        """
        return [whose for whose, length in self.sizes_of(task, split).items() if length == num_videos]
