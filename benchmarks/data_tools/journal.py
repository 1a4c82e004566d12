"""Files that only grow: one JSON object a line, each written in one go, so that a killed run loses nothing it knew."""

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.data_tools.options import DataError


class Journal:
    """A file of JSON objects, one a line, behind a first line that says what it is.

    Args:
        path: the file; its folder is made, and it begins with `head` where it does not exist yet.
        head: what the file is and what it is about. An existing file must have the same.

    Attributes:
        entries: the objects that were there, in order.
        torn: lines that are no JSON object: what a full disk or a lost machine leaves. They are passed over.

    Raises:
        DataError: the file cannot be written, is something else, or is about something else.
    """

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        self.torn = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise DataError(f"cannot write {str(path)!r}: {error.strerror}; choose another --out") from error
        content = path.read_bytes()
        if not content:
            self.append(head)
            return
        lines = content.split(b"\n")
        if (found := _parsed(lines[0])) != head:
            os.close(self._handle)
            raise DataError(_difference(path, head, found))
        self._read(lines[1:])
        if lines[-1]:
            self._write(b"\n")  # or the next line would become part of a torn one

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._handle)

    def append(self, entry: dict[str, Any]) -> None:
        """Add an object.

        Raises:
            DataError: when it could not be written whole.
        """
        self._write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            # One write: lines of two processes never mix, and a killed process leaves whole lines.
            written = os.write(self._handle, line)
        except OSError as error:
            raise DataError(f"cannot write {str(self.path)!r}: {error.strerror}") from error
        if written < len(line):
            raise DataError(f"cannot write {str(self.path)!r}: no space left")

    def _read(self, lines: list[bytes]) -> None:
        for line in lines:
            entry = _parsed(line)
            if entry is not None:
                self.entries.append(entry)
            elif line:
                self.torn += 1


def read_journal(path: Path, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """First line and entries of a file that is only read.

    Raises:
        DataError: it is not there, or is something else.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}") from error
    head = _parsed(lines[0])
    if head is None or head.get("kind") != kind:
        raise DataError(f"{str(path)!r} was not written by {kind}")
    return head, [entry for line in lines[1:] if (entry := _parsed(line)) is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line.decode("utf-8", "surrogateescape"))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _difference(path: Path, head: dict[str, Any], found: dict[str, Any] | None) -> str:
    if found is None or found.get("kind") != head["kind"]:
        return f"{str(path)!r} was not written by {head['kind']}; choose another --out"
    key = next(key for key in {**found, **head} if found.get(key) != head.get(key))
    return f"{str(path)!r} has {key} {found.get(key)!r}, not {head.get(key)!r}; choose another --out"
