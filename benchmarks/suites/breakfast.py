"""Breakfast Actions: which of ten dishes is made, in minutes of video from up to five cameras.

The release has no lists: the split is by participant. ViS4mer (md-mohaiminul/ViS4mer data/Breakfast) wrote it down, and
its lists are read when they are there; otherwise the lists are made from the folder.
"""

import re
from pathlib import Path

from benchmarks.layout import Layout, Plan, SynthError, Video, table_text, video_of
from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, SuiteError, Task, Videos
from benchmarks.suites.finding import Finder
from zoo.data.records import Record
from zoo.data.tables import read_table

# [D] In the order of class_id in ViS4mer's lists. Others order them by the alphabet.
DISHES = (
    "cereals", "coffee", "tea", "pancake", "friedegg", "scrambledegg", "sandwich", "juice", "milk", "salat",
)  # fmt: skip
# [D] The cameras of ViS4mer's 1,712 videos; of a stereo pair only the first channel (`_ch0`) is in the lists.
CAMERAS = ("cam01", "cam02", "stereo", "webcam01", "webcam02")
# [D] Participants P03 to P46 are for training, P47 to P54 for testing.
FIRST_PERSON, FIRST_TEST_PERSON, LAST_PERSON = 3, 47, 54
SPLITS = ("train", "test")
NATIVE_FOLDER = "BreakfastII_15fps_qvga_sync"
# Where ViS4mer keeps its lists.
LIST_FOLDERS = ("Breakfast", "data/Breakfast")
SOURCE = "https://serre-lab.clps.brown.edu/resource/breakfast-actions-dataset/"

# Of the release, and of copies of it.
ENDINGS = (".avi", ".mp4", ".mkv", ".webm")

NAME = re.compile(rf"(P[0-9]{{2}})-({'|'.join(CAMERAS)})-(P[0-9]{{2}}_({'|'.join(DISHES)})(?:_ch0)?)")
FILE = re.compile(rf"P[0-9]{{2}}_({'|'.join(DISHES)})(_ch[01])?")


def prepare(root: Path | None, progress: bool) -> Videos:
    """The videos in the release's folders (P03/cam01/P03_cereals.avi) or all in one (P03-cam01-P03_cereals.avi).

    Copies in another container are read as well, where there is no AVI file.

    Args:
        root: holds `BreakfastII_15fps_qvga_sync` (or `videos`, or the videos themselves), and ViS4mer's `train.csv`
            and `test.csv` if the user has them.
        progress: unused, for the lists are read in no time.

    Raises:
        SuiteError: no folder, none of the videos, or one list without the other.
        ListError: for a list that is not ViS4mer's form.
    """
    finder = Finder("breakfast", root, url=SOURCE)
    folder = finder.folder(NATIVE_FOLDER, "videos") or finder.root
    tables = {split: finder.file(f"{split}.csv", folders=LIST_FOLDERS) for split in SPLITS}
    there = [path for path in tables.values() if path]
    if len(there) == 1:
        raise SuiteError(f"{str(there[0])!r} has no counterpart; keep both train.csv and test.csv, or neither")
    lists: dict[tuple[str, str], list[Record]] = {}
    flat = not any(folder.glob("P[0-9][0-9]/"))
    pattern = "*" if flat else "P[0-9][0-9]/*/*"
    ending = next((it for it in ENDINGS if any(folder.glob(f"{pattern}{it}"))), ENDINGS[0])
    notes: tuple[str, ...] = ()
    if ending != ENDINGS[0]:
        notes = (f"copies that end in {ending}; the videos of the release end in .avi",)
    for split, path in tables.items():
        if path:
            lists["dish", split], odd = _from_table(path, folder, ending, flat=flat)
            notes += odd
    if not lists:
        lists = _from_folder(finder, folder, f"{pattern}{ending}")
        notes += ("the lists were made from the folder, so a video that is not there is not missed",)
    for records in lists.values():
        finder.check(records, folder)
    return ListedVideos(folder=folder, lists=lists, names={"dish": DISHES}, notes=notes)


def _from_table(path: Path, folder: Path, ending: str, *, flat: bool) -> tuple[list[Record], tuple[str, ...]]:
    """A list in ViS4mer's form, and what was odd about it."""
    table = read_table(path, columns=("file_name", "duration", "action", "class_id"), unique=("file_name",))
    records = []
    for number, row in enumerate(table.rows):
        name = row.text("file_name", pattern=NAME.pattern, right="a name such as P03-cam01-P03_cereals")
        label = row.integer("class_id", high=len(DISHES) - 1)
        if row.choice("action", DISHES) != DISHES[label]:
            raise row.error("class_id", f"{label} is {DISHES[label]}, not {row.text('action')}")
        records.append(Record(folder / f"{_place(name, flat=flat)}{ending}", label, number))
    return records, table.notes


def _place(name: str, *, flat: bool) -> str:
    """Path of a video of ViS4mer's name, without its ending."""
    person, camera, stem = name.split("-", 2)
    return name if flat else f"{person}/{camera}/{stem}"


def _from_folder(finder: Finder, folder: Path, pattern: str) -> dict[tuple[str, str], list[Record]]:
    """Lists by participant, of whatever videos are there.

    Raises:
        SuiteError: for a name that is not of the release, and where a list stays empty.
    """
    lists: dict[tuple[str, str], list[Record]] = {("dish", split): [] for split in SPLITS}
    for path in sorted(folder.glob(pattern)):
        person, stem = path.name[:3], path.stem.rsplit("-", 1)[-1]
        found = FILE.fullmatch(stem)
        if not found or not FIRST_PERSON <= int(person[1:]) <= LAST_PERSON:
            raise SuiteError(f"{str(path)!r} is no video of Breakfast, which are called P03_cereals.avi and the like")
        if found[2] == "_ch1":
            continue
        records = lists["dish", "train" if int(person[1:]) < FIRST_TEST_PERSON else "test"]
        records.append(Record(path, DISHES.index(found[1]), len(records)))
    for (_, split), records in lists.items():
        if not records:
            people = "P03 to P46" if split == "train" else "P47 to P54"
            raise SuiteError(f"breakfast: no videos of {people} in {str(folder)!r}; {finder.advice}")
    return lists


def layout(plan: Plan) -> Layout:
    """A generated copy: the release's folders and ViS4mer's lists.

    A dish of one participant is seen by all cameras, so names of files repeat, as in the release.

    Raises:
        SynthError: for more videos than the participants of a split have.
    """
    seconds = plan.seconds or 24.0
    videos: list[Video] = []
    files: dict[str, str] = {}
    for split, people in (
        ("train", range(FIRST_PERSON, FIRST_TEST_PERSON)),
        ("test", range(FIRST_TEST_PERSON, LAST_PERSON + 1)),
    ):
        if plan.videos > (most := len(people) * len(CAMERAS)):
            raise SynthError(f"Breakfast's {split} list has at most {most} videos of a dish, not {plan.videos}")
        rows: list[tuple[object, ...]] = [("file_name", "duration", "action", "class_id")]
        for label, number in plan.examples():
            turn = number // plan.classes
            person, camera = f"P{people[turn // len(CAMERAS)]:02d}", CAMERAS[turn % len(CAMERAS)]
            name = f"{person}-{camera}-{person}_{DISHES[label]}{'_ch0' if camera == 'stereo' else ''}"
            rows.append((name, round(seconds), DISHES[label], label))
            place = f"{NATIVE_FOLDER}/{_place(name, flat=False)}{ENDINGS[0]}"
            videos.append(video_of(place, label, seconds, test=split == "test"))
        files[f"{split}.csv"] = table_text(rows)
    return Layout(files=files, videos=tuple(videos), fps=4)


SUITE = Suite(
    name="breakfast",
    description="52 people make ten breakfast dishes in 18 kitchens; up to five cameras, minutes long, 320 x 240 at 15 "
    "frames per second. Which dish is it?",
    tasks=(
        Task(
            name="dish",
            question="Which of ten dishes is made?",
            classes=DISHES,
            sampling=None,
            clips=None,
            crops=None,
        ),
    ),
    splits=SPLITS,
    test_split="test",
    licence="CC BY 4.0 as its page says [M]; not checked",
    source="Kuehne, Arslan and Serre, The Language of Actions, CVPR 2014",
    quirks=(
        "Names of files repeat across cameras: P47/cam01/P47_cereals and P47/webcam01/P47_cereals are two videos. The "
        "released VideoMAE, UMT and VideoMamba code merges predictions by that name, which leaves 136 of 355 test "
        "videos [R, D]; here they are merged by row.",
        "Six of VideoMamba's eight published accuracies cannot come from 355 test videos at 0.1 rounding; a list of "
        "192 would fit all [inferred]. Do not compare with them without the author's list (its issues 76 and 110).",
        "Published counts differ: ViS4mer's lists hold 1,357 + 355, VideoMamba's paper says 1,577 / 410, Timeception's "
        "issue 19 says 1,357 / 335.",
        "ViS4mer's code leaves out P28-cam01-P28_cereals, P28-cam02-P28_cereals and P27-stereo-P27_milk_ch0 of its own "
        "training list [R]; here they are kept, and reported if they cannot be read.",
        "Classes are numbered as in ViS4mer's lists, which is not the alphabetical order.",
        "Of stereo pairs only the first channel is listed. VideoMamba tests with 4 clips x 3 crops of 32 or 64 frames "
        "spread over the whole video [R].",
    ),
    prepare=prepare,
    side_px=240,
    sizes={
        # [D] counted from the lists.
        "ViS4mer": {"train": 1357, "test": 355},
        # [P] Table VIII of the paper; the list is not public.
        "VideoMamba's paper": {"train": 1577, "test": 410},
    },
    url=SOURCE,
    layout=layout,
)
