"""What a generated copy of a data set consists of: annotation files, videos, and what each video shows.

A suite's `layout` is a function from a `Plan` to a `Layout`: names and texts only, exactly those of the official
release. `benchmarks.synth` renders the videos and writes everything.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

NUM_DIGITS = 10
# Five movements in two directions each (zoo.data.scenes.MOTION_CLASSES).
NUM_MOTIONS = 10
MAX_CLASSES = NUM_DIGITS * NUM_MOTIONS


class SynthError(ValueError):
    """A data set that cannot be generated as asked, or not there; the message says what would be right."""


class Look(NamedTuple):
    """What tells a class from others in a generated video.

    Attributes:
        digit: which digit is seen.
        motion: how it moves, a place in `zoo.data.scenes.MOTION_CLASSES`.
    """

    digit: int
    motion: int


class Part(NamedTuple):
    """A stretch of a video.

    Attributes:
        look: what it shows.
        seconds: how long.
    """

    look: Look
    seconds: float | int


class Video(NamedTuple):
    """A video file to render.

    Attributes:
        name: path below the folder, as in the official release.
        parts: what it shows, one after the other.
        test: it shows digit images that no training video has.
    """

    name: str
    parts: tuple[Part, ...]
    test: bool = False

    @property
    def seconds(self) -> float | int:
        """Length of the whole."""
        return sum(part.seconds for part in self.parts)


class Example(NamedTuple):
    """One of the videos that a plan asks for.

    Attributes:
        label: class.
        number: of the example in its split, from 0; distinct within a split.
    """

    label: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of a data set is generated.

    Attributes:
        classes: number of classes that have videos; the first ones of the data set.
        videos: per class and split.
        seed: of everything that is drawn.
        seconds: length of a video; None for what suits the data set.
    """

    classes: int = 4
    videos: int = 4
    seed: int = 0
    seconds: float | int | None = None

    def examples(self) -> list[Example]:
        """The examples of a split, classes in turn."""
        return [
            Example(label, turn * self.classes + label) for turn in range(self.videos) for label in range(self.classes)
        ]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A generated data set before anything is written.

    Attributes:
        files: path below the folder -> text of an annotation file.
        videos: to render.
        fps: frames per second of the videos.
    """

    files: Mapping[str, str]
    videos: tuple[Video, ...]
    fps: int = 8


def look_of(label: int) -> Look:
    """What class `label` looks like: its last digit, in a motion that differs among those that share it.

    Raises:
        ValueError: for more classes than there are looks.
    """
    if not 0 <= label < MAX_CLASSES:
        raise ValueError(f"class {label} has no look of its own; generated data has at most {MAX_CLASSES} classes")
    return Look(label % NUM_DIGITS, (label + label // NUM_DIGITS) % NUM_MOTIONS)


def video_of(name: str, label: int, seconds: float | int, *, test: bool) -> Video:
    """A video that shows one class from beginning to end."""
    return Video(name, (Part(look_of(label), seconds),), test)


def table_text(rows: Iterable[Sequence[object]], *, delimiter: str = ",", line_end: str = "\n") -> str:
    """Rows as text, fields quoted where they must be."""
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return text.getvalue()


def made_up_id(*place: int | str) -> str:
    """Eleven letters and digits that look like a YouTube id, always the same for one place."""
    return base64.urlsafe_b64encode(hashlib.sha256(repr(place).encode()).digest())[:11].decode()
