"""HMDB51, each of its three splits a task.

    ROOT/testTrainMulti_7030_splits/{class}_test_split{1,2,3}.txt     or in test_train_splits/, splits/, annotations/
    ROOT/{class}/*.avi                                                or videos/{class}/, hmdb51_org/{class}/

Each file has `{video} {id}` a line: 1 for training, 2 for testing, 0 for neither (the authors' split_readme.txt, which
public repositories quote: 153 files, 70 videos of id 1 and 30 of id 2 in each). Classes are numbered in alphabetical
order, as open-mmlab/mmaction2 does.
"""

import re
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError
from benchmarks.suites import layouts
from benchmarks.suites.finding import ANNOTATIONS, Finder, moved
from benchmarks.suites.three_splits import NUMBERS, QUIRK, tasks_of
from zoo.data.records import Record
from zoo.data.tables import Table, read_columns

NUM_CLASSES = 51
URL = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"
LISTS = ("testTrainMulti_7030_splits", "test_train_splits", "splits", *ANNOTATIONS)
FOLDERS = ("", "videos", "hmdb51_org")
ROLES = {"0": "neither", "1": "train", "2": "test"}


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("hmdb51", root, url=URL)
    lists: dict[tuple[str, str], list[Record]] = {}
    names: dict[str, tuple[str, ...]] = {}
    notes: list[str] = []
    for number in NUMBERS:
        files = _files(finder, number)
        if not files:
            continue
        if len(files) != NUM_CLASSES:
            raise SuiteError(
                f"hmdb51: {len(files)} classes have a file of split {number}, expected {NUM_CLASSES}; their numbers "
                "cannot be told from a part"
            )
        tables = {name: read_columns(file, columns=("video", "id"), delimiter=" ") for name, file in files.items()}
        notes += [note for table in tables.values() for note in table.notes]
        names[f"split{number}"] = tuple(tables)
        for split in ("train", "test"):
            if records := _records(finder, tables, split):
                lists[f"split{number}", split] = records
    if not lists:
        raise finder.missing([f"{{class}}_test_split{number}.txt" for number in NUMBERS])
    return ListedVideos(folder=finder.root, lists=lists, names=names, notes=tuple(dict.fromkeys(notes)))


def _files(finder: Finder, number: int) -> dict[str, Path]:
    """Class -> its file of a split, in alphabetical order, from the first folder that has any."""
    for name in LISTS:
        folder = finder.root / name
        found = {
            match[1]: path
            for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if (match := re.fullmatch(rf"(\w+)_test_split{number}\.txt", path.name))
        }
        if found:
            return dict(sorted(found.items()))
    return {}


def _records(finder: Finder, tables: dict[str, Table], split: str) -> list[Record]:
    """The videos of one split, class after class."""
    records: list[Record] = []
    for label, (name, table) in enumerate(tables.items()):
        seen: dict[str, int] = {}
        for row in table.rows:
            video, role = row.path("video"), ROLES[row.choice("id", tuple(ROLES))]
            if video in seen:
                raise row.error("video", f"{video!r} is listed again (line {seen[video]}); list each once")
            seen[video] = row.line
            if role == split:
                records.append(Record(Path(name, video), label, len(records)))
    if not records:
        return []
    folder, _ = finder.place([record.path.as_posix() for record in records], FOLDERS)
    return moved(records, folder)


SUITE = Suite(
    name="hmdb51",
    description="HMDB51: actions of people in short clips, most of them from films.",
    tasks=tasks_of(NUM_CLASSES),
    splits=("train", "test"),
    test_split="test",
    licence="CC BY 4.0 for the annotations (from memory); the clips belong to the films' owners",
    source="Kuehne et al. 2011 (ICCV); format from the authors' split_readme.txt as public repositories quote it",
    quirks=(
        QUIRK,
        "A video that a list marks with 0 is neither trained nor tested on.",
    ),
    prepare=prepare,
    # 51 classes x 70 and x 30 videos, split_readme.txt.
    sizes={"official lists": {"train": 3_570, "test": 1_530}},
    url=URL,
    layout=layouts.hmdb51,
)
