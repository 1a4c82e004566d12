"""Kinetics-710: Kinetics-400, 600 and 700 merged by class and cleared of repeated videos.

Two kinds of lists (open-mmlab/mmaction2 tools/data/kinetics710/README.md and its configuration for UniFormerV2; the
lists of VideoMAEv2 and UMT are of the common kind):

    ROOT/kinetics710/k{400,600,700}_{train,val}_list_videos.txt   a list per source, with videos in
    ROOT/kinetics400/  kinetics600/  kinetics700/                 kinetics400/videos_train/, kinetics600/videos/, ...
    ROOT/train.csv  val.csv                                       or one list of all

Their labels number the 710 classes. Where index maps lie beside lists per source (`map_k600.json`, or OpenGVLab's
`label_mixto600.json`: entry i is the class of Kinetics-710 that class i of the source is), labels are the source's.
"""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task
from benchmarks.suites import kinetics, layouts
from benchmarks.suites.finding import Finder, moved
from zoo.data.list_files import ListError
from zoo.data.records import Record, read_listed
from zoo.data.tables import read_json

TASK = kinetics.TASK
NUM_CLASSES = 710
SOURCES = (400, 600, 700)
SPLITS = ("train", "val")
URL = "https://github.com/open-mmlab/mmaction2/blob/main/tools/data/kinetics710/README.md"
FACTS = kinetics.Facts(suite="k710", number=710, num_classes=NUM_CLASSES)


def prepare(root: Path | None, progress: bool) -> ListedVideos:
    """The lists below a folder.

    Raises:
        SuiteError: for files that are not there.
        ListError: for a list or map that cannot be read.
    """
    finder = Finder("k710", root, url=URL)
    found = {
        (split, number): finder.file(f"k{number}_{split}_list_videos.txt", folders=("kinetics710", "k710"))
        for split in SPLITS
        for number in SOURCES
    }
    files = {key: file for key, file in found.items() if file}
    if not files:
        return kinetics.prepare(FACTS, finder.root, progress)
    lists: dict[tuple[str, str], list[Record]] = {}
    notes: list[str] = []
    for split in SPLITS:
        parts = {number: files.get((split, number)) for number in SOURCES}
        if not any(parts.values()):
            continue
        if lacking := [f"k{number}_{split}_list_videos.txt" for number, file in parts.items() if file is None]:
            raise SuiteError(f"k710: {', '.join(lacking)} is missing beside the other lists of {split!r}")
        records: list[Record] = []
        for number, file in parts.items():
            part, more = _part(finder, split, number, file) if file else ([], [])
            records += part
            notes += more
        lists[TASK, split] = [record._replace(row=row) for row, record in enumerate(records)]
    names, more = kinetics.common_names(FACTS, finder, {"k710": []})
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=(*dict.fromkeys(notes), *more))


def _part(finder: Finder, split: str, number: int, file: Path) -> tuple[list[Record], list[str]]:
    """The videos of one source, and what is to be said of them."""
    rows, notes = _rows(finder, number)
    limit = len(rows) if rows else NUM_CLASSES
    found = read_listed(file, root=".", num_classes=limit, must_exist=False)
    names = [record.path.as_posix() for record in found.records]
    folder, _ = finder.place(names, _folders(split, number))
    records = [record._replace(label=rows[record.label] if rows else record.label) for record in found.records]
    return moved(records, folder), [*found.notes, *notes]


def _folders(split: str, number: int) -> tuple[str, ...]:
    sets = (f"kinetics{number}", f"k{number}")
    inner = (f"videos_{split}", "videos", split, "")
    return (*(f"{name}/{folder}".rstrip("/") for name in sets for folder in inner), "videos", "")


def _rows(finder: Finder, number: int) -> tuple[list[int], list[str]]:
    """Class of Kinetics-710 of each class of a source, where a map lies beside the lists; none where labels are 710's.

    Raises:
        ListError: for a map of another length, or one that names a class twice.
    """
    file = finder.file(f"map_k{number}.json", f"label_mixto{number}.json", folders=("kinetics710", "k710"))
    if file is None:
        return [], []
    read = read_json(file)
    rows = [item.integer(high=NUM_CLASSES - 1) for item in read.root.items()]
    if len(rows) != number or len(set(rows)) != number:
        raise ListError(str(file), 0, "$", f"has {len(rows)} classes, {len(set(rows))} distinct; expected {number}")
    return rows, [*read.notes, f"labels of Kinetics-{number} are renumbered by {file.name}"]


# protocols.md section 1: OpenGVLab/VideoMAEv2 docs/DATASET.md.
SIZES: Mapping[str, Mapping[str, int]] = {"VideoMAEv2": {"train": 658_340, "val": 66_803, "test": 66_803}}

SUITE = Suite(
    name="k710",
    description="Kinetics-710: the classes and training videos of Kinetics-400, 600 and 700 without repetitions.",
    tasks=(
        Task(
            name=TASK,
            question="Which action does the clip show?",
            num_outputs=NUM_CLASSES,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=kinetics.SPLITS,
    test_split="val",
    licence=kinetics.LICENCE,
    source="UniFormerV2 (arXiv 2211.09552); lists of MMAction2, VideoMAEv2 and UMT",
    quirks=(
        "A set for pretraining and for training before the actual one; few numbers are published on it.",
        "The classes of the three sources do not match by name: 13, 3 and 1 names were edited, so numbers are mapped "
        "by lists of indices (zoo.data.labels.rows_of_k710).",
        "Class names are not carried.",
    ),
    prepare=prepare,
    sizes=SIZES,
    url=URL,
    layout=layouts.k710,
)
