"""Annotation lists of the Kinetics kind: one video and one label per line, no header.

    clips/abc.mp4 12        separated by a blank, as in VideoMAE, mae_st, TimeSformer and V-JEPA
    clips/abc.mp4,12        separated by a comma, as in UMT and VideoMamba

A list that is not exactly this is refused with the file, the line and the field: read loosely, such lists become wrong
labels without a word (blanks in paths, missing labels, header rows, pages of HTML saved under the list's name).
"""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from zoo.data.list_files import HEADER_WORDS, Line, ListError, Seen, check_path, counted, note, read_text

__all__ = ["ListError", "Listed", "Record", "Span", "read_list", "read_listed"]

Delimiter = Literal[" ", ","]

DELIMITER_NAMES = {" ": "a blank", ",": "a comma"}
# ASCII digits, and not too many: int() also takes "1_7" and Arabic digits.
LABEL = re.compile(r"-?[0-9]{1,9}")
VIDEO_SUFFIX = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")


class Span(NamedTuple):
    """A part of a video, both ends included.

    Attributes:
        start: where it begins.
        end: where it ends; a later end than the video's is the video's.
        unit: what both are counted in: seconds, or frames from 0.
    """

    start: float
    end: float
    unit: Literal["seconds", "frames"] = "seconds"

    def frames(self, num_frames: int, fps: float) -> range:
        """The frames of the part, rounded down as VideoMamba's reader of windows does (video_sm/datasets/lvu.py).

        Args:
            num_frames: frames of the video.
            fps: frames per second of the video; not looked at where the unit is frames.

        Raises:
            ValueError: when no frame lies in the part, or the video tells no rate.
        """
        if self.unit == "seconds" and fps <= 0:
            raise ValueError(f"a part in seconds, {self.start:g} to {self.end:g}, of a video without a frame rate")
        # A rate such as 29.999999 is a rounding error of 30 and must not lose a frame.
        scale = fps + 1e-6 if self.unit == "seconds" else 1.0
        first, last = int(self.start * scale), min(int(self.end * scale), num_frames - 1)
        if not 0 <= first <= last:
            raise ValueError(
                f"no frame lies in the part from {self.start:g} to {self.end:g} {self.unit}: the video has "
                f"{num_frames} frames" + (f" at {fps:g} per second" if self.unit == "seconds" else "")
            )
        return range(first, last + 1)


class Record(NamedTuple):
    """One video of a list, or a part of one.

    Attributes:
        path: the video file.
        label: class index, -1 where labels are not used.
        row: what is scored: results are merged by it, never by file name. Its place in the list, from 0; several
            records of one row are windows of one long video.
        span: the part that the record is about; None for the whole video.
        target: what a regression should give; None where classes are asked for.
    """

    path: Path
    label: int
    row: int
    span: Span | None = None
    target: float | None = None


class Listed(NamedTuple):
    """A list that was read.

    Attributes:
        records: its videos, in order.
        notes: what was odd about the file but accepted.
    """

    records: list[Record]
    notes: tuple[str, ...]


def read_list(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    outside: bool = False,
    must_exist: bool = True,
) -> list[Record]:
    """Videos and labels of a list, in its order; see `read_listed`, which also tells what was odd about it."""
    return read_listed(path, root=root, num_classes=num_classes, outside=outside, must_exist=must_exist).records


def read_listed(
    path: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    outside: bool = False,
    must_exist: bool = True,
) -> Listed:
    """Videos and labels of a list, in its order.

    Args:
        path: the list: UTF-8, with or without byte order mark, lines ended in any way. Blank lines are skipped.
            Blanks and commas inside a path are fine, since the label is what follows the last delimiter.
        root: folder that the paths are relative to; the list's own folder when None.
        num_classes: labels must be below it.
        outside: also accept absolute paths and paths that leave `root` by "..". Addresses (http://...) never are.
        must_exist: every video must be there.

    Raises:
        ListError: for the first line that is wrong, or a file that is no list.
    """
    text = read_text(path, expected="videos; expected lines such as 'clips/a.mp4 3'")
    file, lines = text.file, text.lines
    _refuse_header(file, lines[0])
    delimiter = _delimiter(file, lines)
    folder = Path(root) if root is not None else Path(path).parent
    records: list[Record] = []
    seen = Seen(file)
    quoted = 0
    for row, line in enumerate(lines):
        name, label = _split(file, line, delimiter)
        _check_label(file, line.number, label, num_classes)
        check_path(file, line.number, "path", name, outside=outside)
        seen.add(line.number, "path", os.path.normpath(name), label)
        quoted += line.text.lstrip().startswith('"')
        records.append(Record(folder / name, label, row))
        if must_exist and not records[-1].path.is_file():
            raise ListError(file, line.number, "path", f"there is no file {str(records[-1].path)!r}; is root right?")
    return Listed(records, text.notes + note(file, [counted(quoted, "quoted path")] if quoted else []))


def _refuse_header(file: str, line: Line) -> None:
    first = line.text.strip()
    words = {word.strip(" \"'").lower() for word in re.split(r"[,\s]+", first)}
    if words <= HEADER_WORDS:
        raise ListError(file, line.number, "line", f"{first!r} is a header row; these lists have none, remove it")


def _delimiter(file: str, lines: Sequence[Line]) -> Delimiter:
    """What separates path and label in every line; decided by the first line."""
    first, *rest = [(line, _delimiter_of(file, line)) for line in lines]
    for line, found in rest:
        if found != first[1]:
            raise ListError(
                file,
                line.number,
                "line",
                f"separates path and label by {DELIMITER_NAMES[found]}, line {first[0].number} by "
                f"{DELIMITER_NAMES[first[1]]}; use one of them throughout",
            )
    return first[1]


def _delimiter_of(file: str, line: Line) -> Delimiter:
    head, label = _cut(line.text.strip())
    if not LABEL.fullmatch(label):
        raise _no_label(file, line, label)
    name = head.rstrip()
    if gap := head[len(name) :].strip(" "):
        raise ListError(file, line.number, "line", f"separates path and label by {gap!r}; use a blank or a comma")
    return "," if name.endswith(",") else " "


def _cut(text: str) -> tuple[str, str]:
    """What follows the last blank or comma, and all before it, delimiter included."""
    label = text.rsplit(None, 1)[-1].rpartition(",")[2]
    return text[: len(text) - len(label)], label


def _no_label(file: str, line: Line, last: str) -> ListError:
    text = line.text.strip()
    if last in ("", text) or VIDEO_SUFFIX.search(last):
        return ListError(file, line.number, "label", f"{text!r} has no label; expected a path and a label")
    return ListError(
        file, line.number, "label", f"{last!r} is not a class index; expected an integer from 0 in ASCII digits"
    )


def _split(file: str, line: Line, delimiter: Delimiter) -> tuple[str, int]:
    head, label = _cut(line.text.strip())
    name = head.rstrip()
    name = _unquoted(file, line, name.removesuffix(",").strip() if delimiter == "," else name, delimiter)
    if not name:
        raise ListError(file, line.number, "path", f"{line.text.strip()!r} has no path before the label")
    if name.endswith(",") or re.search(rf"{delimiter}[0-9]+$", name):
        raise ListError(
            file, line.number, "line", f"{line.text.strip()!r} has more than two fields; expected a path and a label"
        )
    return name, int(label)


def _unquoted(file: str, line: Line, name: str, delimiter: Delimiter) -> str:
    if not name.startswith('"'):
        return name
    try:
        fields = next(csv.reader([name], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ListError(file, line.number, "path", f"{name!r} is quoted wrongly: {error}") from error
    if len(fields) != 1:
        raise ListError(file, line.number, "line", f"{line.text!r} has more than two fields; expected path and label")
    return fields[0]


def _check_label(file: str, number: int, label: int, num_classes: int | None) -> None:
    if label < 0:
        raise ListError(file, number, "label", f"{label} is negative; classes are numbered from 0")
    if num_classes is not None and label >= num_classes:
        raise ListError(
            file, number, "label", f"{label} is out of range; {num_classes} classes are numbered 0 to {num_classes - 1}"
        )
