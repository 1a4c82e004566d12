"""Finding a suite's files below the folder that a user names, and saying what was looked for where it is not there."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.suite import SuiteError
from zoo.data.list_files import ListError
from zoo.data.records import Record, read_listed

# Where annotation files lie below the folder.
ANNOTATIONS = ("", "annotations", "lists", "labels")
VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg")
# Videos that are looked for, spread over a list, before it is said that none of it is there.
PROBES = 40


class Finder:
    """Looks for the files of one suite.

    Args:
        suite: as the command line knows it.
        root: the folder that the user named.
        url: where the annotations can be had.

    Raises:
        SuiteError: when there is no such folder.
    """

    def __init__(self, suite: str, root: Path | None, *, url: str) -> None:
        self.suite, self.url = suite, url
        if root is None:
            raise SuiteError(f"{suite} needs the folder with its videos and lists, --data FOLDER; {self.advice}")
        if not root.is_dir():
            raise SuiteError(f"{suite}: there is no folder {str(root)!r} to look for its files in; {self.advice}")
        self.root = root

    @property
    def advice(self) -> str:
        """Where to get the files."""
        return (
            f"the annotations are described at {self.url}; `zoo data synth {self.suite} --out DIR` writes a small "
            "made-up set of the same layout"
        )

    def missing(self, names: Sequence[str]) -> SuiteError:
        """The error for annotation files that were not found."""
        places = ", ".join(repr(str(self.root / folder)) for folder in ANNOTATIONS)
        return SuiteError(
            f"{self.suite}: found no annotation file; looked for {', '.join(names)} in {places}; {self.advice}"
        )

    def file(self, *names: str, folders: Sequence[str] = ()) -> Path | None:
        """The annotation file of one of these names; None where there is none.

        Args:
            names: that it may have.
            folders: further folders below the root that it may lie in.

        Raises:
            SuiteError: when there are several, which may differ.
        """
        places = [self.root / folder / name for folder in (*ANNOTATIONS, *folders) for name in names]
        found = [place for place in dict.fromkeys(places) if place.is_file()]
        if len(found) > 1:
            raise SuiteError(
                f"{self.suite}: {' and '.join(repr(str(it)) for it in found)} are lists of the same; keep one of them"
            )
        return found[0] if found else None

    def lists(self, splits: Sequence[str]) -> dict[str, Path]:
        """The common list of each split that has one."""
        return {split: file for split in splits if (file := self.file(f"{split}.csv", f"{split}.txt"))}

    def folder(self, *names: str) -> Path | None:
        """The first of these folders below the root; None where there is none."""
        return next((self.root / name for name in names if (self.root / name).is_dir()), None)

    def place(self, names: Sequence[str], folders: Sequence[str], suffixes: Sequence[str] = ("",)) -> tuple[Path, str]:
        """The folder that listed videos lie in, and what their names end in.

        A listed video that is missing is no error here: it is part of the test set and is reported as failed. That
        none of them is there means that the folder is another one.

        Args:
            names: paths as they are listed.
            folders: where they may lie below the root.
            suffixes: what they may end in.

        Raises:
            SuiteError: when none of the videos that were tried is anywhere.
        """
        step = max(1, len(names) // PROBES)
        probes = names[::step]
        for folder in folders:
            for suffix in suffixes:
                if any((self.root / folder / f"{name}{suffix}").is_file() for name in probes):
                    return self.root / folder, suffix
        raise self.no_videos(probes[0] + suffixes[0], len(probes), folders)

    def placed(
        self, records: Sequence[Record], folders: Sequence[str], suffixes: Sequence[str] = ("",)
    ) -> list[Record]:
        """Records where their videos lie; arguments and errors as `place`."""
        folder, suffix = self.place([record.path.as_posix() for record in records], folders, suffixes)
        return moved(records, folder, suffix)

    def no_videos(self, name: str, tried: int, folders: Sequence[str]) -> SuiteError:
        """The error for a list of which no video is there."""
        places = ", ".join(repr(str(self.root / folder)) for folder in folders)
        return SuiteError(
            f"{self.suite}: none of {tried} listed videos (such as {name!r}) is in {places}: --data is probably wrong; "
            f"{self.advice}"
        )

    def check(self, records: Sequence[Record], folder: Path) -> None:
        """Refuse a list of which no video is there: the folder is probably another one.

        Raises:
            SuiteError: when none of the videos that were tried is there.
        """
        probes = records[:: max(1, len(records) // PROBES)]
        if not any(record.path.is_file() for record in probes):
            raise self.no_videos(probes[0].path.name, len(probes), [folder.relative_to(self.root).as_posix()])

    def stems(self, folder: Path) -> dict[str, Path]:
        """The videos in a folder and in its subfolders, by name without ending.

        Raises:
            SuiteError: when two have the same, so that a list of such names could mean either.
        """
        found: dict[str, Path] = {}
        for place, subfolders, files in os.walk(folder, followlinks=True):
            if Path(place) != folder:
                subfolders.clear()
            for name in files:
                stem, ending = os.path.splitext(name)
                if ending.lower() not in VIDEO_SUFFIXES:
                    continue
                path = Path(place, name)
                if stem in found:
                    raise SuiteError(f"{self.suite}: {str(found[stem])!r} and {str(path)!r} have one name; keep one")
                found[stem] = path
        return found


def moved(records: Sequence[Record], folder: Path, suffix: str = "") -> list[Record]:
    """Records whose relative paths now lie in a folder."""
    if not suffix:
        return [record._replace(path=folder / record.path) for record in records]
    return [record._replace(path=folder / f"{record.path}{suffix}") for record in records]


def numbered_names(file: Path, names: dict[int, str], num_classes: int) -> tuple[str, ...]:
    """Names of classes in the order of their numbers.

    Raises:
        ListError: unless each of the numbers from 0 has one name.
    """
    if sorted(names) != list(range(num_classes)):
        lacking = [number for number in range(num_classes) if number not in names]
        raise ListError(
            str(file),
            0,
            "file",
            f"names {len(names)} classes; expected {num_classes}, numbered 0 to {num_classes - 1}"
            + (f"; number {lacking[0]} is missing" if lacking else ""),
        )
    return tuple(names[number] for number in range(num_classes))


class CommonLists(NamedTuple):
    """Lists of a path and a number a line.

    Attributes:
        records: split -> what tells where its videos lie.
        listed: split -> its videos as they are listed.
        notes: what was odd about the files but accepted.
    """

    records: dict[str, Callable[[], list[Record]]]
    listed: dict[str, list[Record]]
    notes: list[str]


def common_lists(
    finder: Finder, files: Mapping[str, Path], *, num_classes: int, folders: Callable[[str], Sequence[str]]
) -> CommonLists:
    """Read common lists; their videos are found once they are asked for.

    Args:
        finder: of the suite's files.
        files: split -> its list.
        num_classes: labels must be below it.
        folders: where the videos of a split may lie below the root.

    Raises:
        ListError: for a list that cannot be read.
    """
    found = CommonLists({}, {}, [])
    for split, file in files.items():
        records, notes = read_listed(file, root=".", num_classes=num_classes, must_exist=False)
        found.records[split], found.listed[split] = partial(finder.placed, records, folders(split)), records
        found.notes.extend(notes)
    return found
