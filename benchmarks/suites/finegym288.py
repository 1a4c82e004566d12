"""FineGym288: elements of gymnastics, as clips that were cut from the events.

    ROOT/gym288_train_element_v1.1.txt  gym288_val_element.txt     `{clip} {label}`, labels from 0
    ROOT/gym288_categories.txt                                     `Clabel: 0; set: 1; Glabel: 1; (VT) round-off, ...`
    ROOT/subactions/{clip}.mp4                                     or action_videos/, videos/, .mkv, .webm

A clip is called {video}_E_{start}_{end}_A_{start}_{end}, such as A0xAXXysHUo_E_002184_002237_A_0035_0036 (README of
SDOlivia/FineGym). The lists are read as several public readers do (open-mmlab/mmaction2 tools/data/gym/
generate_file_list.py for Gym99, which has the same form); the names of the categories likewise. Cutting the clips from
the original videos is left to MMAction2's scripts.
"""

import re
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task
from benchmarks.suites import layouts
from benchmarks.suites.finding import Finder, moved, numbered_names
from zoo.data.list_files import ListError
from zoo.data.records import Record
from zoo.data.tables import read_columns, read_names

TASK = "element"
NUM_CLASSES = 288
URL = "https://sdolivia.github.io/FineGym/"
FILES = {
    "train": ("gym288_train_element_v1.1.txt", "gym288_train_element_v1.0.txt", "gym288_train_element.txt"),
    "val": ("gym288_val_element.txt", "gym288_val_element_v1.1.txt"),
}
CATEGORIES = "gym288_categories.txt"
INSIDE = ("categories", "scripts")
FOLDERS = ("subactions", "action_videos", "videos", "")
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi")
CATEGORY = re.compile(r"Clabel:\s*([0-9]{1,3});.*;\s*([^;]+)")


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("finegym288", root, url=URL)
    files = {split: file for split, names in FILES.items() if (file := finder.file(*names, folders=INSIDE))}
    if not files:
        raise finder.missing([name for names in FILES.values() for name in names])
    names, notes = _categories(finder)
    lists = {}
    for split, file in files.items():
        table = read_columns(file, columns=("clip", "label"), delimiter=" ", unique=("clip",))
        notes += table.notes
        records = [
            Record(Path(row.path("clip")), row.integer("label", high=NUM_CLASSES - 1), place)
            for place, row in enumerate(table.rows)
        ]
        folder, suffix = finder.place([record.path.as_posix() for record in records], FOLDERS, SUFFIXES)
        lists[TASK, split] = moved(records, folder, suffix)
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=tuple(notes))


def _categories(finder: Finder) -> tuple[tuple[str, ...], list[str]]:
    file = finder.file(CATEGORIES, folders=INSIDE)
    if file is None:
        return (), [f"the lists name no classes; {CATEGORIES} beside them would"]
    read = read_names(file)
    found: dict[int, str] = {}
    for line in read.lines:
        match = CATEGORY.fullmatch(line.text)
        if match is None:
            raise ListError(
                str(file), line.number, "line", f"{line.text!r} is not as 'Clabel: 0; set: 1; Glabel: 1; name'"
            )
        if int(match[1]) in found:
            raise ListError(str(file), line.number, "Clabel", f"{match[1]} is listed again; list each once")
        found[int(match[1])] = match[2].strip()
    return numbered_names(file, found, NUM_CLASSES), list(read.notes)


SUITE = Suite(
    name="finegym288",
    description="FineGym288: elements of artistic gymnastics, which differ in turns and positions of a second or two.",
    tasks=(
        Task(
            name=TASK,
            question="Which of 288 elements does the clip show?",
            num_outputs=NUM_CLASSES,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=("train", "val"),
    test_split="val",
    licence="annotations CC BY-NC 4.0; the videos belong to their authors on YouTube",
    source="Shao et al. 2020 (arXiv 2004.06704), Gym288; format from its README and from public readers",
    quirks=(
        "Few classes have most of the clips. The authors print the mean over classes and top-1 (TSN: 26.5 and 68.3).",
        "Training lists have the versions 1.0 and 1.1; only the size of 1.0 is known here.",
    ),
    prepare=prepare,
    # README of SDOlivia/FineGym.
    sizes={"release 1.0": {"train": 22_671, "val": 9_646}},
    url=URL,
    layout=layouts.finegym288,
)
