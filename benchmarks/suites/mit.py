"""Moments in Time V1, with its official files or common lists.

    ROOT/moments_categories.txt                    name,number
    ROOT/trainingSet.csv  validationSet.csv        file,class,workers for,workers against; no header
    ROOT/training/{class}/*.mp4  validation/...    or videos/training/, videos/validation/
    ROOT/train.csv  val.csv  test.csv              common lists instead; videos in ROOT or videos/

The README of the release names the four columns of the lists, its copy in public repositories; open-mmlab/mmaction2
tools/data/parse_file_list.py takes the class from the folder of the file and reads the categories. A list may have
fewer columns from the right, but the same number in all lines.
"""

from functools import partial
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task
from benchmarks.suites import kinetics, layouts
from benchmarks.suites.finding import Finder, common_lists, numbered_names
from zoo.data.records import Record
from zoo.data.tables import read_columns

TASK = "action"
NUM_CLASSES = 339
URL = "http://moments.csail.mit.edu"
FILES = {"train": "trainingSet.csv", "val": "validationSet.csv"}
CATEGORIES = "moments_categories.txt"
FOLDERS = {
    "train": ("training", "videos/training", "videos", ""),
    "val": ("validation", "videos/validation", "videos", ""),
}
COMMON_FOLDERS = ("", "videos", "training", "validation")


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("mit", root, url=URL)
    files = {split: file for split, name in FILES.items() if (file := finder.file(name))}
    names, numbers, notes = _categories(finder)
    if not files or not names:
        return _common(finder, names, notes)
    lists = {(TASK, split): partial(_records, finder, split, file, numbers, notes) for split, file in files.items()}
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=notes)


def _categories(finder: Finder) -> tuple[tuple[str, ...], dict[str, int], list[str]]:
    """Class names in order, the number of each, and what was odd about their file."""
    file = finder.file(CATEGORIES)
    if file is None:
        return (), {}, []
    table = read_columns(file, columns=("name", "number"), unique=("name",))
    numbers = {row.text("name"): row.integer("number", high=NUM_CLASSES - 1) for row in table.rows}
    names = numbered_names(file, {number: name for name, number in numbers.items()}, NUM_CLASSES)
    return names, numbers, list(table.notes)


def _records(finder: Finder, split: str, file: Path, numbers: dict[str, int], notes: list[str]) -> list[Record]:
    table = read_columns(file, columns=("path", "class"), optional=("for", "against"), unique=("path",))
    notes.extend(table.notes)
    records: list[Record] = []
    for row in table.rows:
        name, class_name = Path(row.path("path")), row.text("class")
        if class_name not in numbers:
            raise row.error("class", f"{class_name!r} is not in {CATEGORIES}")
        if name.parent.name != class_name:
            raise row.error("class", f"is {class_name!r}, but the file is in the folder {name.parent.name!r}")
        records.append(Record(name, numbers[class_name], len(records)))
    return finder.placed(records, FOLDERS[split])


def _common(finder: Finder, names: tuple[str, ...], notes: list[str]) -> ListedVideos:
    files = finder.lists(kinetics.SPLITS)
    if not files:
        raise finder.missing([CATEGORIES, *FILES.values(), "train.csv", "val.csv"])
    found = common_lists(finder, files, num_classes=NUM_CLASSES, folders=lambda split: COMMON_FOLDERS)
    lists = {(TASK, split): records for split, records in found.records.items()}
    how = (
        f"the lists name no classes: taken to stand in the order of {CATEGORIES}"
        if names
        else f"the lists name no classes; {CATEGORIES} beside them would"
    )
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=(*notes, *found.notes, how))


SUITE = Suite(
    name="mit",
    description="Moments in Time V1: events of three seconds with people, animals, objects or nature.",
    tasks=(
        Task(
            name=TASK,
            question="Which of 339 verbs tells what happens?",
            num_outputs=NUM_CLASSES,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=kinetics.SPLITS,
    test_split="val",
    licence="Moments in Time's own, for research",
    source="Monfort et al. 2019 (arXiv 1801.03150), release 1 with 339 classes",
    quirks=(
        "A video has one label where several verbs fit, which bounds top-1; published tables print top-5 too.",
        "Later releases have other classes (305) and are not this suite; a file of categories of theirs is refused.",
        "Published numbers are measured on the list of validation.",
    ),
    prepare=prepare,
    # protocols.md section 1, from memory there: about 802,000 and 33,900.
    sizes={"release 1 (from memory)": {"val": 33_900}},
    url=URL,
    layout=layouts.mit,
)
