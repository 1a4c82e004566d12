"""Clips as film strips inside a page, and which clips are worth looking at."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from benchmarks.table import Cell, Row, Table, Task

Frames = UInt8[np.ndarray, "frames height width 3"]
FramesOf = Callable[[str, int], Frames]  # task, row in its test list -> frames of that video for a strip
STRIP_FRAMES = 16
STRIP_PX = 96  # height of the frames of natural video in a strip


def data_uri(frames: Frames) -> str:
    """Frames side by side as a PNG inside a URI."""
    strip = np.concatenate(list(frames), axis=1)
    picture, file = Image.fromarray(strip), io.BytesIO()
    if picture.height > STRIP_PX:
        picture = picture.resize((round(picture.width * STRIP_PX / picture.height), STRIP_PX))
    picture.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def evenly(num_frames: int, count: int = STRIP_FRAMES) -> Int64[np.ndarray, "chosen"]:
    """Numbers of at most `count` frames, evenly spaced, first and last included."""
    return np.linspace(0, num_frames - 1, min(num_frames, count)).round().astype(np.int64)


def spread_out(frames: Frames, count: int = STRIP_FRAMES) -> UInt8[np.ndarray, "chosen height width 3"]:
    """At most `count` frames, evenly spaced, first and last included."""
    return frames[evenly(len(frames), count)]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Frames of a clip, ready for the page."""

    uri: str
    count: int


def strip(frames: Frames, count: int = STRIP_FRAMES) -> Strip:
    """A strip of at most `count` evenly spaced frames."""
    chosen = spread_out(frames, count)
    return Strip(uri=data_uri(chosen), count=len(chosen))


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A test video that one row gets and another misses.

    Attributes:
        video: row of the video in the test list.
        truth: its class.
        winner: row of the table that gets it.
        loser: row of the table that misses it.
        answer: what the loser says.
        winner_share: probability that the winner gives the truth.
        loser_share: probability that the loser gives its answer.
        strip: its frames.
    """

    video: int
    truth: str
    winner: Row
    loser: Row
    answer: str
    winner_share: float
    loser_share: float
    strip: Strip


def disagreements(
    table: Table, task: Task, first: Row, second: Row, frames_of: FramesOf, *, count: int = 2
) -> list[Disagreement]:
    """The clearest cases in which one of two rows is right and the other wrong, `count` for each."""
    found = []
    for winner, loser in ((first, second), (second, first)):
        found += _only(table, task, winner, loser, frames_of, count)
    return found


def _only(table: Table, task: Task, winner: Row, loser: Row, frames_of: FramesOf, count: int) -> list[Disagreement]:
    """Videos that the winner alone gets, those first where both are surest of their answers."""
    mine, theirs = table.cells[winner][task.name], table.cells[loser][task.name]
    shared = np.intersect1d(mine.rows, theirs.rows)
    ours, other = _mean(mine, shared), _mean(theirs, shared)
    labels = mine.labels[np.searchsorted(mine.rows, shared)]
    videos = np.arange(len(shared))
    right = (ours.argmax(1) == labels) & (other.argmax(1) != labels)
    certainty = np.where(right, ours[videos, labels] * other.max(1), -1.0)
    best = [int(at) for at in np.argsort(-certainty, kind="stable")[:count] if right[at]]
    return [
        Disagreement(
            video=int(shared[at]),
            truth=task.classes[int(labels[at])],
            winner=winner,
            loser=loser,
            answer=task.classes[int(other[at].argmax())],
            winner_share=float(ours[at, labels[at]]),
            loser_share=float(other[at].max()),
            strip=strip(frames_of(task.name, int(shared[at]))),
        )
        for at in best
    ]


def _mean(cell: Cell, rows: np.ndarray) -> np.ndarray:
    """Probabilities averaged over seeds at the given videos."""
    return cell.probabilities[:, np.searchsorted(cell.rows, rows)].mean(0)
