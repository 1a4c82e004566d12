"""LVU: nine questions about one to three minutes of films (MovieClips on YouTube).

Lists as in `lvu_1.0` (github.com/chaoyuaw/lvu, and data/lvu_1.0 of md-mohaiminul/ViS4mer with the lengths of the
videos); counts and names of classes were taken from these files [D].

A video is cut into windows that share its row, so that predictions are averaged over them:

- `lvu`: 60 s every 16 s, in training and evaluation, as in VideoMamba (video_sm/datasets/lvu.py [R]);
- `lvu_vis4mer`: 60 s every second, complete windows only, as in ViS4mer (datasets/lvu_dataset.py [R]): about 70
  times as many as videos;
- `lvu_whole`: the whole video at once, VideoMamba's other way ("Kinetics_sparse").
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.layout import Layout, Plan, Video, made_up_id, table_text, video_of
from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task, Videos
from benchmarks.suites.finding import Finder
from zoo.data.records import Record, Span
from zoo.data.sampling import window_seconds
from zoo.data.tables import Row, read_table

SPLITS = ("train", "val", "test")
# [D] Names by class id. Ids that no list has are called by their number; `\N` is a missing writer.
CLASSES = {
    "relationship": ("friend", "ex_boyfriend_ex_girlfriend", "husband_wife", "boyfriend_girlfriend"),
    "way_speaking": ("explains", "confronts", "discuss", "teaches", "threatens"),
    "scene": ("office", "airport", "school", "hotel", "prison", "restaurant"),
    "director": (
        "nm0000229", "nm0000217", "director 2", "director 3", "nm0000165", "nm0001675", "nm0040630", "nm0001392",
        "nm0000631", "nm0000233",
    ),
    "genre": ("Comedy", "Action-Crime-Adventure", "Romance", "Thriller-Horror"),
    "writer": (
        "\\N", "nm0001220", "nm0000175", "writer 3", "writer 4", "nm0000455", "nm0462895", "nm0000230", "writer 8",
        "nm0326040",
    ),
    "year": ("1930", "1940", "1950", "1960", "1970", "1980", "1990", "2000", "2010"),
}  # fmt: skip
REGRESSIONS = ("like_ratio", "view_count")
QUESTIONS = {
    "relationship": "How are the two people related?",
    "way_speaking": "How do they speak?",
    "scene": "Where does it take place?",
    "director": "Who directed the film?",
    "genre": "Which genre is the film?",
    "writer": "Who wrote the film?",
    "year": "From which decade is the film?",
    "like_ratio": "Which share of the video's ratings are likes (scaled and centred)?",
    "view_count": "How often was the video seen (logarithm, centred)?",
}
# [R] ViS4mer datasets/lvu_dataset.py: targets are centred by these; ten times the share, and the natural logarithm.
LIKE_SCALE, LIKE_MEAN = 10.0, 9.138220535629456
VIEW_MEAN = 11.76425435683139
# [R] VideoMamba's scripts: trimmed 60, time_stride 16.
WINDOW_S, STRIDE_S, VIS4MER_STRIDE_S = 60.0, 16.0, 1.0
LIST_FOLDERS = ("lvu_1.0", "data/lvu_1.0")
# Lists and lengths; the videos are YouTube's, or those of Condensed Movies.
SOURCE = "https://github.com/md-mohaiminul/ViS4mer"
ID = r"[A-Za-z0-9_-]{11}"

Windows = Callable[[float | int], list[Span | None]]


class Answer(NamedTuple):
    """What a list says of a video."""

    video: str
    label: int
    target: float | None


def videomamba_windows(duration_s: float | int) -> list[Span | None]:
    """60 s every 16 s; the last ones, cut off, while at least 30 s remain; a shorter video as it is."""
    return [Span(*window) for window in window_seconds(duration_s, window_s=WINDOW_S, stride_s=STRIDE_S)]


def vis4mer_windows(duration_s: float | int) -> list[Span | None]:
    """60 s every second, complete windows only; a shorter video as it is."""
    last = max(0, math.floor((duration_s - WINDOW_S) / VIS4MER_STRIDE_S))
    starts = [VIS4MER_STRIDE_S * place for place in range(last + 1)]
    return [Span(start, min(start + WINDOW_S, duration_s)) for start in starts]


def whole_video(duration_s: float | int) -> list[Span | None]:
    """One window: the video."""
    return [None]


def prepare(root: Path | None, progress: bool, *, windows: Windows = videomamba_windows) -> Videos:
    """The lists of all tasks.

    Args:
        root: holds `lvu_1.0/TASK/{train,val,test}.csv`, `lvu_1.0/lvu_durations.csv` and `mc_videos/ID.mp4` (or
            `videos`).
        progress: unused.
        windows: parts of a video of some seconds.

    Raises:
        SuiteError: no folder, no lists, or none of a list's videos.
        ListError: for lists of another form, and for a video without a length.
    """
    finder = Finder("lvu", root, url=SOURCE)
    folder = finder.folder("mc_videos", "videos") or finder.root
    lengths, notes = _lengths(finder)
    here = finder.stems(folder)
    lists: dict[tuple[str, str], list[Record]] = {}
    for task in QUESTIONS:
        for split in SPLITS:
            path = finder.file(f"{task}/{split}.csv", folders=LIST_FOLDERS)
            if path is None:
                raise finder.missing([f"{task}/{split}.csv"])
            rows, odd = _rows(path, task)
            notes += odd
            records = []
            for number, row in enumerate(rows):
                video, label, target = _answer(row, task)
                if video not in lengths:
                    raise row.error("youtube_id", f"{video} has no length in the file of lengths")
                video_path = here.get(video, folder / f"{video}.mp4")
                records += [Record(video_path, label, number, span, target) for span in windows(lengths[video])]
            finder.check(records, folder)
            lists[task, split] = records
    names = {task: CLASSES.get(task, ()) for task in QUESTIONS}
    return ListedVideos(folder=folder, lists=lists, names=names, notes=notes)


def _lengths(finder: Finder) -> tuple[dict[str, float], tuple[str, ...]]:
    """Seconds of each video."""
    # The second is the name in Condensed Movies, which the file was taken from [R].
    path = finder.file("lvu_durations.csv", "durations.csv", folders=LIST_FOLDERS)
    if path is None:
        raise finder.missing(["lvu_durations.csv"])
    table = read_table(path, columns=("videoid", "duration"), unique=("videoid",))
    return {row.text("videoid"): row.number("duration", low=1) for row in table.rows}, table.notes


def _rows(path: Path, task: str) -> tuple[list[Row], tuple[str, ...]]:
    columns = {"like_ratio": ("like_count", "dislike_count"), "view_count": ("view_count",)}
    first = columns.get(task, ("class_id", "class_name"))
    table = read_table(path, columns=(*first, "youtube_id", "imdb_id"), delimiter=" ", unique=("youtube_id",))
    return table.rows, table.notes


def _answer(row: Row, task: str) -> Answer:
    video = row.text("youtube_id", pattern=ID, right="a YouTube id of eleven characters")
    if task == "like_ratio":
        likes, dislikes = row.integer("like_count"), row.integer("dislike_count")
        if likes + dislikes == 0:
            raise row.error("like_count", "neither likes nor dislikes: there is no ratio")
        return Answer(video, -1, LIKE_SCALE * likes / (likes + dislikes) - LIKE_MEAN)
    if task == "view_count":
        return Answer(video, -1, math.log(row.integer("view_count", low=1)) - VIEW_MEAN)
    names = CLASSES[task]
    label, name = row.integer("class_id", high=len(names) - 1), row.text("class_name")
    if names[label] != f"{task} {label}" and names[label] != name:
        raise row.error("class_name", f"{name!r} is not the name of class {label}, {names[label]!r}")
    return Answer(video, label, None)


def layout(plan: Plan) -> Layout:
    """A generated copy in which all tasks ask about the same videos.

    Every other video is long enough for several windows. Targets of the regressions grow with the class.
    """
    short_s = plan.seconds or 40.0
    long_s = max(short_s, 80.0)
    videos: list[Video] = []
    files: dict[str, str] = {}
    lengths: list[tuple[object, ...]] = [("videoid", "duration")]
    for split in SPLITS:
        shown: list[tuple[int, str]] = []
        for label, number in plan.examples():
            name = made_up_id("lvu", plan.seed, split, number)
            seconds = short_s if number // plan.classes % 2 else long_s
            shown.append((label, name))
            lengths.append((name, round(seconds)))
            videos.append(video_of(f"mc_videos/{name}.mp4", label, seconds, test=split == "test"))
        for task in QUESTIONS:
            files[f"lvu_1.0/{task}/{split}.csv"] = _made_up_list(task, shown)
    files["lvu_1.0/lvu_durations.csv"] = table_text(lengths)
    return Layout(files=files, videos=tuple(videos), fps=2)


def made_up_class(task: str, label: int) -> int:
    """The class that stands for a planned one: tasks have fewer, and ids that never occur are left out."""
    occur = [place for place, name in enumerate(CLASSES[task]) if name != f"{task} {place}"]
    return occur[label % len(occur)]


def _made_up_list(task: str, shown: list[tuple[int, str]]) -> str:
    rows: list[tuple[object, ...]] = []
    for place, (label, video) in enumerate(shown):
        end = (video, f"tt{place:07d}")
        if task == "like_ratio":
            rows.append((1000 * (label + 1), 1000, *end))
        elif task == "view_count":
            rows.append((1000 * 4**label, *end))
        else:
            number = made_up_class(task, label)
            rows.append((number, CLASSES[task][number], *end))
    head = {"like_ratio": ("like_count", "dislike_count"), "view_count": ("view_count",)}
    first = head.get(task, ("class_id", "class_name"))
    return table_text([(*first, "youtube_id", "imdb_id"), *rows], delimiter=" ")


def _task(name: str) -> Task:
    classes = CLASSES.get(name, ())
    return Task(
        name=name,
        question=QUESTIONS[name],
        classes=classes,
        num_outputs=0 if classes else 1,
        metric="top1" if classes else "mse",
        sampling=None,
        clips=None,
        crops=None,
    )


# [D] Rows of each list, train, val and test.
_SIZES = {
    "relationship": (149, 53, 42), "way_speaking": (939, 205, 201), "scene": (557, 120, 86),
    "director": (680, 163, 107), "genre": (3063, 597, 647), "writer": (769, 174, 168), "year": (770, 165, 143),
    "like_ratio": (658, 142, 140), "view_count": (577, 124, 126),
}  # fmt: skip
# [P] VideoMamba's paper, Table VIII: what its authors could still get.
_VIDEOMAMBA_SIZES = {
    "relationship": (138, 49, 41), "way_speaking": (871, 196, 188), "scene": (514, 107, 81),
    "director": (680, 163, 107), "genre": (2807, 569, 584), "writer": (748, 174, 168), "year": (725, 163, 141),
    "like_ratio": (658, 142, 139), "view_count": (478, 103, 102),
}  # fmt: skip


def _sizes(table: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    return {
        f"{task}/{split}": count for task, counts in table.items() for split, count in zip(SPLITS, counts, strict=True)
    }


SUITE = Suite(
    name="lvu",
    description="Clips of films, one to three minutes long: seven classifications and two regressions about content, "
    "film and reception. Windows of 60 s every 16 s.",
    tasks=tuple(_task(name) for name in QUESTIONS),
    splits=SPLITS,
    test_split="test",
    licence="lists: not stated; videos: their owners' (MovieClips on YouTube)",
    source="Wu and Krähenbühl, Towards Long-Form Video Understanding, CVPR 2021",
    quirks=(
        "Tests are tiny: 42 videos of relationship, so one video is 2.4 points. Give three seeds or more with their "
        "spread; VideoMamba's authors call the numbers not stable and released none (issue 67) [R, I].",
        "The headline of like_ratio and view_count is the mean squared error after averaging over windows (lower is "
        "better), of ten times the share of likes minus 9.138 and of the logarithm of the views minus 11.764. "
        "VideoMamba's code has no such transform, and its two scripts have their data sets swapped [R].",
        "VideoMamba's evaluation keeps only the first window of a video per view, because it takes the others for "
        "duplicates [derived]; here all windows count.",
        "ViS4mer skips videos without features in silence [R]; here they fail and are listed. It stops on `val` and "
        "tests every complete window of 60 s, one per second (`lvu_vis4mer`).",
        "Class 1 of relationship has 3 training, 2 validation and no test videos; director has no videos of classes 2 "
        "and 3, writer none of 3, 4 and 8; class 0 of writer is the name `\\N`, a missing writer [D].",
        "Windows end where the file of lengths says, in whole seconds; a window that runs past the file's end is cut.",
        "Sizes count videos; records of one row are windows of one video.",
    ),
    prepare=prepare,
    sizes={"lvu_1.0": _sizes(_SIZES), "VideoMamba's paper": _sizes(_VIDEOMAMBA_SIZES)},
    url="https://github.com/chaoyuaw/lvu",
    layout=layout,
)

VIS4MER = replace(
    SUITE,
    name="lvu_vis4mer",
    description=SUITE.description.replace("every 16 s", "every second, as in ViS4mer"),
    prepare=partial(prepare, windows=vis4mer_windows),
)
WHOLE = replace(
    SUITE,
    name="lvu_whole",
    description=SUITE.description.replace("Windows of 60 s every 16 s", "Whole videos"),
    prepare=partial(prepare, windows=whole_video),
)
