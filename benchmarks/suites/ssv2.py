"""Something-Something V2, with its official files or common lists.

    ROOT/something-something-v2-{train,validation,labels}.json      or labels/{train,validation,labels}.json
    ROOT/20bn-something-something-v2/{id}.webm                      or videos/, and .mp4
    ROOT/train.csv  val.csv  test.csv                               common lists instead of the three files

An item of train and validation has `id` and `template`; its label is what the labels file says of the template without
its brackets, a number written as text (facebookresearch/SlowFast ssv2.py; open-mmlab/mmaction2 parse_file_list.py).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task
from benchmarks.suites import kinetics, layouts
from benchmarks.suites.finding import Finder, common_lists, numbered_names
from zoo.data.labels import order
from zoo.data.list_files import Seen
from zoo.data.records import Record
from zoo.data.tables import read_json

TASK = "action"
NUM_CLASSES = 174
URL = "https://www.qualcomm.com/developer/software/something-something-v-2-dataset"
FILES = {"train": "train", "val": "validation"}
FOLDERS = ("20bn-something-something-v2", "videos", "")
SUFFIXES = (".webm", ".mp4", ".mkv", ".avi")


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a file that cannot be read.
    """
    finder = Finder("ssv2", root, url=URL)
    labels = _file(finder, "labels")
    files = {split: file for split, name in FILES.items() if (file := _file(finder, name))}
    if labels is None or not files:
        return _common(finder)
    classes = read_json(labels)
    numbers = {name: node.integer(high=NUM_CLASSES - 1, quoted=True) for name, node in classes.root.members()}
    names = numbered_names(labels, {number: name for name, number in numbers.items()}, NUM_CLASSES)
    notes = list(classes.notes)
    lists = {(TASK, split): partial(_records, finder, file, numbers, notes) for split, file in files.items()}
    if names != order("ssv2").names:
        notes.append(f"{labels.name} numbers or spells the classes otherwise than the official release")
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=notes)


def _file(finder: Finder, name: str) -> Path | None:
    return finder.file(f"something-something-v2-{name}.json", f"{name}.json")


def _records(finder: Finder, file: Path, numbers: Mapping[str, int], notes: list[str]) -> list[Record]:
    json = read_json(file)
    notes.extend(json.notes)
    seen = Seen(json.root.file)
    records = []
    for row, item in enumerate(json.root.items()):
        name = item.member("id").text(pattern="[0-9]+", right="a number in digits")
        template = item.member("template").text()
        class_name = template.replace("[", "").replace("]", "")
        if class_name not in numbers:
            raise item.error("template", f"{template!r} is no class of the labels file")
        seen.add(0, f"{item.where}.id", name, class_name)
        records.append(Record(Path(name), numbers[class_name], row))
    return finder.placed(records, FOLDERS, SUFFIXES)


def _common(finder: Finder) -> ListedVideos:
    files = finder.lists(kinetics.SPLITS)
    if not files:
        official = [f"something-something-v2-{name}.json" for name in (*FILES.values(), "labels")]
        raise finder.missing([*official, "train.csv", "val.csv"])
    found = common_lists(finder, files, num_classes=NUM_CLASSES, folders=lambda split: ("", *FOLDERS[:2]))
    how = "the lists name no classes: taken to stand in the official order of Something-Something V2"
    lists = {(TASK, split): records for split, records in found.records.items()}
    names = {TASK: order("ssv2").names}
    return ListedVideos(folder=finder.root, lists=lists, names=names, notes=(*found.notes, how))


SUITE = Suite(
    name="ssv2",
    description="Something-Something V2: what hands do with things, in clips of two to six seconds.",
    tasks=(
        Task(
            name=TASK,
            question="Which of 174 sentences with 'something' in it describes what is done?",
            num_outputs=NUM_CLASSES,
            sampling=None,
            clips=None,
            crops=None,
            flip=False,
        ),
    ),
    splits=kinetics.SPLITS,
    test_split="val",
    licence="Something-Something's own, for research (Qualcomm, before Twenty Billion Neurons)",
    source="Goyal et al. 2017 (arXiv 1706.04261), release 2",
    quirks=(
        "No horizontal flips in training: left and right are part of labels.",
        "Videos are 240 pixels high.",
        "Some code reads its frames in the order blue, green, red (protocols.md section 5, number 10).",
        "Published numbers are measured on the list of validation; test.csv of the VideoMAE family is a copy of it.",
    ),
    prepare=prepare,
    # protocols.md section 1: OpenGVLab/VideoMAEv2 docs/DATASET.md.
    sizes={"official lists": {"train": 168_913, "val": 24_777}},
    url=URL,
    layout=layouts.ssv2,
)
