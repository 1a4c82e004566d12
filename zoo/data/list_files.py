"""What every reader of annotation files shares: the error, the text of a file, and checks of paths and of repetitions.

A file that is not exactly what it should be is refused with the file, the line (or the JSON path) and the field: read
loosely, lists become wrong labels without a word. What is odd but means one thing only (byte order marks, line ends of
other systems) is accepted, counted and handed back as notes.
"""

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import NamedTuple

HEADER_WORDS = {"path", "video", "video_path", "file", "filename", "file_name", "label", "class", "class_id"}
# FFmpeg also has addresses with options before the colon: "subfile,,start,0,end,0,,:a.mp4".
PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(,[^/]*)?:")
# What such a file begins with -> what it is. Annotation files are text.
MAGIC = {
    b"\x1f\x8b": "is packed with gzip; unpack it first",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"BZh": "is packed with bzip2; unpack it first",
    b"\xfd7zXZ": "is packed with xz; unpack it first",
    b"\xff\xfe": "is UTF-16; save it as UTF-8",
    b"\xfe\xff": "is UTF-16; save it as UTF-8",
    b"\x80\x04": "is a Python pickle, which is never read; save it as text",
}
BYTE_ORDER_MARK = "\ufeff"
LINE_END = re.compile(r"\r\n|\r|\n")
LINE_END_NAMES = {"\r\n": "CRLF", "\r": "CR"}


class ListError(ValueError):
    """An annotation file that cannot be read without guessing.

    Attributes:
        file: the file.
        line: number of the line, from 1; 0 for the file as a whole, and in JSON.
        field: what is wrong: "file", "line", "path", "label", "header", the name of a column or a JSON path.
        reason: what was found, and what would be right.
    """

    def __init__(self, file: str, line: int, field: str, reason: str) -> None:
        super().__init__(file, line, field, reason)
        self.file, self.line, self.field, self.reason = file, line, field, reason

    def __str__(self) -> str:
        place = f", line {self.line}" if self.line else ""
        return f"{self.file!r}{place}, {self.field}: {self.reason}"


class Line(NamedTuple):
    """A line that is not blank; `number` counts from 1."""

    number: int
    text: str


class Text(NamedTuple):
    """The content of an annotation file.

    Attributes:
        file: its name, for errors.
        lines: all that are not blank, without their ends.
        notes: what was odd but accepted; at most one sentence.
    """

    file: str
    lines: tuple[Line, ...]
    notes: tuple[str, ...]


def read_text(path: str | os.PathLike[str], *, expected: str, json: bool = False) -> Text:
    """The lines of an annotation file: UTF-8, with or without byte order mark, lines ended in any way.

    Args:
        path: the file.
        expected: what it should hold, for errors.
        json: JSON is what it should be.

    Raises:
        ListError: for a file that is no such text.
    """
    file = os.fspath(path)
    content = _decoded(file, _bytes(file))
    ends = Counter(LINE_END.findall(content))
    body = content.removeprefix(BYTE_ORDER_MARK)
    lines = []
    blank = 0
    texts = LINE_END.split(body)
    for number, text in enumerate(texts, start=1):
        if "\0" in text:
            raise ListError(file, number, "line", "holds a zero byte: this is no text file")
        if text.strip():
            lines.append(Line(number, text))
        elif number < len(texts):
            blank += 1
    if not lines:
        raise ListError(file, 0, "file", f"holds no {expected}")
    _refuse_foreign_content(file, lines[0], expected, json=json)
    odd = ["a byte order mark"] if content is not body else []
    odd += [counted(ends[end], "line end", f" {name}") for end, name in LINE_END_NAMES.items() if ends[end]]
    odd += [counted(blank, "blank line")] if blank and not json else []
    return Text(file, tuple(lines), note(file, odd))


def note(file: str, odd: list[str]) -> tuple[str, ...]:
    """The sentence about a file that says what was odd about it; none where nothing was."""
    return (f"{os.path.basename(file)}: accepted {', '.join(odd)}",) if odd else ()


def counted(number: int, what: str, after: str = "") -> str:
    """A number of things in words: "1 blank line", "3 line ends CRLF"."""
    return f"{number} {what}{'' if number == 1 else 's'}{after}"


def _bytes(file: str) -> bytes:
    try:
        # Looking first: opening a FIFO would wait for ever.
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise ListError(file, 0, "file", "cannot be read: it is a folder or a device, not a file")
        return Path(file).read_bytes()
    except OSError as error:
        raise ListError(file, 0, "file", f"cannot be read: {error.strerror}") from error


def _decoded(file: str, data: bytes) -> str:
    for beginning, what in MAGIC.items():
        if data.startswith(beginning):
            raise ListError(file, 0, "file", what)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        raise ListError(file, line, "line", "is not UTF-8; save the file as UTF-8") from error


def _refuse_foreign_content(file: str, line: Line, expected: str, *, json: bool) -> None:
    """Refuse what is often saved under the name of a list, by the first line."""
    first = line.text.strip()
    if first.startswith("<"):
        raise ListError(
            file, line.number, "file", f"is a web page (HTML or XML) and holds no {expected}; download the file itself"
        )
    if first.startswith("version https://git-lfs"):
        raise ListError(file, line.number, "file", "is a git-lfs pointer, not the file; run `git lfs pull`")
    if re.fullmatch(r"(404|403|429): [A-Za-z ]+", first):
        raise ListError(file, line.number, "file", f"is a server's answer, {first!r}; download the file again")
    if first.startswith(("{", "[")) and not json:
        raise ListError(file, line.number, "file", f"is JSON; expected {expected}")


def check_path(file: str, line: int, field: str, name: str, *, outside: bool = False) -> str:
    """The name of a video file, if it may be opened.

    Args:
        file: where it stands.
        line: of the file.
        field: of the line.
        name: the path.
        outside: also accept absolute paths and paths with "..". Addresses (http://..., concat:...) never are.

    Raises:
        ListError: for a path that leads out of the data set, or is none.
    """
    if not name.strip() or "\0" in name or "\n" in name or "\r" in name:
        raise ListError(file, line, field, f"{name!r} is no path")
    if PROTOCOL.match(name):
        raise ListError(file, line, field, f"{name!r} is an address; expected a file (./{name} if it is one)")
    if outside:
        return name
    # Strings, not Path: lists have up to a million lines.
    if re.match(r"[A-Za-z]:|[\\/]", name):
        raise ListError(
            file, line, field, f"{name!r} is absolute; make it relative to root, or pass outside=True (--outside)"
        )
    if ".." in name and ".." in re.split(r"[\\/]", name):
        raise ListError(
            file, line, field, f"{name!r} may leave root by '..'; pass outside=True (--outside) to allow it"
        )
    return name


class Seen:
    """Refuses what is listed twice.

    Args:
        file: whose entries they are.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self._entries: dict[str, tuple[int, object]] = {}

    def add(self, line: int, field: str, name: str, label: object, *, label_name: str = "label") -> None:
        """Note an entry.

        Args:
            line: where it stands.
            field: what its name is called.
            name: must not come again; paths are given in normal form.
            label: what is said of it.
            label_name: what that is called.

        Raises:
            ListError: when there is an earlier one of this name.
        """
        if name in self._entries:
            earlier, before = self._entries[name]
            how = "again" if before == label else f"with {label_name} {label}, and {label_name} {before} before"
            raise ListError(self.file, line, field, f"{name!r} is listed {how} (line {earlier}); list each once")
        self._entries[name] = line, label
