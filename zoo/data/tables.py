"""Annotation files of the other kinds: tables with and without a header, JSON, and lists of names.

    table = read_table("val.csv", columns=("label", "youtube_id"))
    table.rows[0].text("label")
    read_json("labels.json").root.member("a dog").integer()

Nothing is guessed: the caller says which columns there are and what separates them, and takes each field as what it
should be. What is wrong is one `ListError` with file, line or JSON path, and field; what is odd but accepted comes back
as notes, which end up in the results. Lists of a path and a label are read by `zoo.data.records`.
"""

import csv
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from zoo.data.list_files import HEADER_WORDS, Line, ListError, Seen, Text, check_path, counted, note, read_text

__all__ = [
    "Json",
    "ListError",
    "Names",
    "Node",
    "Row",
    "Table",
    "read_columns",
    "read_json",
    "read_names",
    "read_table",
]

Value = TypeVar("Value", int, float)

DELIMITERS = {",": "a comma", " ": "a blank", "\t": "a tab", ";": "a semicolon"}
# ASCII digits, and not too many: int() also takes "1_7" and Arabic digits, float() also "nan", "inf" and "1_0".
INTEGER = re.compile(r"-?[0-9]{1,18}")
NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        file: where it stands.
        line: number of the line, from 1.
        fields: column -> what stands in it, without blanks around it; some may be empty.
    """

    file: str
    line: int
    fields: Mapping[str, str]

    def error(self, column: str, reason: str) -> ListError:
        """The error for a field of this row."""
        return ListError(self.file, self.line, column, reason)

    def text(self, column: str, *, pattern: str = "", right: str = "") -> str:
        """A field that must not be empty.

        Args:
            column: its name.
            pattern: regular expression that the whole of it must match; any text when empty.
            right: what would match, for errors.

        Raises:
            ListError: for an empty field or one that does not match.
        """
        found = self.fields[column]
        if not found:
            raise self.error(column, f"is empty{f'; expected {right}' if right else ''}")
        if pattern and not re.fullmatch(pattern, found):
            raise self.error(column, f"{found!r} is not {right or pattern}")
        return found

    def integer(self, column: str, *, low: int | None = 0, high: int | None = None) -> int:
        """A whole number in ASCII digits.

        Args:
            column: its name.
            low: least value; any when None.
            high: greatest value; any when None.

        Raises:
            ListError: for anything else.
        """
        found = self.text(column, pattern=INTEGER.pattern, right="a whole number in ASCII digits")
        return _within(self, column, int(found), low, high)

    def number(self, column: str, *, low: int | float | None = None, high: int | float | None = None) -> float:
        """A finite decimal number; arguments and errors as `integer`."""
        found = self.text(column, pattern=NUMBER.pattern, right="a finite number in ASCII digits")
        return _within(self, column, _finite(self, column, float(found)), low, high)

    def choice(self, column: str, choices: Sequence[str]) -> str:
        """One of a few words.

        Raises:
            ListError: for another one.
        """
        found = self.text(column, right=" or ".join(choices))
        if found not in choices:
            raise self.error(column, f"{found!r} is not among {', '.join(choices)}")
        return found

    def path(self, column: str, *, outside: bool = False) -> str:
        """A path below the data set's folder (see `check_path`)."""
        return check_path(self.file, self.line, column, self.text(column), outside=outside)


class Table(NamedTuple):
    """A table that was read.

    Attributes:
        rows: in order; never none.
        notes: what was odd about the file but accepted.
    """

    rows: list[Row]
    notes: tuple[str, ...]


def read_table(
    path: str | os.PathLike[str], *, columns: Sequence[str], delimiter: str = ",", unique: Sequence[str] = ()
) -> Table:
    """A table whose first line names its columns.

    Args:
        path: the file.
        columns: names that must be there, in any order; others may be and are noted.
        delimiter: comma, blank (runs of them count as one), tab or semicolon. Fields with delimiters stand in double
            quotes, and a quoted field ends on its line.
        unique: columns that together must not repeat.

    Raises:
        ListError: for another header, a row with more or fewer fields, a repetition, or a file that is no table.
        ValueError: for another delimiter.
    """
    text, (header, *body) = _split_all(path, delimiter, f"rows; expected the columns {', '.join(columns)}")
    names, first = header[1], header[0].number
    if lacking := [name for name in columns if name not in names]:
        found = ", ".join(names[:20])
        raise ListError(
            text.file,
            first,
            "header",
            f"has no column {', '.join(map(repr, lacking))}: it has {found}; expected {', '.join(columns)}, separated "
            f"by {DELIMITERS[delimiter]}",
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise ListError(text.file, first, "header", f"names the column {twice[0]!r} twice")
    further = [name for name in names if name not in columns]
    odd = [f"further columns {', '.join(further)}"] if further else []
    return _table(text, names, body, odd, unique)


def read_columns(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    delimiter: str = ",",
    unique: Sequence[str] = (),
) -> Table:
    """A table without a header.

    Args:
        path: the file.
        columns: what its columns are called here, in order.
        optional: further columns that a file has or has not, each row the same.
        delimiter: as in `read_table`.
        unique: columns that together must not repeat.

    Raises:
        ListError: for a row with more or fewer fields, a header, a repetition, or a file that is no table.
        ValueError: for another delimiter.
    """
    text, lines = _split_all(path, delimiter, f"rows; expected the columns {', '.join(columns)}, without a header")
    first, fields = lines[0]
    if fields[0].lower() in {columns[0].lower(), *HEADER_WORDS}:
        raise ListError(text.file, first.number, "line", f"{first.text.strip()!r} is a header row; remove it")
    names = (*columns, *optional)[: max(len(fields), len(columns))]
    return _table(text, names, lines, [], unique)


def _split_all(
    path: str | os.PathLike[str], delimiter: str, expected: str
) -> tuple[Text, list[tuple[Line, list[str]]]]:
    if delimiter not in DELIMITERS:
        raise ValueError(f"unknown delimiter {delimiter!r}; known: {', '.join(map(repr, DELIMITERS))}")
    text = read_text(path, expected=expected)
    return text, [(line, _fields(text.file, line, delimiter)) for line in text.lines]


def _fields(file: str, line: Line, delimiter: str) -> list[str]:
    """Fields of a line."""
    try:
        # A tab at an end of a line is an empty field, a blank is nothing.
        rows = csv.reader([line.text.strip(" ")], delimiter=delimiter, strict=True, skipinitialspace=True)
        return [field.strip() for field in next(rows)]
    except csv.Error as error:
        reason = "a quote is not closed on its line" if "unexpected end" in str(error) else str(error)
        raise ListError(file, line.number, "line", f"is quoted wrongly: {reason}") from error


def _table(
    text: Text, names: Sequence[str], lines: Sequence[tuple[Line, list[str]]], odd: list[str], unique: Sequence[str]
) -> Table:
    if not lines:
        raise ListError(text.file, 0, "file", "has a header and no rows")
    rows, seen, quoted = [], Seen(text.file), 0
    for line, fields in lines:
        if len(fields) != len(names):
            raise ListError(
                text.file,
                line.number,
                "line",
                f"has {counted(len(fields), 'field')}; expected {len(names)}: {', '.join(names)}",
            )
        row = Row(text.file, line.number, dict(zip(names, fields, strict=True)))
        if unique:
            rest = ", ".join(field for name, field in row.fields.items() if name not in unique)
            key = ", ".join(row.text(column) for column in unique)
            seen.add(line.number, " + ".join(unique), key, repr(rest), label_name="the fields")
        quoted += '"' in line.text
        rows.append(row)
    odd = [*odd, counted(quoted, "line", " with quotes")] if quoted else odd
    return Table(rows, text.notes + note(text.file, odd))


class Names(NamedTuple):
    """A file of one name a line.

    Attributes:
        lines: the names, without blanks around them, with their lines.
        notes: what was odd about the file but accepted.
    """

    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(line.text for line in self.lines)


def read_names(path: str | os.PathLike[str], *, unique: bool = True) -> Names:
    """One name a line, as lists of classes and of videos without labels are.

    Args:
        path: the file.
        unique: no name may come twice.

    Raises:
        ListError: for a repetition, or a file that is no such list.
    """
    text = read_text(path, expected="names, one a line")
    lines = tuple(Line(line.number, line.text.strip()) for line in text.lines)
    seen = Seen(text.file)
    for line in lines if unique else ():
        seen.add(line.number, "name", line.text, "")
    return Names(lines, text.notes)


@dataclass(frozen=True)
class Node:
    """A value of a JSON file, which knows where it stands.

    Attributes:
        file: the JSON file.
        where: JSON path of the value, `$` for the whole.
        value: as Python's json gives it.
    """

    file: str
    where: str
    value: Any

    def error(self, column: str, reason: str) -> ListError:
        """The error for a member of this value; for the value itself where `column` is empty."""
        return ListError(self.file, 0, _path(self.where, column) if column else self.where, reason)

    def member(self, name: str) -> "Node":
        """A member of an object.

        Raises:
            ListError: when this is no object, or has no such member.
        """
        found = self._object()
        if name not in found:
            raise self.error(name, f"is missing; there are {', '.join(map(repr, list(found)[:8])) or 'no members'}")
        return Node(self.file, _path(self.where, name), found[name])

    def has(self, name: str) -> bool:
        """Whether an object has a member."""
        return name in self._object()

    def members(self) -> Iterator[tuple[str, "Node"]]:
        """Names and values of an object, in the order of the file.

        Raises:
            ListError: when this is no object, or an empty one.
        """
        found = self._object()
        if not found:
            raise self.error("", "is empty")
        return ((name, Node(self.file, _path(self.where, name), value)) for name, value in found.items())

    def items(self) -> Iterator["Node"]:
        """Values of a list, in order.

        Raises:
            ListError: when this is no list, or an empty one.
        """
        if not isinstance(self.value, list):
            raise self.error("", f"is {_kind(self.value)}; expected a list")
        if not self.value:
            raise self.error("", "is empty")
        return (Node(self.file, f"{self.where}[{place}]", value) for place, value in enumerate(self.value))

    def text(self, *, pattern: str = "", right: str = "") -> str:
        """A text that is not empty; arguments as `Row.text`.

        Raises:
            ListError: for anything else.
        """
        if not isinstance(self.value, str):
            raise self.error("", f"is {_kind(self.value)}; expected {right or 'a text'}")
        return Row(self.file, 0, {self.where: self.value.strip()}).text(self.where, pattern=pattern, right=right)

    def integer(self, *, low: int | None = 0, high: int | None = None, quoted: bool = False) -> int:
        """A whole number.

        Args:
            low: least value; any when None.
            high: greatest value; any when None.
            quoted: it is a text of digits, as in the labels of Something-Something.

        Raises:
            ListError: for anything else.
        """
        if quoted:
            return Row(self.file, 0, {self.where: self.text()}).integer(self.where, low=low, high=high)
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.error("", f"is {_kind(self.value)}; expected a whole number")
        return _within(self, "", self.value, low, high)

    def number(self, *, low: int | float | None = None, high: int | float | None = None) -> float:
        """A finite number, whole or not; arguments and errors as `integer`."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool):
            raise self.error("", f"is {_kind(self.value)}; expected a number")
        return _within(self, "", float(self.value), low, high)

    def choice(self, choices: Sequence[str]) -> str:
        """One of a few words; see `Row.choice`."""
        return Row(self.file, 0, {self.where: self.text()}).choice(self.where, choices)

    def path(self, *, outside: bool = False) -> str:
        """A path below the data set's folder (see `check_path`)."""
        return check_path(self.file, 0, self.where, self.text(), outside=outside)

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.error("", f"is {_kind(self.value)}; expected an object")
        return self.value


class Json(NamedTuple):
    """A JSON file that was read.

    Attributes:
        root: its value.
        notes: what was odd about the file but accepted.
    """

    root: Node
    notes: tuple[str, ...]


class _Wrong(NamedTuple):
    """Stands in the place of what JSON does not have, until its path is known."""

    reason: str


def read_json(path: str | os.PathLike[str]) -> Json:
    """A JSON file, more strictly than Python reads it.

    Raises:
        ListError: for text that is no JSON, NaN or Infinity, numbers of many digits, a key that comes twice in an
            object, and lists nested a hundred thousand deep; with line or JSON path.
    """
    text = read_text(path, expected="JSON", json=True)
    wrong: list[_Wrong] = []

    def refuse(reason: str) -> _Wrong:
        wrong.append(_Wrong(reason))
        return wrong[-1]

    def whole(digits: str) -> int | _Wrong:
        return int(digits) if len(digits) < 19 else refuse(f"has {len(digits)} digits")

    def decimal(digits: str) -> float | _Wrong:
        return float(digits) if math.isfinite(float(digits)) else refuse(f"{digits} is not finite")

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            found[name] = refuse("this name comes twice in the object") if name in found else value
        return found

    try:
        value = json.loads(
            "\n".join(line.text for line in text.lines),
            object_pairs_hook=distinct,
            parse_constant=lambda name: refuse(f"{name} is not JSON; expected a finite number"),
            parse_int=whole,
            parse_float=decimal,
        )
    except json.JSONDecodeError as error:
        number = text.lines[min(error.lineno, len(text.lines)) - 1].number
        raise ListError(text.file, number, "line", f"is not JSON: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise ListError(text.file, 0, "file", "is not JSON of this kind: nested too deeply") from error
    if wrong:
        raise _first_wrong(text.file, value)
    return Json(Node(text.file, "$", value), text.notes)


def _first_wrong(file: str, value: Any) -> ListError:
    """The error for the first place of a value that JSON does not have."""
    waiting = [("$", value)]
    while waiting:
        where, found = waiting.pop()
        if isinstance(found, _Wrong):
            return ListError(file, 0, where, found.reason)
        if isinstance(found, dict):
            waiting += reversed([(_path(where, name), member) for name, member in found.items()])
        elif isinstance(found, list):
            waiting += reversed([(f"{where}[{place}]", member) for place, member in enumerate(found)])
    # What was wrong stood in a member that a second one of the same name took the place of.
    return ListError(file, 0, "$", "holds a name twice, or a number that is not finite")


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"{where}[{name!r}]"


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), f"the number {value}")


def _finite(place: Row | Node, column: str, value: float) -> float:
    if not math.isfinite(value):
        raise place.error(column, "is too large for a number")
    return value


def _within(place: Row | Node, column: str, value: Value, low: int | float | None, high: int | float | None) -> Value:
    if (low is not None and value < low) or (high is not None and value > high):
        limits = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
        raise place.error(column, f"{value} is out of range; expected {' and '.join(filter(None, limits))}")
    return value
