"""Diving48, version 2 of the labels: which of 48 kinds of dive it is.

`Diving48_V2_train.json`, `Diving48_V2_test.json` and `Diving48_vocab.json` as published at
http://www.svcl.ucsd.edu/projects/resound/dataset.html, and the folder `rgb` that `Diving48_rgb.tar.gz` unpacks to.
"""

import json
from itertools import product
from pathlib import Path

from benchmarks.layout import Layout, Plan, Video, made_up_id, video_of
from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task, Videos
from benchmarks.suites.finding import Finder
from zoo.data.records import Record
from zoo.data.tables import Json, read_json

NUM_DIVES = 48
# Take-off, somersaults, twists and position of the body.
TOKENS_OF_A_DIVE = 4
SPLITS = ("train", "test")
FILES = ("Diving48_V2_train.json", "Diving48_V2_test.json", "Diving48_vocab.json")
SOURCE = "http://www.svcl.ucsd.edu/projects/resound/dataset.html"


def prepare(root: Path | None, progress: bool) -> Videos:
    """The lists of version 2.

    Args:
        root: holds the three JSON files (or a folder `annotations` with them) and `rgb` or `videos`.
        progress: unused.

    Raises:
        SuiteError: no folder, no lists or lists of version 1, none of the videos.
        ListError: for entries that are not Diving48's.
    """
    finder = Finder("diving48", root, url=SOURCE)
    files = {name: finder.file(name) for name in FILES}
    # The vocabulary is the same in both versions.
    if any(map(finder.file, ("Diving48_train.json", "Diving48_test.json"))) and not all(list(files.values())[:2]):
        where = str(finder.root)
        raise SuiteError(f"diving48: {where!r} has the labels of version 1, which are obsolete; {finder.advice}")
    folder = finder.folder("rgb", "videos") or finder.root
    read = {name: read_json(file) for name, file in files.items() if file}
    if lacking := [name for name in FILES if name not in read]:
        raise finder.missing(lacking)
    *tables, vocabulary = read.values()
    lists = {("dive", split): _records(table, folder) for split, table in zip(SPLITS, tables, strict=True)}
    for records in lists.values():
        finder.check(records, folder)
    notes = tuple(note for json_file in read.values() for note in json_file.notes)
    return ListedVideos(folder=folder, lists=lists, names={"dive": _dives(vocabulary)}, notes=notes)


def _dives(read: Json) -> tuple[str, ...]:
    """Names of the dives: their four tokens."""
    dives = [" ".join(token.text() for token in dive.items()) for dive in read.root.items()]
    if len(dives) != NUM_DIVES or len(set(dives)) != NUM_DIVES:
        raise read.root.error("", f"has {len(set(dives))} different dives; Diving48 has {NUM_DIVES}")
    return tuple(dives)


def _records(read: Json, folder: Path) -> list[Record]:
    seen: dict[str, int] = {}
    records = []
    for row, entry in enumerate(read.root.items()):
        name = entry.member("vid_name").path()
        if name in seen:
            raise entry.error("vid_name", f"{name!r} is also $[{seen[name]}]; list each video once")
        seen[name] = row
        label = entry.member("label").integer(high=NUM_DIVES - 1)
        records.append(Record(folder / f"{name}.mp4", label, row))
    return records


def layout(plan: Plan) -> Layout:
    """A generated copy: three JSON files and rgb/NAME.mp4. The tokens of the dives are made up."""
    seconds = plan.seconds or 4.0
    fps = 8
    videos: list[Video] = []
    files: dict[str, str] = {}
    for split in SPLITS:
        entries = []
        for label, number in plan.examples():
            name = f"{made_up_id('diving48', plan.seed, split, number)}_{number:05d}"
            videos.append(video_of(f"rgb/{name}.mp4", label, seconds, test=split == "test"))
            entries.append({"vid_name": name, "label": label, "start_frame": 0, "end_frame": round(seconds * fps)})
        files[f"Diving48_V2_{split}.json"] = json.dumps(entries)
    tokens = product(("Back", "Forward", "Inward", "Reverse"), ("15som", "25som", "35som"), ("NoTwis", "1Twis"))
    dives = [[*rest, body] for rest in tokens for body in ("PIKE", "TUCK")]
    files["Diving48_vocab.json"] = json.dumps(dives)
    return Layout(files=files, videos=tuple(videos), fps=fps)


SUITE = Suite(
    name="diving48",
    description="18,000 dives of competitions, each a few seconds; 48 kinds that differ in take-off, somersaults, "
    "twists and position, hardly in scene. Which kind is it?",
    tasks=(
        Task(
            name="dive",
            question="Which of 48 kinds of dive is it?",
            num_outputs=NUM_DIVES,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=SPLITS,
    test_split="test",
    licence="not stated on its page [M]",
    source="Li, Li and Vasconcelos, RESOUND: Towards Action Recognition without Representation Bias, ECCV 2018",
    quirks=(
        "Version 2 of the labels (October 2020) mends those of version 1, which are refused here: numbers on them are "
        "not comparable, and papers do not always say which they used (Video-FocalNets issue 6) [I].",
        "The headline is the share of videos that are right; some papers print the mean over classes, which is given "
        "beside it.",
        "start_frame and end_frame count within the clip and cover all of it [M]; like the published readers this one "
        "takes the whole file.",
        "Views differ: V-JEPA 2 takes 32 frames at stride 2, 4 clips x 3 crops, from four layers [R].",
    ),
    prepare=prepare,
    # [M] Not counted here.
    sizes={"Diving48 V2": {"train": 15027, "test": 1970}},
    url=SOURCE,
    layout=layout,
)
