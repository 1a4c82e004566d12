"""Which videos a command of `zoo data` is about: those of a suite, or of lists in the Kinetics format."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data_tools.options import DataError
from benchmarks.listed import notes_of
from benchmarks.suite import Suite, Task, Videos
from zoo.data.records import Record, read_listed
from zoo.suggest import UnknownNameError

# What lists without a suite are the lists of.
NO_TASK = ""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Lists of videos.

    Attributes:
        name: of the suite, or of the first list.
        root: folder that names of videos are relative to.
        lists: (task, split) -> records; for plain lists the task is "" and the split the name of the list.
        suite: the suite, None for plain lists.
        videos: what the suite found, None for plain lists.
        files: the plain lists, in the order of `lists`.
        notes: what was odd about the files but accepted.
    """

    name: str
    root: Path
    lists: Mapping[tuple[str, str], Sequence[Record]]
    suite: Suite | None = None
    videos: Videos | None = None
    files: tuple[Path, ...] = ()
    notes: Sequence[str] = ()

    def paths(self) -> dict[str, Path]:
        """Name -> file of every distinct video, in the order of the lists."""
        found: dict[str, Path] = {}
        for records in self.lists.values():
            for record in records:
                found.setdefault(self.name_of(record.path), record.path)
        return found

    def name_of(self, path: Path) -> str:
        """A video's path below the root with forward slashes; the whole path where it lies elsewhere."""
        # Not resolved: a link is a name of its own, and asking for 240,000 files takes minutes on a network drive.
        full, root = os.path.abspath(path), os.path.abspath(self.root)
        inside = full.startswith(root.rstrip(os.sep) + os.sep)
        return Path(os.path.relpath(full, root) if inside else full).as_posix()

    def task(self, name: str) -> Task | None:
        """The suite's task of a name; None for plain lists."""
        return None if self.suite is None else self.suite.task(name)

    def title(self, task: str, split: str) -> str:
        """What a list is called in tables."""
        return split if task == NO_TASK else f"{task}/{split}"


def listing_of(arguments: argparse.Namespace) -> Listing:
    """The lists that a command line names.

    Raises:
        DataError: options that contradict each other, or folders that are not there.
        ListError: for a list that cannot be read without guessing.
        UnknownNameError: for an unknown suite, task or split.
    """
    if bool(arguments.suite) == bool(arguments.lists):
        raise DataError("name either a suite (with --data DIR), or lists (--list FILE --root DIR)")
    ours, theirs = ("data", "task", "split"), ("root", "outside")
    for option in theirs if arguments.suite else ours:
        if getattr(arguments, option):
            right = "--data" if arguments.suite else "--list and --root"
            raise DataError(f"--{option} has no meaning with {'a suite' if arguments.suite else '--list'}; use {right}")
    for option in ("data", "root"):
        folder = getattr(arguments, option)
        if folder is not None and not folder.is_dir():
            raise DataError(f"--{option}: there is no folder {str(folder)!r}")
    if arguments.suite:
        return _of_suite(arguments.suite, arguments.data, arguments.task, arguments.split)
    return _of_lists(arguments.lists, arguments.root, outside=arguments.outside)


def _of_suite(name: str, folder: Path | None, only_task: str, only_split: str) -> Listing:
    from benchmarks.suites.table import get_suite

    suite = get_suite(name)
    tasks = [suite.task(only_task)] if only_task else list(suite.tasks)
    if only_split and only_split not in suite.splits:
        raise DataError(f"suite {name!r} has no split {only_split!r}; its splits: {', '.join(suite.splits)}")
    videos = suite.prepare(folder, True)
    lists: dict[tuple[str, str], list[Record]] = {}
    missing: list[UnknownNameError] = []
    for task in tasks:
        for split in [only_split] if only_split else suite.splits:
            try:
                lists[task.name, split] = videos.records(task.name, split)
            except UnknownNameError as error:
                # Some copies of a data set come without the test list, and some tasks have splits of their own.
                missing.append(error)
    if not any(lists.values()):
        raise DataError(f"no list of suite {name!r} was found{f' in {str(folder)!r}' if folder else ''}: {missing[:1]}")
    return Listing(
        name=name, root=folder or _common(lists), lists=lists, suite=suite, videos=videos, notes=notes_of(videos)
    )


def _of_lists(files: Sequence[Path], root: Path | None, *, outside: bool) -> Listing:
    names = [file.stem for file in files]
    titles = [name if names.count(name) == 1 else str(file) for name, file in zip(names, files, strict=True)]
    if len(set(titles)) < len(titles):
        raise DataError(f"the list {max(titles, key=titles.count)!r} is named twice")
    read = [read_listed(file, root=root, outside=outside, must_exist=False) for file in files]
    lists = {(NO_TASK, title): found.records for title, found in zip(titles, read, strict=True)}
    notes = [note for found in read for note in found.notes]
    folder = root or Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))
    return Listing(name=names[0], root=folder, lists=lists, files=tuple(files), notes=notes)


def _common(lists: Mapping[tuple[str, str], Sequence[Record]]) -> Path:
    parents = {os.path.dirname(os.path.abspath(record.path)) for records in lists.values() for record in records}
    return Path(os.path.commonpath(sorted(parents)))
