"""What the suites of the Kinetics kind share: two kinds of lists, and class names from wherever they are known.

Official lists are tables with the columns `label,youtube_id,time_start,time_end,split` (protocols.md section 2; open-
mmlab/mmaction2 tools/data/parse_file_list.py), and a clip is called `{youtube_id}_{start:06d}_{end:06d}.mp4`, or
`{youtube_id}.mp4` in the copy of OpenDataLab, in a folder of its class or not. Common lists have a path and a number a
line (`zoo.data.records`).

    ROOT/train.csv  val.csv  test.csv            or kinetics_train.csv, k400_train_list_videos.txt, ...
    ROOT/train/  val/  test/                     or videos_train/, videos/train/, videos/, or all in ROOT

A common list names no classes. Where its paths have folders of class names, these say in which of the known orders its
labels stand, and a list that agrees with none is refused; else the suite's documented order is taken and noted.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task
from benchmarks.suites import layouts
from benchmarks.suites.finding import Finder, common_lists
from zoo.data.labels import ORDERS, LabelOrder, find_order
from zoo.data.list_files import ListError, read_text
from zoo.data.records import Record
from zoo.data.tables import read_names, read_table
from zoo.suggest import closest

TASK = "action"
SPLITS = ("train", "val", "test")
# The names that the sources give their lists of validation.
SPELLINGS = {"train": ("train",), "val": ("val", "validate", "validation"), "test": ("test",)}
COLUMNS = ("label", "youtube_id", "time_start", "time_end")
YOUTUBE_ID = "[A-Za-z0-9_-]{11}"
OFFICIAL_URL = "https://github.com/cvdfoundation/kinetics-dataset"
LICENCE = "annotations CC BY 4.0 (Google DeepMind, from memory); the videos belong to their authors on YouTube"
QUIRKS = (
    "Videos disappear from YouTube, so every copy has another size: name the copy with a number.",
    "Published numbers are measured on the list of validation; test.csv of the VideoMAE family is a copy of it, and "
    "their --test_best picks the best epoch on it (protocols.md section 5, number 8).",
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What tells one Kinetics from the other.

    Attributes:
        suite: as the command line knows it, k400.
        number: as the copies know it, 400.
        num_classes: how many there are.
        order: the class order of official lists and of common lists that say nothing else, where it is known.
    """

    suite: str
    number: int
    num_classes: int
    order: str = ""


def suite(facts: Facts, *, sizes: Mapping[str, Mapping[str, int]], quirks: Sequence[str] = ()) -> Suite:
    """The suite of a Kinetics."""
    return Suite(
        name=facts.suite,
        description=f"Kinetics-{facts.number}: actions of people in clips of about ten seconds from YouTube.",
        tasks=(
            Task(
                name=TASK,
                question="Which action does the clip show?",
                num_outputs=facts.num_classes,
                sampling=None,
                clips=None,
                crops=None,
            ),
        ),
        splits=SPLITS,
        test_split="val",
        licence=LICENCE,
        source=f"official lists of {facts.suite.upper()} (cvdfoundation/kinetics-dataset), or the lists of PySlowFast, "
        "VideoMAE, UMT, V-JEPA and MMAction2",
        quirks=(*QUIRKS, *quirks),
        prepare=partial(prepare, facts),
        sizes=sizes,
        url=OFFICIAL_URL,
        layout=layouts.kinetics(facts.suite, facts.num_classes),
    )


def prepare(facts: Facts, root: Path | None, progress: bool) -> ListedVideos:
    """The lists of a Kinetics below a folder.

    Raises:
        SuiteError: for files that are not there, or class folders that contradict the labels.
        ListError: for a list that cannot be read.
    """
    finder = Finder(facts.suite, root, url=OFFICIAL_URL)
    files = {split: found for split in SPLITS if (found := finder.file(*names_of_lists(facts, split)))}
    if not files:
        raise finder.missing([name for split in SPLITS for name in names_of_lists(facts, split)[:3]])
    official = {split: file for split, file in files.items() if "youtube_id" in _first_line(file)}
    unlabelled = [split for split, file in official.items() if split == "test" and "label" not in _first_line(file)]
    for split in unlabelled:
        del files[split], official[split]
    if not files:
        raise SuiteError(f"{facts.suite}: the only list, of {unlabelled[0]}, has no labels; {finder.advice}")
    if len(official) not in (0, len(files)):
        raise SuiteError(
            f"{facts.suite}: {', '.join(map(str, official.values()))} are official lists and the others are not; keep "
            "those of one kind"
        )
    notes = [f"the list of {split} has no labels and is left out" for split in unlabelled]
    return (_official if official else _common)(facts, finder, files, notes)


def names_of_lists(facts: Facts, split: str) -> list[str]:
    """What a list of a split may be called."""
    sets = ("", "kinetics_", f"kinetics{facts.number}_", f"kinetics-{facts.number}_", f"{facts.suite}_")
    names = [f"{first}{spelling}" for first in sets for spelling in SPELLINGS[split]]
    listed = [f"{first}{split}_list_videos" for first in sets[2:]]
    return [f"{name}{ending}" for name in (*names, *listed) for ending in (".csv", ".txt")]


def video_folders(split: str) -> tuple[str, ...]:
    """Where the videos of a split may lie."""
    own = [f"{first}{spelling}" for spelling in SPELLINGS[split] for first in ("", "videos_", "videos/")]
    return (*own, "videos", "")


def _first_line(file: Path) -> str:
    return read_text(file, expected="videos").lines[0].text


def _official(facts: Facts, finder: Finder, files: Mapping[str, Path], notes: list[str]) -> ListedVideos:
    order = _official_order(facts, finder, files, notes)
    lists = {
        (TASK, split): partial(_official_records, finder, split, file, order, notes) for split, file in files.items()
    }
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: order.names}, notes=notes)


def _official_order(facts: Facts, finder: Finder, files: Mapping[str, Path], notes: list[str]) -> LabelOrder:
    """The order of the classes of official lists, which name them: alphabetical in all known uses."""
    given, more = _given_order(facts, finder)
    notes += more
    if known := given or find_order(facts.order):
        return known
    names = sorted({row.text("label") for file in files.values() for row in read_table(file, columns=COLUMNS).rows})
    if len(names) != facts.num_classes:
        raise SuiteError(
            f"{facts.suite}: the lists name {len(names)} of {facts.num_classes} classes, so their numbers cannot be "
            f"told; put a file classes.txt with all of them, one a line in the order of the labels, into {finder.root}"
        )
    notes.append("classes are numbered in the alphabetical order of the lists' labels")
    return LabelOrder(tuple(names))


def _official_records(finder: Finder, split: str, file: Path, order: LabelOrder, notes: list[str]) -> list[Record]:
    table = read_table(file, columns=COLUMNS, unique=COLUMNS[1:])
    notes.extend(table.notes)
    folder, videos = _folder_of(finder, split)
    present = set(videos.values())
    records: list[Record] = []
    for row in table.rows:
        name = row.text("youtube_id", pattern=YOUTUBE_ID, right="a YouTube id of eleven letters, digits, - or _")
        if "split" in row.fields:
            row.choice("split", SPELLINGS[split])
        start, end = (int(row.number(column, low=0)) for column in COLUMNS[2:])
        label = order.find(row.text("label"))
        if label is None:
            near = closest(row.fields["label"], order.names, 1)[0]
            raise row.error(
                "label", f"{row.fields['label']!r} is no class of {finder.suite}; the most like is {near!r}"
            )
        stem = f"{name}_{start:06d}_{end:06d}"
        path = videos.get(stem) or videos.get(name) or folder / f"{stem}.mp4"
        records.append(Record(path, label, len(records)))
    if not any(record.path in present for record in records):
        raise finder.no_videos(records[0].path.name, len(records), video_folders(split))
    return records


def _folder_of(finder: Finder, split: str) -> tuple[Path, dict[str, Path]]:
    """The folder with the videos of a split, and these by name without ending."""
    for name in video_folders(split):
        if (finder.root / name).is_dir() and (videos := finder.stems(finder.root / name)):
            return finder.root / name, videos
    raise finder.no_videos("{youtube_id}_{start:06d}_{end:06d}.mp4", 0, video_folders(split))


def _common(facts: Facts, finder: Finder, files: Mapping[str, Path], notes: list[str]) -> ListedVideos:
    found = common_lists(
        finder, files, num_classes=facts.num_classes, folders=lambda split: ("", *video_folders(split))
    )
    names, more = common_names(facts, finder, {str(files[split]): records for split, records in found.listed.items()})
    lists = {(TASK, split): records for split, records in found.records.items()}
    return ListedVideos(folder=finder.root, lists=lists, names={TASK: names}, notes=(*notes, *found.notes, *more))


def common_names(
    facts: Facts, finder: Finder, listed: Mapping[str, Sequence[Record]]
) -> tuple[tuple[str, ...], list[str]]:
    """Class names of common lists, and what is to be said of them.

    Args:
        facts: of the Kinetics.
        finder: of its files.
        listed: file -> its records, with paths as they are listed.

    Raises:
        SuiteError: when the folders of the paths are class names, and the labels stand in no known order of them.
    """
    given, notes = _given_order(facts, finder)
    orders = {"classes.txt": given} if given is not None else _known_orders(facts)
    if not orders:
        return (), [*notes, "the lists name no classes; a file classes.txt beside them would"]
    listed_in = [
        (file, record, os.path.basename(os.path.dirname(record.path)))
        for file, records in listed.items()
        for record in records
    ]
    # By folder, of which there are few: lists have up to a million lines.
    folders = {folder for *_, folder in listed_in if folder}
    places = {name: {folder: order.find(folder) for folder in folders} for name, order in orders.items()}
    known = {folder for folder in folders if any(place[folder] is not None for place in places.values())}
    named = [it for it in listed_in if it[2] in known]
    if not named:
        how = f"the lists name no classes: taken to stand in the order {next(iter(orders))!r}"
        return next(iter(orders.values())).names, [*notes, how]
    for name, order in orders.items():
        if all(places[name][folder] == record.label for _, record, folder in named):
            return order.names, [*notes, f"labels stand in the order {name!r}, as the class folders of the lists say"]
    documented = next(iter(orders.values()))
    file, wrong, folder = next(it for it in named if documented.find(it[2]) != it[1].label)
    raise SuiteError(
        f"{facts.suite}: {file!r} gives {wrong.path.as_posix()!r} the label {wrong.label}, but the class of its folder "
        f"is {documented.find(folder)} in the order {next(iter(orders))!r}, and the list fits none of "
        f"{', '.join(orders)}; put a file classes.txt with the list's own order, one name a line, into {finder.root}"
    )


def _known_orders(facts: Facts) -> dict[str, LabelOrder]:
    """The orders of this Kinetics that are within reach, the documented one first."""
    names = [facts.order, *(name for name, known in ORDERS.items() if known.dataset == facts.suite)]
    return {name: order for name in dict.fromkeys(names) if name and (order := find_order(name))}


def _given_order(facts: Facts, finder: Finder) -> tuple[LabelOrder | None, list[str]]:
    """The order that a file of the user's names; MMAction2 calls it label_map_k400.txt."""
    file = finder.file("classes.txt", f"label_map_{facts.suite}.txt")
    if file is None:
        return None, []
    found = read_names(file)
    if len(found.names) != facts.num_classes:
        raise ListError(str(file), 0, "file", f"has {len(found.names)} classes; {facts.suite} has {facts.num_classes}")
    return LabelOrder(found.names), [*found.notes, f"class names are those of {file.name}"]
