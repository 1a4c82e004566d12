"""Generated copies of the sets of short clips: their official files and folders, with made-up names and numbers.

Formats: protocols.md section 2 and the docstrings of the suites' own files, which read them.
"""

import json
import re
from collections.abc import Callable

from benchmarks.layout import Layout, Plan, Video, made_up_id, table_text, video_of
from benchmarks.suites.three_splits import NUMBERS
from zoo.data.labels import order

# Clips of Kinetics are ten seconds long; fewer show as much here.
KINETICS_S, SSV2_S, MIT_S, UCF_S, HMDB_S, GYM_S = 4.0, 3.0, 3.0, 4.0, 3.0, 2.0
SSV2_FPS = 12
NUM_MOMENTS, NUM_IMAGENET, NUM_UCF, NUM_HMDB, NUM_GYM = 339, 1000, 101, 51, 288

Rows = list[tuple[object, ...]]


def kinetics(suite: str, num_classes: int) -> Callable[[Plan], Layout]:
    """Official tables and videos named by YouTube id and seconds, in a folder per split.

    Args:
        suite: k400, k600 or k700.
        num_classes: Kinetics-400's names are known; for others `classes.txt` names made-up ones.
    """

    def layout(plan: Plan) -> Layout:
        known = suite == "k400"
        names = order("k400_alphabetical").names if known else _names("made-up action", num_classes)
        files = {} if known else {"classes.txt": "".join(f"{name}\n" for name in names)}
        videos: list[Video] = []
        for split, word in (("train", "train"), ("val", "validate"), ("test", "test")):
            rows: Rows = [("label", "youtube_id", "time_start", "time_end", "split")]
            for label, number in plan.examples():
                name, start = made_up_id(suite, plan.seed, split, number), 10 * number
                rows.append((names[label], name, start, start + 10, word))
                path = f"{split}/{name}_{start:06d}_{start + 10:06d}.mp4"
                videos.append(_video(path, label, plan, KINETICS_S, test=split != "train"))
            files[f"{split}.csv"] = table_text(rows)
        return Layout(files=files, videos=tuple(videos))

    return layout


def k710(plan: Plan) -> Layout:
    """A list per source and split, as in MMAction2; each source has all planned videos, numbered by the 710 classes."""
    files: dict[str, str] = {}
    videos: list[Video] = []
    for source, folder in ((400, "videos_{}"), (600, "videos"), (700, "videos")):
        for split in ("train", "val"):
            lines = []
            for label, number in plan.examples():
                name = f"{made_up_id('k710', source, plan.seed, split, number)}_{number:06d}_{number + 10:06d}.mp4"
                lines.append(f"{name} {label}\n")
                path = f"kinetics{source}/{folder.format(split)}/{name}"
                videos.append(_video(path, label, plan, KINETICS_S, test=split == "val"))
            files[f"kinetics710/k{source}_{split}_list_videos.txt"] = "".join(lines)
    return Layout(files=files, videos=tuple(videos))


def ssv2(plan: Plan) -> Layout:
    """Three JSON files with all 174 names, and WebM files at 12 frames per second."""
    names = order("ssv2").names
    numbers = {name: str(number) for number, name in enumerate(names)}
    files = {"something-something-v2-labels.json": json.dumps(numbers, indent=0)}
    videos: list[Video] = []
    for place, split in enumerate(("train", "validation")):
        items = []
        for label, number in plan.examples():
            video = str(100_000 * (place + 1) + number)
            items.append(
                {
                    "id": video,
                    "label": names[label].lower(),
                    "template": re.sub(r"\b([Ss]omething)\b", r"[\1]", names[label]),
                    "placeholders": ["a digit"],
                }
            )
            path = f"20bn-something-something-v2/{video}.webm"
            videos.append(_video(path, label, plan, SSV2_S, test=split != "train"))
        files[f"something-something-v2-{split}.json"] = json.dumps(items, indent=0)
    return Layout(files=files, videos=tuple(videos), fps=SSV2_FPS)


def mit(plan: Plan) -> Layout:
    """Categories with their numbers, and tables without a header of file, class and votes."""
    names = _names("made+up", NUM_MOMENTS, blank="+")
    files = {"moments_categories.txt": table_text((name, number) for number, name in enumerate(names))}
    videos: list[Video] = []
    for file, folder in (("trainingSet.csv", "training"), ("validationSet.csv", "validation")):
        rows: Rows = []
        for label, number in plan.examples():
            path = f"{names[label]}/{made_up_id('mit', plan.seed, folder, number)}_{number}.mp4"
            rows.append((path, names[label], 3, 0))
            videos.append(_video(f"{folder}/{path}", label, plan, MIT_S, test=folder == "validation"))
        files[file] = table_text(rows)
    return Layout(files=files, videos=tuple(videos))


def in1k(plan: Plan) -> Layout:
    """Images in a folder per class, and the mapping that names all 1000 of them."""
    names = [f"n{10_000_000 + 7 * number}" for number in range(NUM_IMAGENET)]
    mapping = "".join(f"{name} made-up thing {number}\n" for number, name in enumerate(names))
    videos = []
    for split in ("train", "val"):
        for label, number in plan.examples():
            file = f"ILSVRC2012_val_{number:08d}" if split == "val" else f"{names[label]}_{number}"
            # One frame: the seconds of the plan are those of videos.
            videos.append(video_of(f"{split}/{names[label]}/{file}.JPEG", label, 0.1, test=split == "val"))
    return Layout(files={"LOC_synset_mapping.txt": mapping}, videos=tuple(videos))


def ucf101(plan: Plan) -> Layout:
    """Lists of paths in the folder of the official archive; the three splits are alike."""
    names = _names("MadeUp", NUM_UCF, blank="")
    index = "".join(f"{number + 1} {name}\r\n" for number, name in enumerate(names))
    files = {"ucfTrainTestlist/classInd.txt": index}
    videos: list[Video] = []
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for split, first in (("train", 8), ("test", 1)):
        for label, number in plan.examples():
            name = names[label]
            path = f"{name}/v_{name}_g{first:02d}_c{1 + number // plan.classes:02d}.avi"
            lines[split].append(f"{path} {label + 1}\r\n" if split == "train" else f"{path}\r\n")
            videos.append(_video(f"UCF-101/{path}", label, plan, UCF_S, test=split == "test"))
    for number in NUMBERS:
        files |= {f"ucfTrainTestlist/{split}list{number:02d}.txt": "".join(found) for split, found in lines.items()}
    return Layout(files=files, videos=tuple(videos))


def hmdb51(plan: Plan) -> Layout:
    """A file per class and split; classes without videos list one that belongs to neither list."""
    names = _names("made_up", NUM_HMDB, blank="_")
    roles = {name: [(f"{name}_unused.avi", 0)] for name in names}
    videos: list[Video] = []
    for split, role in (("train", 1), ("test", 2)):
        for label, number in plan.examples():
            file = f"{split}_{names[label]}_f_cm_np1_fr_med_{number}.avi"
            roles[names[label]].append((file, role))
            videos.append(_video(f"{names[label]}/{file}", label, plan, HMDB_S, test=split == "test"))
    files = {
        f"testTrainMulti_7030_splits/{name}_test_split{split}.txt": "".join(f"{file} {role} \n" for file, role in found)
        for name, found in roles.items()
        for split in NUMBERS
    }
    return Layout(files=files, videos=tuple(videos))


def finegym288(plan: Plan) -> Layout:
    """Lists of clips that are named by video, event and element, and the categories."""
    categories = "".join(
        f"Clabel: {label}; set: 1; Glabel: {label + 1}; (VT) made-up element {label}\n" for label in range(NUM_GYM)
    )
    files = {"gym288_categories.txt": categories}
    videos: list[Video] = []
    for split, file in (("train", "gym288_train_element_v1.1.txt"), ("val", "gym288_val_element.txt")):
        lines = []
        for label, number in plan.examples():
            event = f"{made_up_id('gym288', plan.seed, split, number)}_E_002184_002237"
            name = f"{event}_A_{number:04d}_{number + 1:04d}"
            lines.append(f"{name} {label}\n")
            videos.append(_video(f"subactions/{name}.mp4", label, plan, GYM_S, test=split == "val"))
        files[file] = "".join(lines)
    return Layout(files=files, videos=tuple(videos))


def _video(path: str, label: int, plan: Plan, seconds: float, *, test: bool) -> Video:
    return video_of(path, label, plan.seconds or seconds, test=test)


def _names(first: str, count: int, blank: str = " ") -> tuple[str, ...]:
    """Names in alphabetical order."""
    return tuple(f"{first}{blank}{number:03d}" for number in range(count))
