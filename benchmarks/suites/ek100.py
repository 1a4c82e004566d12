"""EPIC-KITCHENS-100: what is done (verb) with what (noun), in segments of first-person video.

Annotation files of github.com/epic-kitchens/epic-kitchens-100-annotations; counts and formats were taken from these
files [D], those of the training list excepted. Three suites:

- `ek100`: which action is seen in a segment;
- `ek100_anticipation`: which action begins one second after the end of a clip of four seconds;
- `ek100_anticipation_released`: the same with the window of V-JEPA 2's released validation, which ends one second before
  the END of the action, so that most of the action is usually seen (facebookresearch/vjepa2 issue 173).
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.layout import Layout, Look, Part, Plan, Video, table_text
from benchmarks.listed import ListedVideos
from benchmarks.official import data_folder, find
from benchmarks.suite import Suite, SuiteError, Task, Videos
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
SOURCE = "https://github.com/epic-kitchens/epic-kitchens-100-annotations"
VIDEOS_SOURCE = "https://data.bris.ac.uk/data/dataset/2g1n6qdydwa9u22shpxqzp0t8m"


class Segment(NamedTuple):
    """A row of a list: an action in a video, times in seconds, frames as the list counts them."""

    video: str
    participant: str
    start: float
    stop: float
    stop_frame: int
    verb: int
    noun: int

    @property
    def action(self) -> tuple[int, int]:
        """Verb and noun."""
        return self.verb, self.noun


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
KEYS: dict[str, Callable[[Segment], Hashable]] = {
    "verb": lambda segment: segment.verb,
    "noun": lambda segment: segment.noun,
    "action": lambda segment: segment.action,
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
            as EPIC-KITCHENS/P01/videos/P01_01.MP4 or P01/P01_01.MP4.
        progress: unused.

    Raises:
        SuiteError: no folder, or files that are not there.
        ListError: for annotation files of another form.
    """
    root = data_folder(root, SUITE.name)
    found = _annotations(root, rates=False)
    trained = {segment.action for segment in found.train}
    further = {segment.action for segment in found.validation} - trained
    count = sum(segment.action in further for segment in found.validation)
    classes: dict[str, list[Hashable]] = {
        "verb": list(range(NUM_VERBS)),
        "noun": list(range(NUM_NOUNS)),
        "action": [*sorted(trained), *sorted(further)],
    }
    note = f"{count} validation segments show one of {len(further)} pairs of verb and noun that no training segment has"
    return _listed(root, found, classes, recognition_span, (note,))


def prepare_anticipation(root: Path | None, progress: bool, *, spans: Spans, rates: bool) -> Videos:
    """Clips before actions; classes are those of the training list, and validation segments of other pairs are dropped.

    Args:
        root: as for `prepare`.
        progress: unused.
        spans: which part of a video is seen.
        rates: the frame rates of the videos are needed.

    Raises:
        SuiteError: no folder, or files that are not there.
        ListError: for annotation files of another form.
    """
    root = data_folder(root, "ek100_anticipation")
    found = _annotations(root, rates=rates)
    classes: dict[str, list[Hashable]] = {
        task: sorted({key(segment) for segment in found.train}) for task, key in KEYS.items()
    }
    trained = set(classes["action"])
    kept = [segment for segment in found.validation if segment.action in trained]
    early = sum(segment.start < ANTICIPATION_S + OBSERVED_S for segment in kept)
    notes = (
        f"{len(found.validation) - len(kept)} of {len(found.validation)} validation segments dropped: no training "
        "segment has their pair of verb and noun",
        f"{early} validation segments begin in the first {ANTICIPATION_S + OBSERVED_S:g} s of their video",
    )
    return _listed(root, replace(found, validation=kept), classes, spans, notes)


def _annotations(root: Path, *, rates: bool) -> Annotations:
    places = ("epic-kitchens-100-annotations", "annotations", ".")
    folder = next((root / place for place in places if (root / place / "EPIC_100_train.csv").is_file()), None)
    if folder is None:
        raise SuiteError(f"EPIC_100_train.csv is not below {str(root)!r} (looked in {', '.join(places)}); see {SOURCE}")
    verbs, verb_notes = _names(folder, "EPIC_100_verb_classes.csv", NUM_VERBS)
    nouns, noun_notes = _names(folder, "EPIC_100_noun_classes.csv", NUM_NOUNS)
    train, train_notes = _segments(folder, "EPIC_100_train.csv")
    validation, validation_notes = _segments(folder, "EPIC_100_validation.csv")
    unseen = _column(folder, "EPIC_100_unseen_participant_ids_validation.csv", "participant_id")
    return Annotations(
        train=train,
        validation=validation,
        verbs=verbs,
        nouns=nouns,
        tail_verbs=frozenset(
            row.integer("verb", high=NUM_VERBS - 1) for row in _column(folder, "EPIC_100_tail_verbs.csv", "verb")
        ),
        tail_nouns=frozenset(
            row.integer("noun", high=NUM_NOUNS - 1) for row in _column(folder, "EPIC_100_tail_nouns.csv", "noun")
        ),
        unseen=frozenset(row.text("participant_id") for row in unseen),
        rates=_rates(folder, {segment.video for segment in (*train, *validation)}) if rates else {},
        notes=(*verb_notes, *noun_notes, *train_notes, *validation_notes),
    )


def _names(folder: Path, file: str, count: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    table = read_table(find(folder, (file,), what=file, source=SOURCE), columns=("id", "key"), unique=("id",))
    for place, row in enumerate(table.rows):
        row.integer("id", low=place, high=place)
    if len(table.rows) != count:
        raise table.rows[-1].error("id", f"is the last of {len(table.rows)} classes; EPIC-KITCHENS-100 has {count}")
    return tuple(row.text("key") for row in table.rows), table.notes


def _column(folder: Path, file: str, column: str) -> list[Row]:
    return read_table(find(folder, (file,), what=file, source=SOURCE), columns=(column,), unique=(column,)).rows


def _rates(folder: Path, videos: set[str]) -> dict[str, float]:
    file = "EPIC_100_video_info.csv"
    path = find(folder, (file,), what=file, source=SOURCE)
    rows = read_table(path, columns=("video_id", "fps"), unique=("video_id",)).rows
    rates = {row.text("video_id"): row.number("fps", low=1) for row in rows}
    if lacking := sorted(videos - set(rates)):
        raise rows[-1].error("video_id", f"the table ends here without {lacking[0]}, which the lists have")
    return rates


def _segments(folder: Path, file: str) -> tuple[list[Segment], tuple[str, ...]]:
    path = find(folder, (file,), what=file, source=SOURCE)
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
    root: Path,
    found: Annotations,
    classes: Mapping[str, list[Hashable]],
    spans: Spans,
    notes: tuple[str, ...],
) -> ListedVideos:
    folder = find(root, ("EPIC-KITCHENS", "videos", "."), what="EPIC-KITCHENS' videos", source=VIDEOS_SOURCE)
    people = {segment.participant for segment in (*found.train, *found.validation)}
    # The download script makes P01/videos; others put the videos straight into P01.
    places = {person: Path(person, "videos") for person in people if (folder / person / "videos").is_dir()}
    lists = {}
    for task, key in KEYS.items():
        labels = {name: label for label, name in enumerate(classes[task])}
        for split in SPLITS:
            lists[task, split] = [
                Record(
                    folder / places.get(segment.participant, Path(segment.participant)) / f"{segment.video}.MP4",
                    labels[key(segment)],
                    row,
                    spans(segment, found),
                )
                for row, segment in enumerate(_of_split(found, task, split))
            ]
    names = {
        "verb": tuple(found.verbs[verb] for verb in classes["verb"]),  # type: ignore[index]
        "noun": tuple(found.nouns[noun] for noun in classes["noun"]),  # type: ignore[index]
        "action": tuple(f"{found.verbs[verb]} {found.nouns[noun]}" for verb, noun in classes["action"]),  # type: ignore[misc]
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
