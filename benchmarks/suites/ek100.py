"""EPIC-KITCHENS-100: what is done (verb) with what (noun), in segments of first-person video.

Annotation files of github.com/epic-kitchens/epic-kitchens-100-annotations; counts and formats were taken from these
files [D], those of the training list excepted. Three suites:

- `ek100`: which action is seen in a segment;
- `ek100_anticipation`: which action begins one second after the end of a clip of four seconds;
- `ek100_anticipation_released`: the same with the window of V-JEPA 2's released validation, which ends one second
  before the END of the action, so that most of the action is usually seen (facebookresearch/vjepa2 issue 173).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task, Videos
from benchmarks.suites import ek100_layout
from benchmarks.suites.finding import Finder
from zoo.data.records import Record, Span
from zoo.data.tables import Row, read_table

NUM_VERBS, NUM_NOUNS = 97, 300
# [R] Classes of V-JEPA 2's released probes: those of the training list.
TRAIN_NOUNS, TRAIN_ACTIONS = 289, 3568
# [M] Pairs of training and validation together, as in RULSTM's actions.csv; the lists that are read decide.
ALL_ACTIONS = 3806
SPLITS = ("train", "validation", "validation_unseen", "validation_tail")
COLUMNS = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip
# [R] V-JEPA 2 evals/action_anticipation_frozen: 32 frames at 8 per second, one second before the action.
ANTICIPATION_S, FRAMES, RATE = 1.0, 32, 8
OBSERVED_S = FRAMES / RATE
TIME = r"[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]+)?"
# Of the release, and of copies of it.
ENDINGS = (".MP4", ".mp4", ".mkv", ".webm")
SOURCE = "https://github.com/epic-kitchens/epic-kitchens-100-annotations"
# The download script of the videos (epic-kitchens-download-scripts) makes a folder EPIC-KITCHENS.
ANNOTATION_FOLDERS = ("epic-kitchens-100-annotations",)


class Segment(NamedTuple):
    """A row of a list: an action in a video, times in seconds, frames as the list counts them."""

    video: str
    participant: str
    start: float
    stop: float
    stop_frame: int
    verb: int
    noun: int


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What the annotation files say.

    Attributes:
        train: segments of the training list.
        validation: segments of the validation list.
        verbs: names by class.
        nouns: names by class.
        tail_verbs: classes that are rare.
        tail_nouns: classes that are rare.
        unseen: participants of the validation list that the training list has not.
        rates: frames per second of each video; empty unless asked for.
        notes: what was odd about the files.
    """

    train: list[Segment]
    validation: list[Segment]
    verbs: tuple[str, ...]
    nouns: tuple[str, ...]
    tail_verbs: frozenset[int]
    tail_nouns: frozenset[int]
    unseen: frozenset[str]
    rates: Mapping[str, float]
    notes: tuple[str, ...]


Spans = Callable[[Segment, Annotations], Span]
# What a class of a task is known by.
Key = tuple[int, ...]
KEYS: dict[str, Callable[[Segment], Key]] = {
    "verb": lambda segment: (segment.verb,),
    "noun": lambda segment: (segment.noun,),
    "action": lambda segment: (segment.verb, segment.noun),
}


def recognition_span(segment: Segment, annotations: Annotations) -> Span:
    """The action."""
    return Span(segment.start, segment.stop)


def standard_span(segment: Segment, annotations: Annotations) -> Span:
    """Four seconds that end one second before the action begins; less where the video begins later."""
    end = max(0.0, segment.start - ANTICIPATION_S)
    return Span(max(0.0, end - OBSERVED_S), end)


def released_span(segment: Segment, annotations: Annotations) -> Span:
    """V-JEPA 2's released window, for clips by the rule of segments.

    Source: evals/action_anticipation_frozen/epickitchens.py, `decode_videos_to_clips`: with the default anticipation
    point 0 the frames are those from `stop_frame - int(fps) - 32 step` on, every `step = int(fps / 8)`. The middle of a
    segment of `step` frames lies `step // 2` after its beginning, hence the shift. Where the window begins before the
    video, the authors repeat the first frame; here fewer frames are spread over what there is.
    """
    rate = annotations.rates[segment.video]
    step = max(1, int(rate / RATE))
    end = segment.stop_frame - int(ANTICIPATION_S * rate) - step // 2
    return Span(max(0, end - FRAMES * step), max(0, end - 1), "frames")


def prepare(root: Path | None, progress: bool) -> Videos:
    """Segments to recognise, all rows of both lists.

    Pairs of verb and noun that only the validation list has are classes too, after those of the training list: nobody
    can learn them, but their segments count.

    Args:
        root: holds the annotation files (or `epic-kitchens-100-annotations` or `annotations` with them) and the videos,
            as EPIC-KITCHENS/P01/videos/P01_01.MP4 or P01/P01_01.MP4, or copies of them in another container.
        progress: unused.

    Raises:
        SuiteError: no folder, no annotation files, or none of a list's videos.
        ListError: for annotation files of another form.
    """
    finder = Finder("ek100", root, url=SOURCE)
    found = _annotations(finder, rates=False)
    action = KEYS["action"]
    trained = {action(segment) for segment in found.train}
    further = {action(segment) for segment in found.validation} - trained
    count = sum(action(segment) in further for segment in found.validation)
    classes: dict[str, list[Key]] = {
        "verb": [(verb,) for verb in range(NUM_VERBS)],
        "noun": [(noun,) for noun in range(NUM_NOUNS)],
        "action": [*sorted(trained), *sorted(further)],
    }
    note = f"{count} validation segments show one of {len(further)} pairs of verb and noun that no training segment has"
    return _listed(finder, found, classes, recognition_span, (note,))


def prepare_anticipation(root: Path | None, progress: bool, *, spans: Spans, rates: bool) -> Videos:
    """Clips before actions; classes are those of the training list, and validation segments of other pairs are dropped.

    Args:
        root: as for `prepare`.
        progress: unused.
        spans: which part of a video is seen.
        rates: the frame rates of the videos are needed.

    Raises:
        SuiteError: no folder, no annotation files, or none of a list's videos.
        ListError: for annotation files of another form.
    """
    finder = Finder("ek100_anticipation", root, url=SOURCE)
    found = _annotations(finder, rates=rates)
    classes = {task: sorted({key(segment) for segment in found.train}) for task, key in KEYS.items()}
    trained = set(classes["action"])
    kept = [segment for segment in found.validation if KEYS["action"](segment) in trained]
    early = sum(segment.start < ANTICIPATION_S + OBSERVED_S for segment in kept)
    notes = (
        f"{len(found.validation) - len(kept)} of {len(found.validation)} validation segments dropped: no training "
        "segment has their pair of verb and noun",
        f"{early} validation segments begin in the first {ANTICIPATION_S + OBSERVED_S:g} s of their video",
    )
    return _listed(finder, replace(found, validation=kept), classes, spans, notes)


def _annotations(finder: Finder, *, rates: bool) -> Annotations:
    verbs, verb_notes = _names(finder, "EPIC_100_verb_classes.csv", NUM_VERBS)
    nouns, noun_notes = _names(finder, "EPIC_100_noun_classes.csv", NUM_NOUNS)
    train, train_notes = _segments(finder, "EPIC_100_train.csv")
    validation, validation_notes = _segments(finder, "EPIC_100_validation.csv")
    unseen = _column(finder, "EPIC_100_unseen_participant_ids_validation.csv", "participant_id")
    return Annotations(
        train=train,
        validation=validation,
        verbs=verbs,
        nouns=nouns,
        tail_verbs=frozenset(
            row.integer("verb", high=NUM_VERBS - 1) for row in _column(finder, "EPIC_100_tail_verbs.csv", "verb")
        ),
        tail_nouns=frozenset(
            row.integer("noun", high=NUM_NOUNS - 1) for row in _column(finder, "EPIC_100_tail_nouns.csv", "noun")
        ),
        unseen=frozenset(row.text("participant_id") for row in unseen),
        rates=_rates(finder, {segment.video for segment in (*train, *validation)}) if rates else {},
        notes=(*verb_notes, *noun_notes, *train_notes, *validation_notes),
    )


def _file(finder: Finder, name: str) -> Path:
    path = finder.file(name, folders=ANNOTATION_FOLDERS)
    if path is None:
        raise finder.missing([name])
    return path


def _names(finder: Finder, file: str, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    table = read_table(_file(finder, file), columns=("id", "key"), unique=("id",))
    for place, row in enumerate(table.rows):
        row.integer("id", low=place, high=place)
    if len(table.rows) != count:
        raise table.rows[-1].error("id", f"is the last of {len(table.rows)} classes; EPIC-KITCHENS-100 has {count}")
    return tuple(row.text("key") for row in table.rows), table.notes


def _column(finder: Finder, file: str, column: str) -> list[Row]:
    return read_table(_file(finder, file), columns=(column,), unique=(column,)).rows


def _rates(finder: Finder, videos: set[str]) -> dict[str, float]:
    file = "EPIC_100_video_info.csv"
    path = _file(finder, file)
    rows = read_table(path, columns=("video_id", "fps"), unique=("video_id",)).rows
    rates = {row.text("video_id"): row.number("fps", low=1) for row in rows}
    if lacking := sorted(videos - set(rates)):
        raise rows[-1].error("video_id", f"the table ends here without {lacking[0]}, which the lists have")
    return rates


def _segments(finder: Finder, file: str) -> tuple[list[Segment], tuple[str, ...]]:
    path = _file(finder, file)
    table = read_table(path, columns=COLUMNS, unique=("narration_id",))
    return [_segment(row) for row in table.rows], table.notes


def _segment(row: Row) -> Segment:
    start, stop = _seconds(row, "start_timestamp"), _seconds(row, "stop_timestamp")
    if stop <= start:
        raise row.error("stop_timestamp", f"{stop:g} s is not after the start at {start:g} s")
    participant = row.text("participant_id", pattern=r"P[0-9]{2}", right="a participant such as P01")
    return Segment(
        video=row.text("video_id", pattern=rf"{participant}_[0-9]{{2,3}}", right=f"a video of {participant}"),
        participant=participant,
        start=start,
        stop=stop,
        stop_frame=row.integer("stop_frame"),
        verb=row.integer("verb_class", high=NUM_VERBS - 1),
        noun=row.integer("noun_class", high=NUM_NOUNS - 1),
    )


def _seconds(row: Row, column: str) -> float:
    hours, minutes, seconds = row.text(column, pattern=TIME, right="a time such as 00:01:02.34").split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _listed(
    finder: Finder,
    found: Annotations,
    classes: Mapping[str, list[Key]],
    spans: Spans,
    notes: tuple[str, ...],
) -> ListedVideos:
    folder = finder.folder("EPIC-KITCHENS", "videos") or finder.root
    people = {segment.participant for segment in (*found.train, *found.validation)}
    # The download script makes P01/videos; others put the videos straight into P01.
    places = {person: Path(person, "videos") for person in people if (folder / person / "videos").is_dir()}
    stems = [
        (places.get(segment.participant, Path(segment.participant)) / segment.video).as_posix()
        for segment in (*found.train, *found.validation)
    ]
    _, ending = finder.place(stems, [folder.relative_to(finder.root).as_posix()], ENDINGS)
    if ending != ENDINGS[0]:
        notes += (f"copies that end in {ending}; the videos of the release end in {ENDINGS[0]}",)
    lists = {}
    for task, key in KEYS.items():
        labels = {name: label for label, name in enumerate(classes[task])}
        for split in SPLITS:
            lists[task, split] = [
                Record(
                    folder / places.get(segment.participant, Path(segment.participant)) / f"{segment.video}{ending}",
                    labels[key(segment)],
                    row,
                    spans(segment, found),
                )
                for row, segment in enumerate(_of_split(found, task, split))
            ]
    for split in ("train", "validation"):
        finder.check(lists["verb", split], folder)
    words = {"verb": (found.verbs,), "noun": (found.nouns,), "action": (found.verbs, found.nouns)}
    names = {
        task: tuple(" ".join(of[part] for of, part in zip(words[task], key, strict=True)) for key in keys)
        for task, keys in classes.items()
    }
    return ListedVideos(folder=folder, lists=lists, names=names, notes=(*found.notes, *notes))


def _of_split(found: Annotations, task: str, split: str) -> list[Segment]:
    """Segments of a list; the tail of a task are its rare classes, of actions those with a rare verb or noun."""
    if split == "train":
        return found.train
    if split == "validation_unseen":
        return [segment for segment in found.validation if segment.participant in found.unseen]
    if split == "validation_tail":
        rare = {
            "verb": lambda segment: segment.verb in found.tail_verbs,
            "noun": lambda segment: segment.noun in found.tail_nouns,
            "action": lambda segment: segment.verb in found.tail_verbs or segment.noun in found.tail_nouns,
        }
        return [segment for segment in found.validation if rare[task](segment)]
    return found.validation


def _tasks(metric: str, counts: tuple[int, int, int], sampling: str | None) -> tuple[Task, ...]:
    what = "begins a second after the clip" if metric == "recall5" else "is seen"
    return tuple(
        Task(
            name=name,
            question=f"Which {name} {what}?",
            num_outputs=count,
            metric="recall5" if metric == "recall5" else "top1",
            sampling="segments" if sampling else None,
            clips=1 if sampling else None,
            crops=1 if sampling else None,
        )
        for name, count in zip(KEYS, counts, strict=True)
    )


# [D] Counted in the validation list, whose tail classes are in EPIC_100_tail_{verbs,nouns}.csv; [P] the training list.
SIZES = {
    "train": 67217,
    "validation": 9668,
    "validation_unseen": 1065,
    "verb/validation_tail": 1760,
    "noun/validation_tail": 1900,
    "action/validation_tail": 3105,
}

SUITE = Suite(
    name="ek100",
    description="Segments of a few seconds from 100 hours of kitchen work, filmed from the head. Which verb, which "
    "noun, which pair of them?",
    tasks=_tasks("top1", (NUM_VERBS, NUM_NOUNS, ALL_ACTIONS), None),
    splits=SPLITS,
    test_split="validation",
    licence="CC BY-NC 4.0",
    source="Damen et al., Rescaling Egocentric Vision, IJCV 2022",
    quirks=(
        "The test list has no public labels; `validation` is what papers report. Subsets: `validation_unseen` are "
        "participants without training videos (P18 and P32), `validation_tail` rare classes (of actions: a rare verb "
        "or a rare noun [M]).",
        "`action` is one classifier over pairs of verb and noun. The challenge instead scores a pair by the product of "
        "the verb's and the noun's probability, which also reaches pairs without training segments [M].",
        "Segments are taken by their times. start_frame and stop_frame count frames extracted at 60 (or 50) per "
        "second, while most of these videos have 59.94 and a few 47.95 [D]: as frame numbers of the video they drift.",
        "Colours: Omnivore's number rose from 45.8 to 49.9 when blue and red were no longer swapped (issue 37) [I].",
    ),
    prepare=prepare,
    sizes={"EPIC-KITCHENS-100": SIZES},
    train_split="train",
    url=SOURCE,
    layout=ek100_layout.layout,
)

ANTICIPATION = replace(
    SUITE,
    name="ek100_anticipation",
    description="Four seconds of kitchen work that end one second before an action begins. Which verb, noun and pair "
    "will it be?",
    tasks=_tasks("recall5", (NUM_VERBS, TRAIN_NOUNS, TRAIN_ACTIONS), "segments"),
    prepare=partial(prepare_anticipation, spans=standard_span, rates=False),
    sizes={},
    quirks=(
        "The headline is recall@5 averaged over the classes that occur in the validation list.",
        "Classes are those of the training list, in ascending order; validation segments of a pair that it does not "
        "have are dropped, as in V-JEPA 2's code [R]. Its released heads have another order, that of a Python set.",
        "A clip is 32 frames at 8 per second in V-JEPA 2: frames are spread over four seconds here, whatever their "
        "number. Training takes one random frame from each part of the same window; V-JEPA 2 varies the distance "
        "instead, 0.25 to 1.75 s before a point in the last quarter of the action [R].",
        "Segments that begin in the first second of a video are anticipated from its first frame.",
        "EPIC-KITCHENS-100's own challenge counts all validation segments [M].",
    ),
)
RELEASED = replace(
    ANTICIPATION,
    name="ek100_anticipation_released",
    description="Four seconds of kitchen work that end one second before an action ENDS, as in V-JEPA 2's released "
    "validation. Which verb, noun and pair is it?",
    prepare=partial(prepare_anticipation, spans=released_span, rates=True),
    quirks=(
        "Not an anticipation: with the default anticipation point 0 the window of V-JEPA 2's code ends one second "
        "before the action's end, so actions longer than a second are partly seen (protocols trap 16; vjepa2 issue "
        "173) [R, I]. Use ek100_anticipation for anything but a comparison with its numbers.",
        "stop_frame is used as a frame number of the video, as in that code, although it counts frames at 60 per "
        "second.",
        "Frames of evaluation are those of the released code for clips of 32 frames; where a window begins before the "
        "video, fewer frames are spread over what there is, and the code repeats the first frame.",
        *ANTICIPATION.quirks[:2],
    ),
)
