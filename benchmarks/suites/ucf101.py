"""UCF101, each of its three splits a task.

    ROOT/classInd.txt                              `1 ApplyEyeMakeup`, numbered from 1
    ROOT/trainlist01.txt  testlist01.txt  ... 03   `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`; test without number
    ROOT/UCF-101/{class}/*.avi                     or videos/{class}/, or {class}/ in ROOT

The lists also lie in ucfTrainTestlist/, the folder of the official archive. Established from open-mmlab/mmaction2
tools/data/parse_file_list.py and from the readers of several public repositories.
"""

from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite
from benchmarks.suites import layouts
from benchmarks.suites.finding import Finder, moved, numbered_names
from benchmarks.suites.three_splits import NUMBERS, QUIRK, tasks_of
from zoo.data.records import Record
from zoo.data.tables import Row, read_columns

NUM_CLASSES = 101
URL = "https://www.crcv.ucf.edu/data/UCF101.php"
INSIDE = ("ucfTrainTestlist",)
FOLDERS = ("UCF-101", "videos", "")


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("ucf101", root, url=URL)
    classes = finder.file("classInd.txt", folders=INSIDE)
    files = {
        (f"split{number}", split): file
        for number in NUMBERS
        for split in ("train", "test")
        if (file := finder.file(f"{split}list{number:02d}.txt", folders=INSIDE))
    }
    if classes is None or not files:
        raise finder.missing(["classInd.txt", "trainlist01.txt", "testlist01.txt"])
    index = read_columns(classes, columns=("number", "name"), delimiter=" ", unique=("name",))
    numbers = {row.text("name"): row.integer("number", low=1, high=NUM_CLASSES) - 1 for row in index.rows}
    names = numbered_names(classes, {number: name for name, number in numbers.items()}, NUM_CLASSES)
    notes = list(index.notes)
    lists = {}
    for key, file in files.items():
        table = read_columns(file, columns=("path",), optional=("label",), delimiter=" ", unique=("path",))
        notes += table.notes
        records = [_record(row, place, numbers) for place, row in enumerate(table.rows)]
        folder, _ = finder.place([record.path.as_posix() for record in records], FOLDERS)
        lists[key] = moved(records, folder)
    return ListedVideos(
        folder=finder.root, lists=lists, names={task: names for task, _ in lists}, notes=tuple(dict.fromkeys(notes))
    )


def _record(row: Row, place: int, numbers: dict[str, int]) -> Record:
    """A line; its class is the folder, which the number of a training list must agree with."""
    name = Path(row.path("path"))
    if name.parent.name not in numbers:
        raise row.error("path", f"{name.parent.name!r} is no class of classInd.txt")
    label = numbers[name.parent.name]
    if "label" in row.fields and row.integer("label", low=1, high=NUM_CLASSES) != label + 1:
        raise row.error("label", f"is {row.fields['label']}, but {name.parent.name} is number {label + 1}")
    return Record(name, label, place)


# The sizes of the lists, from memory.
SIZES = {
    "official lists (from memory)": {
        "split1/train": 9_537,
        "split1/test": 3_783,
        "split2/train": 9_586,
        "split2/test": 3_734,
        "split3/train": 9_624,
        "split3/test": 3_696,
    }
}

SUITE = Suite(
    name="ucf101",
    description="UCF101: actions of people, many of them sports, in clips of about seven seconds from YouTube.",
    tasks=tasks_of(NUM_CLASSES),
    splits=("train", "test"),
    test_split="test",
    licence="not stated; the videos belong to their authors on YouTube",
    source="Soomro et al. 2012 (arXiv 1212.0402); format from public readers of it",
    quirks=(
        QUIRK,
        "Clips of one group (gNN in their names) come from one video; the splits keep groups together.",
        "Files of HandstandPushups are called v_HandStandPushups_*; some copies spell folder or lists otherwise, and "
        "such videos are reported as missing.",
    ),
    prepare=prepare,
    sizes=SIZES,
    url=URL,
    layout=layouts.ucf101,
)
