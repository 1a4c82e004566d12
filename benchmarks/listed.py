"""Videos of a suite as its annotation files list them: what most suites hand back once their files are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.results import digest
from zoo.data.cache import FrameCache
from zoo.data.records import Record
from zoo.suggest import unknown

Lists = Mapping[tuple[str, str], Sequence[Record] | Callable[[], Sequence[Record]]]


def notes_of(videos: object) -> list[str]:
    """What is to be said of the lists of a suite that were read so far; nothing of a suite without annotation files."""
    return list(dict.fromkeys(videos.notes)) if isinstance(videos, ListedVideos) else []


def hash_of(records: Sequence[Record], name_of: Callable[[Path], str]) -> str:
    """Hash of a list: names, labels, rows, parts and targets, in order.

    Args:
        records: the list.
        name_of: a video's name, which must not depend on where the videos lie.
    """
    return digest(
        [[name_of(it.path), it.label, it.row, list(it.span) if it.span else None, it.target] for it in records]
    )


@dataclass(frozen=True, kw_only=True)
class ListedVideos:
    """Videos on this machine, and the lists that name them.

    Attributes:
        folder: what the paths of the records lie in.
        lists: (task, split) -> its records, or what reads them once they are asked for: an evaluation needs one list,
            and others may be long, or their videos elsewhere.
        names: task -> names of its classes in the order of the labels; none for a regression.
        notes: what was odd about the annotation files but accepted (byte order marks, line ends), for the result; it
            may grow as lists are read.
        train_split: the list that pretraining may see.
    """

    folder: Path
    lists: Lists
    names: Mapping[str, tuple[str, ...]]
    notes: Sequence[str] = ()
    train_split: str = "train"
    _found: dict[tuple[str, str], Sequence[Record]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def records(self, task: str, split: str) -> list[Record]:
        """The list of a task and split.

        Raises:
            UnknownNameError: for a task or split without a list, naming the closest ones.
            SuiteError: for a list that is read only now, and of which no video is there.
            ListError: likewise, for a list that cannot be read.
        """
        if (task, split) not in self.lists:
            raise unknown("list", f"{task}/{split}", [f"{task}/{split}" for task, split in self.lists])
        if (task, split) not in self._found:
            given = self.lists[task, split]
            self._found[task, split] = given() if callable(given) else given
        return list(self._found[task, split])

    def pretraining(self) -> list[Record]:
        """Every distinct part of a video of the training lists, without labels."""
        found = {
            (record.path, record.span): None
            for task, split in self.lists
            if split == self.train_split
            for record in self.records(task, split)
        }
        return [Record(path, -1, row, span) for row, (path, span) in enumerate(found)]

    def split_hash(self, task: str, split: str) -> str:
        """Hash of a list: names below the folder, labels, targets, rows and parts, in order.

        The content of the videos is not part of it; `zoo data check` writes a manifest of that.
        """
        # Strings, not Path: lists have up to a million lines.
        above = self.folder.as_posix().rstrip("/") + "/"
        return hash_of(self.records(task, split), lambda path: path.as_posix().removeprefix(above))

    def classes(self, task: str) -> tuple[str, ...]:
        """Names of a task's classes."""
        return self.names[task]

    def cache(self, *, workers: int | None = None, progress: bool = True) -> FrameCache | None:
        """None: such suites are too large to be kept decoded."""
        return None
