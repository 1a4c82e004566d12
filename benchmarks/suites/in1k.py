"""ImageNet-1K, each image a video of one frame that a clip repeats.

    ROOT/train/n01440764/*.JPEG  val/n01440764/*.JPEG     a folder per class, as torchvision, timm and V-JEPA read it
    ROOT/train/...  val/ILSVRC2012_val_00000001.JPEG      Kaggle's release: the images of validation in one folder,
    ROOT/LOC_val_solution.csv  LOC_synset_mapping.txt     with `ImageId,PredictionString` beside; also in its own
    ROOT/ILSVRC/Data/CLS-LOC/{train,val}/                 folders
    ROOT/train.csv  val.csv                               common lists instead

Labels are the places of the classes' WordNet names in alphabetical order, the order that torchvision, timm and Keras
use; the numbers of the official development kit are others and are not read (https://gist.github.com/mkolod/
94b4a2d49491714962af22427d721c93). `LOC_synset_mapping.txt` (`n01440764 tench, Tinca tinca`) gives all 1000 names where
not every class has a folder.
"""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task
from benchmarks.suites import layouts
from benchmarks.suites.finding import Finder, common_lists
from zoo.data.images import SUFFIXES
from zoo.data.records import Record
from zoo.data.tables import read_names, read_table

TASK = "object"
NUM_CLASSES = 1000
URL = "https://www.image-net.org/challenges/LSVRC/2012/"
SPLITS = ("train", "val")
SYNSET = "n[0-9]{8}"
MAPPING, SOLUTION = "LOC_synset_mapping.txt", "LOC_val_solution.csv"
FOLDERS = ("", "ILSVRC/Data/CLS-LOC", "images")


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The images below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("in1k", root, url=URL)
    if files := finder.lists(SPLITS):
        return _common(finder, files)
    folders = {
        split: found for split in SPLITS if (found := finder.folder(*(Path(it, split).as_posix() for it in FOLDERS)))
    }
    if not folders:
        raise finder.missing(
            ["train.csv", "val.csv", *(f"{it}/{split}/".lstrip("/") for it in FOLDERS for split in SPLITS)]
        )
    names, notes = _classes(finder, folders)
    solution = finder.file(SOLUTION)
    lists: dict[tuple[str, str], Callable[[], list[Record]]] = {}
    for split, folder in folders.items():
        if split == "val" and solution is not None and not any(entry.is_dir() for entry in os.scandir(folder)):
            lists[TASK, split] = partial(_solved, finder, folder, solution, names, notes)
        else:
            lists[TASK, split] = partial(_in_class_folders, finder, folder, names)
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=notes)


def _classes(finder: Finder, folders: dict[str, Path]) -> tuple[tuple[str, ...], list[str]]:
    """All classes, in alphabetical order, and what was odd about the file that names them."""
    mapping = finder.file(MAPPING)
    notes: list[str] = []
    if mapping is not None:
        read = read_names(mapping)
        found, notes, where = {line.text.split(" ")[0] for line in read.lines}, list(read.notes), str(mapping)
    else:
        found = {entry.name for folder in folders.values() for entry in os.scandir(folder) if entry.is_dir()}
        where = ", ".join(str(folder) for folder in folders.values())
    names = {name for name in found if re.fullmatch(SYNSET, name)}
    if len(names) != NUM_CLASSES:
        raise SuiteError(
            f"in1k: {where} names {len(names)} classes, expected {NUM_CLASSES}: their numbers cannot be told from a "
            f"part; put {MAPPING} with all of them into {str(finder.root)!r}"
        )
    return tuple(sorted(names)), notes


def _in_class_folders(finder: Finder, folder: Path, names: tuple[str, ...]) -> list[Record]:
    """The images of a split by class and name."""
    numbers = {name: number for number, name in enumerate(names)}
    records: list[Record] = []
    for name in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir()):
        if name not in numbers:
            raise SuiteError(f"in1k: {str(folder / name)!r} is no class of the other folders or of {MAPPING}")
        files = sorted(it for it in os.listdir(folder / name) if it.lower().endswith(SUFFIXES))
        records += [Record(folder / name / file, numbers[name], len(records) + i) for i, file in enumerate(files)]
    if not records:
        raise SuiteError(f"in1k: {str(folder)!r} has no folders with images; {finder.advice}")
    return records


def _solved(finder: Finder, folder: Path, file: Path, names: tuple[str, ...], notes: list[str]) -> list[Record]:
    """The images of Kaggle's validation, whose first word of the prediction is the class; the rest are boxes."""
    numbers = {name: number for number, name in enumerate(names)}
    table = read_table(file, columns=("ImageId", "PredictionString"), unique=("ImageId",))
    records: list[Record] = []
    for row in sorted(table.rows, key=lambda it: it.fields["ImageId"]):
        synset = row.text("PredictionString").split(" ")[0]
        if synset not in numbers:
            raise row.error("PredictionString", f"{synset!r} is not in {MAPPING} and has no folder")
        records.append(Record(Path(row.path("ImageId")), numbers[synset], len(records)))
    notes.extend(table.notes)
    return finder.placed(records, (folder.relative_to(finder.root).as_posix(),), (".JPEG",))


def _common(finder: Finder, files: dict[str, Path]) -> ListedVideos:
    mapping = finder.file(MAPPING)
    names, notes = _classes(finder, {}) if mapping else ((), [])
    how = f"the order of {MAPPING}" if names else "the alphabetical order of WordNet names, which is not at hand"

    def folders(split: str) -> tuple[str, ...]:
        return ("", split, *(f"{folder}/{split}" for folder in FOLDERS[1:]))

    found = common_lists(finder, files, num_classes=NUM_CLASSES, folders=folders)
    lists = {(TASK, split): records for split, records in found.records.items()}
    notes += [*found.notes, f"the lists name no classes: taken to stand in {how}"]
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=tuple(notes))


SUITE = Suite(
    name="in1k",
    description="ImageNet-1K: objects in images, each repeated to a clip, to measure what a video network sees in one.",
    tasks=(
        Task(
            name=TASK,
            question="Which of 1000 kinds of objects does the image show?",
            num_outputs=NUM_CLASSES,
            num_frames=1,
            sampling="uniform",
            clips=1,
            crops=1,
            margin=256 / 224,
        ),
    ),
    splits=SPLITS,
    test_split="val",
    licence="ImageNet's own, for research that earns no money",
    source="Russakovsky et al. 2015 (arXiv 1409.0575)",
    quirks=(
        "An image is a video of one frame, repeated to the frames of a clip, as V-JEPA's probes read it (16 frames; "
        "V-JEPA 2: 16 or 18). One view; resized to 256/224 of the crop, centre crop (protocols.md section 4).",
        "Orientation tags are left alone, as torchvision does.",
        "Published numbers are measured on the list of validation.",
    ),
    prepare=prepare,
    # protocols.md section 1, from memory there; the sizes of the challenge.
    sizes={"ILSVRC 2012": {"train": 1_281_167, "val": 50_000}},
    url=URL,
    layout=layouts.in1k,
)
