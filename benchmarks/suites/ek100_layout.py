"""A generated copy of EPIC-KITCHENS-100: its annotation files, and long videos of several actions."""

import math

from benchmarks.layout import Layout, Look, Part, Plan, Video, table_text

NUM_VERBS, NUM_NOUNS = 97, 300
# The action is the last part of a stretch; what comes before shows already what it will be.
ACTION_SHARE = 0.4
FPS = 8
HEAD = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip
UNSEEN = "P18"
FOLDER = "epic-kitchens-100-annotations"

Rows = list[tuple[object, ...]]


def pair(label: int, classes: int) -> tuple[int, int]:
    """Verb and noun of a planned class: a square of the first verbs and nouns."""
    side = math.ceil(math.sqrt(classes))
    return label % side, label // side


def layout(plan: Plan) -> Layout:
    """Videos in which all planned actions come one after the other, and every annotation file of the release.

    A noun is a digit, a verb a motion. Every other validation video is of a participant without training videos, and
    the last one ends with a pair that no training video has.
    """
    stretch_s = plan.seconds or 10.0
    pairs = [pair(label, plan.classes) for label in range(plan.classes)]
    # The first verb with a noun that no other action has.
    new = (0, NUM_NOUNS - 1)
    rows: dict[str, Rows] = {"train": [HEAD], "validation": [HEAD]}
    videos: list[Video] = []
    for turn in range(plan.videos):
        person = f"P{1 + turn % 4:02d}"
        _add(f"{person}_{1 + turn // 4:02d}", pairs, stretch_s, rows["train"], videos)
    for turn in range(plan.videos):
        actions = [*pairs, new] if turn == plan.videos - 1 else pairs
        person = "P01" if turn % 2 else UNSEEN
        _add(f"{person}_{50 + turn}", actions, stretch_s, rows["validation"], videos)
    files = {f"EPIC_100_{split}.csv": table_text(list_rows) for split, list_rows in rows.items()}
    info: Rows = [("video_id", "duration", "fps", "resolution")]
    info += [(_stem(video), video.seconds, float(FPS), "generated") for video in videos]
    tests: Rows = [HEAD[:8], ("P01_99_0", "P01", "P01_99", *[_time(1.0)] * 2, _time(2.0), FPS, 2 * FPS)]
    files |= {
        "EPIC_100_test_timestamps.csv": table_text(tests),
        "EPIC_100_verb_classes.csv": _classes("verb", NUM_VERBS),
        "EPIC_100_noun_classes.csv": _classes("noun", NUM_NOUNS),
        "EPIC_100_tail_verbs.csv": table_text([("verb",), (pairs[-1][0],)]),
        "EPIC_100_tail_nouns.csv": table_text([("noun",), (pairs[-1][1],), (new[1],)]),
        "EPIC_100_unseen_participant_ids_validation.csv": table_text([("participant_id",), (UNSEEN,)]),
        "EPIC_100_video_info.csv": table_text(info),
    }
    return Layout(files={f"{FOLDER}/{name}": text for name, text in files.items()}, videos=tuple(videos), fps=FPS)


def _add(name: str, actions: list[tuple[int, int]], stretch_s: float | int, rows: Rows, videos: list[Video]) -> None:
    """A video of some actions, and its rows."""
    person = name.partition("_")[0]
    parts = tuple(Part(Look(noun % 10, verb % 10), stretch_s) for verb, noun in actions)
    videos.append(Video(f"EPIC-KITCHENS/{person}/videos/{name}.MP4", parts, test=name.startswith((UNSEEN, "P01_5"))))
    for place, (verb, noun) in enumerate(actions):
        stop = (place + 1) * stretch_s
        start = stop - ACTION_SHARE * stretch_s
        frames = [max(1, int(time * FPS)) for time in (start, stop)]
        words = (f"verb-{verb} noun-{noun}", f"verb-{verb}", verb, f"noun-{noun}", noun)
        times = (_time(start), _time(start), _time(stop))
        rows.append((f"{name}_{place}", person, name, *times, *frames, *words, f"['noun-{noun}']", f"[{noun}]"))


def _stem(video: Video) -> str:
    return video.name.rpartition("/")[2].removesuffix(".MP4")


def _time(seconds: float | int) -> str:
    """Hours, minutes, seconds and hundredths."""
    minutes, rest = divmod(round(seconds * 100), 6000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest / 100:05.2f}"


def _classes(kind: str, count: int) -> str:
    rows = [(number, f"{kind}-{number}", f"['{kind}-{number}']", "made up") for number in range(count)]
    return table_text([("id", "key", "instances", "category"), *rows], line_end="\r\n")
