"""Small tables in every format."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest

from benchmarks.sheets import (
    NONE,
    WRITERS,
    Cell,
    Column,
    Sheet,
    check_format,
    comma_separated,
    latex,
    latex_text,
    markdown,
    page,
    plain_text,
)
from zoo.suggest import UnknownNameError

NASTY = 'a|b & 50 % <i> \\x $1 #_{}~^ "q", `*` −'
COLUMNS = (Column("row"), Column("kind", under=1), Column("frames", True, 2), Column("top-1, %", True))


def sheet(text: str = "plain") -> Sheet:
    made = Sheet(title=text, facts=[("source", text)], columns=COLUMNS, remarks=[text])
    marks = (made.mark(f"note on {text}"),)
    made.rows = [[Cell("one", marks), Cell(text), Cell("8"), Cell("76.9", (*marks, made.mark("second")))]]
    made.rows.append([Cell("two"), Cell(NONE), Cell(NONE), Cell("not available")])
    return made


class Nesting(HTMLParser):
    """Text by the tag around it; an end that fits no start is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: dict[str, list[str]] = {}

    def handle_starttag(self, tag, attrs):
        if tag != "meta":
            self.open.append(tag)
            self.found.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            self.found[tag][-1] += data


def parsed(text: str) -> dict[str, list[str]]:
    reader = Nesting()
    reader.feed(text)
    reader.close()
    assert not reader.open
    return reader.found


def check_valid(made: Sheet) -> None:
    """Every format of a sheet has all of its cells where they belong."""
    lines = list(csv.reader(io.StringIO(comma_separated(made))))
    assert {len(line) for line in lines} == {len(made.facts) + len(made.columns) + 1}
    assert [line[len(made.facts) : -1] for line in lines[1:]] == [[cell.text for cell in row] for row in made.rows]
    found = parsed(page(made))
    assert len(found["td"]) == len(made.columns) * len(made.rows)
    cells = [cell for row in made.rows for cell in row]
    assert all(cell.text in text for cell, text in zip(cells, found["td"], strict=True))
    rows = [re.split(r"(?<!\\)\|", line) for line in markdown(made).splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [len(made.columns) + 2] * (len(made.rows) + 2)
    body = latex(made)
    rows = body.partition("\\midrule\n")[2].partition("\\bottomrule")[0].splitlines()
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [len(made.columns) - 1] * len(made.rows)
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")


def test_signs_that_a_format_takes_for_commands_stay_text():
    check_valid(sheet(NASTY))
    assert parsed(page(sheet(NASTY)))["td"][1] == NASTY
    assert parsed(page(sheet(NASTY)))["h1"] == [NASTY]
    assert "a\\|b & 50 % &lt;i> \\\\x" in markdown(sheet(NASTY))
    assert latex_text(NASTY) == (
        'a|b \\& 50 \\% <i> \\textbackslash{}x \\$1 \\#\\_\\{\\}\\textasciitilde{}\\textasciicircum{} "q", `*` $-$'
    )


def test_a_footnote_is_written_once_and_marked_where_it_belongs():
    made = sheet()
    assert made.mark("second") == 2
    assert made.notes == ["note on plain", "second"]
    assert "| one¹ | plain | 8 | 76.9¹,² |" in markdown(made)
    assert '<sup><a href="#note1">1</a>,<a href="#note2">2</a></sup>' in page(made)
    assert "76.9\\textsuperscript{1,2}" in latex(made)
    assert "plain,one,plain,8,76.9,note on plain | second" in comma_separated(made)
    text = plain_text(made, 80)
    assert text.count("note on plain") == 1
    assert "76.9¹,²" in text


@pytest.mark.parametrize("text", ["plain", NASTY])
@pytest.mark.parametrize(("width", "under"), [(200, ()), (32, ("plain",)), (24, ("plain", "frames 8"))])
def test_a_narrow_terminal_loses_nothing(width, under, text):
    lines = plain_text(sheet(text), width).splitlines()
    place = next(index for index, line in enumerate(lines) if line.startswith("one¹"))
    assert "76.9¹,²" in lines[place]
    if text == "plain":
        assert lines[place + 1].strip() == " · ".join(under) or not under
        assert ("plain" in lines[place]) == (not under)
        # What is not known takes no line of its own.
        assert lines[place + 1 + bool(under)].startswith("two")
        assert not lines[place + 2 + bool(under)]


def test_a_column_of_nothing_takes_no_room_on_a_terminal():
    made = sheet()
    made.rows = [[row[0], Cell(NONE), *row[2:]] for row in made.rows]
    assert "kind" not in plain_text(made, 200)
    assert "kind" in markdown(made)


def test_a_table_wider_than_the_terminal_keeps_its_numbers():
    columns = [Column("row"), *(Column(f"c{index}", True) for index in range(9))]
    made = Sheet(title="t", columns=columns, rows=[[Cell("r"), *(Cell(f"12345.{index}") for index in range(9))]])
    text = plain_text(made, 30)
    assert all(f"12345.{index}" in text for index in range(9))


def test_a_misspelt_format_gets_the_closest():
    with pytest.raises(UnknownNameError, match=r"'latx'.*'latex'"):
        check_format("latx")
    assert set(WRITERS) == {"md", "csv", "html", "latex"}


def test_programs_can_read_the_numbers_of_a_csv():
    made = Sheet(title="t", columns=[Column("what"), Column("difference", right=True)])
    made.rows.append([Cell("a − b"), Cell("−1.90")])
    assert comma_separated(made).splitlines()[1] == "a − b,-1.90,"
