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
from functools import partial
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task
from benchmarks.suites import kinetics, layouts
from benchmarks.suites.finding import Finder
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
    maps, notes = _maps(finder)
    lists = {}
    for split in SPLITS:
        parts = {number: file for number in SOURCES if (file := files.get((split, number)))}
        if not parts:
            continue
        if lacking := [f"k{number}_{split}_list_videos.txt" for number in SOURCES if number not in parts]:
            raise SuiteError(f"k710: {', '.join(lacking)} is missing beside the other lists of {split!r}")
        lists[TASK, split] = partial(_records, finder, split, parts, maps, notes)
    names, more = kinetics.common_names(FACTS, finder, {"k710": []})
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=notes + more)


def _records(
    finder: Finder, split: str, files: Mapping[int, Path], maps: Mapping[int, list[int]], notes: list[str]
) -> list[Record]:
    """The videos of all sources, one after the other."""
    records: list[Record] = []
    for number, file in files.items():
        rows = maps.get(number, range(NUM_CLASSES))
        found = read_listed(file, root=".", num_classes=len(rows), must_exist=False)
        notes.extend(found.notes)
        placed = finder.placed(found.records, _folders(split, number))
        records += [
            record._replace(label=rows[record.label], row=row) for row, record in enumerate(placed, start=len(records))
        ]
    return records


def _folders(split: str, number: int) -> tuple[str, ...]:
    sets = (f"kinetics{number}", f"k{number}")
    inner = (f"videos_{split}", "videos", split, "")
    return (*(f"{name}/{folder}".rstrip("/") for name in sets for folder in inner), "videos", "")


def _maps(finder: Finder) -> tuple[dict[int, list[int]], list[str]]:
    """Source -> class of Kinetics-710 of each of its classes, where maps lie beside the lists; else labels are 710's.

    Raises:
        ListError: for a map of another length, or one that names a class twice.
        SuiteError: for some maps without the others, or of two kinds: labels would mean two things in one list.
    """
    maps: dict[int, list[int]] = {}
    files: dict[int, str] = {}
    notes: list[str] = []
    for number in SOURCES:
        file = finder.file(f"map_k{number}.json", f"label_mixto{number}.json", folders=("kinetics710", "k710"))
        if file is None:
            continue
        read = read_json(file)
        rows = [item.integer(high=NUM_CLASSES - 1) for item in read.root.items()]
        if len(rows) != number or len(set(rows)) != number:
            raise ListError(str(file), 0, "$", f"has {len(rows)} classes, {len(set(rows))} distinct; expected {number}")
        maps[number], files[number] = rows, file.name
        notes += [*read.notes, f"labels of Kinetics-{number} are renumbered by {file.name}"]
    # The first 400 classes are those of Kinetics-400 in both kinds, and OpenGVLab has no file for them.
    kinds = {name.removesuffix(f"{number}.json") for number, name in files.items()}
    if files and (len(kinds) > 1 or not {600, 700} <= files.keys()):
        raise SuiteError(
            f"k710: index maps are there as {', '.join(files.values())}: both authors number the 710 classes in their "
            "own way, so keep map_k600.json and map_k700.json, or label_mixto600.json and label_mixto700.json, or none"
        )
    return maps, notes


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
