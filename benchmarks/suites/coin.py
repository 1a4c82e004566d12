"""COIN: which of 180 tasks an instructional video is about.

`COIN.json` as the authors publish it (github.com/coin-dataset/annotations); videos where its download script puts them.
"""

import json
from pathlib import Path

from benchmarks.layout import Layout, Plan, Video, made_up_id, video_of
from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task, Videos
from benchmarks.suites.finding import Finder
from zoo.data.records import Record
from zoo.data.tables import read_json

# [P] 180 tasks; recipe_type is used as the label as it stands by ViS4mer and V-JEPA 2, so it runs from 0 to 179 [R].
NUM_TASKS = 180
# [R] The values that ViS4mer's reader asks for; the README of the annotations says "validation" for the second.
SUBSETS = {"training": "train", "testing": "test", "validation": "test"}
SOURCE = "https://github.com/coin-dataset/annotations"


def prepare(root: Path | None, progress: bool) -> Videos:
    """The lists of COIN.json.

    Args:
        root: holds `COIN.json` and `videos`, in which each video lies in the folder of its `recipe_type`, in
            another, or in none.
        progress: unused.

    Raises:
        SuiteError: no folder, no COIN.json, none of the videos.
        ListError: for entries that are not COIN's.
    """
    finder = Finder("coin", root, url=SOURCE)
    file = finder.file("COIN.json")
    if file is None:
        raise finder.missing(["COIN.json"])
    folder = finder.folder("videos") or finder.root
    read, here = read_json(file), finder.stems(folder)
    lists: dict[tuple[str, str], list[Record]] = {("task", split): [] for split in ("train", "test")}
    names: dict[int, str] = {}
    for video, entry in read.root.member("database").members():
        kind = entry.member("recipe_type")
        label, name = kind.integer(high=NUM_TASKS - 1), entry.member("class").text()
        if names.setdefault(label, name) != name:
            raise kind.error("", f"{label} is {name!r} here and {names[label]!r} in an earlier entry")
        records = lists["task", SUBSETS[entry.member("subset").choice(tuple(SUBSETS))]]
        records.append(Record(here.get(video, folder / str(label) / f"{video}.mp4"), label, len(records)))
    for (_, split), records in lists.items():
        if not records:
            raise read.root.error("database", f"has no videos of the {split} list")
        finder.check(records, folder)
    classes = tuple(names.get(label, f"recipe_type {label}") for label in range(NUM_TASKS))
    return ListedVideos(folder=folder, lists=lists, names={"task": classes}, notes=read.notes)


def layout(plan: Plan) -> Layout:
    """A generated copy: COIN.json with every key that entries have, and videos/RECIPE_TYPE/ID.mp4."""
    seconds = plan.seconds or 30.0
    videos: list[Video] = []
    database: dict[str, dict[str, object]] = {}
    for subset, split in (("training", "train"), ("testing", "test")):
        for label, number in plan.examples():
            name = made_up_id("coin", plan.seed, split, number)
            videos.append(video_of(f"videos/{label}/{name}.mp4", label, seconds, test=split == "test"))
            steps = [[round(seconds * share, 1), round(seconds * (share + 0.3), 1)] for share in (0.1, 0.5)]
            database[name] = {
                "duration": float(seconds),
                "class": f"MadeUpTask{label}",
                "video_url": f"https://www.youtube.com/embed/{name}",
                "start": steps[0][0],
                "annotation": [
                    {"id": str(2 * label + place), "segment": step, "label": f"made-up step {place}"}
                    for place, step in enumerate(steps)
                ],
                "subset": subset,
                "end": steps[-1][1],
                "recipe_type": label,
            }
    text = json.dumps({"database": database}, indent=1)
    return Layout(files={"COIN.json": text}, videos=tuple(videos), fps=4)


SUITE = Suite(
    name="coin",
    description="11,827 instructional videos from YouTube, minutes long, of 180 tasks in 12 domains. Which task is it?",
    tasks=(
        Task(
            name="task",
            question="Which of 180 tasks is shown?",
            num_outputs=NUM_TASKS,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=("train", "test"),
    test_split="test",
    licence="annotations: research only (licence of the repository); videos: their uploaders'",
    source="Tang et al., COIN: A Large-scale Dataset for Comprehensive Instructional Video Analysis, CVPR 2019",
    quirks=(
        "Many videos are gone from YouTube: about 10,500 of 11,827 can still be had (MA-LMM issue 31) [I]. Scores on "
        "different remains are not comparable; what is missing fails and is listed.",
        "ViS4mer's reader leaves out AfiVmAjfTNs and cjwtcDKTQM8, which it found broken [R]; here they are kept, and "
        "reported if they cannot be read.",
        "The whole video is the input, as in VideoMamba and V-JEPA 2; ViS4mer's features cover `start` to `end` of "
        "each entry alone [R].",
        "Views differ: VideoMamba 10 clips x 3 crops (one of its eight scripts 4 x 3), V-JEPA 2 8 x 3 [R].",
        "recipe_type is the label; a class without an entry in COIN.json is called by its number.",
    ),
    prepare=prepare,
    sizes={
        # [M] 9,030 + 2,797 = 11,827; the sum is [P], the second also in ViS4mer's scripts [R].
        "COIN": {"train": 9030, "test": 2797},
        # [P] Table VIII of the paper.
        "VideoMamba's paper": {"train": 9026, "test": 2796},
    },
    url=SOURCE,
    layout=layout,
)
