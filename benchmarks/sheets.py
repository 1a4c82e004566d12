"""A small table with footnotes, written for a terminal, as Markdown, CSV, HTML or LaTeX (booktabs)."""

import csv
import html
import io
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from zoo.suggest import unknown

GAP, HEADING = 2, 10  # columns of the terminal between two cells, and of a folded heading
INDENT = "    "
NONE = "–"
EMPTY = ("", NONE)
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "×": r"$\times$",
    "≠": r"$\neq$",
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
}
_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2em; line-height: 1.4 }}
table {{ border-collapse: collapse }}
th, td {{ padding: .25em .6em; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }}
.number {{ text-align: right; font-variant-numeric: tabular-nums }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


class Column(NamedTuple):
    """A column.

    Attributes:
        heading: its name.
        right: it holds numbers.
        under: where a terminal is narrow, it stands in small print under the row: 1 for those that go there
            first, 2 for those that follow with their heading, 0 for never.
    """

    heading: str
    right: bool = False
    under: int = 0


class Cell(NamedTuple):
    """What stands in a cell, and the numbers of its footnotes, from 1."""

    text: str
    marks: tuple[int, ...] = ()


@dataclass(kw_only=True)
class Sheet:
    """A table.

    Attributes:
        title: in a few words.
        facts: what holds for all rows, by name; CSV has it in columns.
        columns: of every row.
        rows: cells of each row, as many as columns.
        notes: footnotes, which marks number from 1.
        remarks: paragraphs below.
    """

    title: str
    facts: Sequence[tuple[str, str]] = ()
    columns: Sequence[Column]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: Sequence[str] = ()

    def mark(self, text: str) -> int:
        """Number of a footnote, which is written once however many cells have it."""
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text) + 1


def plain_text(sheet: Sheet, width: int) -> str:
    """For a terminal of so many columns."""
    text = io.StringIO()
    show(sheet, Console(width=width, file=text, highlight=False))
    return text.getvalue()


def show(sheet: Sheet, console: Console) -> None:
    """Print on a terminal: one line per row where that fits, else with small print under each row."""
    console.print(Text(sheet.title, style="bold"))
    for name, value in sheet.facts:
        console.print(Text(f"{name}: {value}"))
    console.print()
    for text, style in _drawn(sheet, console.width):
        # What fits nowhere is left to the terminal to fold: a narrower table would lose numbers.
        console.print(Text(text, style=style), soft_wrap=True)
    console.print()
    for number, note in enumerate(sheet.notes, 1):
        console.print(Text(f"{_raised((number,))} {note}"))
    for remark in sheet.remarks:
        console.print(Text(remark))


def _drawn(sheet: Sheet, width: int) -> Iterator[tuple[str, str]]:
    """Lines of the table and their styles."""
    # A column of nothing would only take room.
    told = [index for index in range(len(sheet.columns)) if any(row[index].text not in EMPTY for row in sheet.rows)]
    every = [[index for index in told if not 0 < sheet.columns[index].under <= level] for level in (0, 1, 2)]
    level = next((it for it, shown in enumerate(every) if sum(_widths(sheet, shown)) <= width), 2)
    shown, widths = every[level], _widths(sheet, every[level])
    headings = [_heading(sheet.columns[index]) for index in shown]
    high = max(map(len, headings))
    for line in range(high):
        yield _line(sheet, shown, widths, [([""] * (high - len(it)) + it)[line] for it in headings]), "bold"
    yield "─" * (sum(widths) - GAP), ""
    for row in sheet.rows:
        yield _line(sheet, shown, widths, [_marked(row[index]) for index in shown]), ""
        for text in textwrap.wrap(_under(sheet, row, level), width - len(INDENT), break_on_hyphens=False):
            yield INDENT + text, "dim"


def _widths(sheet: Sheet, shown: Sequence[int]) -> list[int]:
    texts = [[*_heading(sheet.columns[index]), *(_marked(row[index]) for row in sheet.rows)] for index in shown]
    return [max(map(len, column)) + GAP for column in texts]


def _line(sheet: Sheet, shown: Sequence[int], widths: Sequence[int], texts: Sequence[str]) -> str:
    cells = [
        f"{text:>{width - GAP}}" if sheet.columns[index].right else f"{text:<{width - GAP}}"
        for index, width, text in zip(shown, widths, texts, strict=True)
    ]
    return (" " * GAP).join(cells).rstrip()


def _heading(column: Column) -> list[str]:
    """The lines of a heading; those of numbers are folded, for numbers are short."""
    return textwrap.wrap(column.heading, HEADING, break_long_words=False) if column.right else [column.heading]


def _under(sheet: Sheet, row: Sequence[Cell], level: int) -> str:
    """What stands under a row."""
    found = [(column, _marked(cell)) for column, cell in zip(sheet.columns, row, strict=True) if cell.text not in EMPTY]
    first = [text for column, text in found if column.under == 1 <= level]
    return " · ".join([*first, *(f"{it.heading} {text}" for it, text in found if it.under == 2 <= level)])


def _raised(marks: Sequence[int]) -> str:
    return ",".join(str(mark).translate(_RAISED) for mark in marks)


def _marked(cell: Cell) -> str:
    return cell.text + _raised(cell.marks)


def markdown(sheet: Sheet) -> str:
    """A table of GitHub's Markdown with a heading."""
    lines = [f"## {_md(sheet.title)}", "", *(f"- {name}: {_md(value)}" for name, value in sheet.facts), ""]
    lines.append("| " + " | ".join(_md(column.heading) for column in sheet.columns) + " |")
    lines.append("|" + "|".join("--:" if column.right else "---" for column in sheet.columns) + "|")
    lines += ["| " + " | ".join(_md(_marked(cell)) for cell in row) + " |" for row in sheet.rows]
    for number, note in enumerate(sheet.notes, 1):
        lines += ["", f"{_raised((number,))} {_md(note)}"]
    for remark in sheet.remarks:
        lines += ["", _md(remark)]
    return "\n".join([*lines, ""])


def _md(text: str) -> str:
    for sign in "\\|*`<":
        text = text.replace(sign, "&lt;" if sign == "<" else f"\\{sign}")
    return text.replace("\n", " ")


def comma_separated(sheet: Sheet) -> str:
    """One line per row with what holds for all of them, and the words of its footnotes at the end."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(name for name, _ in sheet.facts), *(column.heading for column in sheet.columns), "notes"])
    for row in sheet.rows:
        marks = dict.fromkeys(mark for cell in row for mark in cell.marks)
        notes = " | ".join(sheet.notes[mark - 1] for mark in marks)
        # A program that reads numbers knows no typographic minus.
        cells = (
            cell.text.replace("−", "-") if column.right else cell.text
            for column, cell in zip(sheet.columns, row, strict=True)
        )
        writer.writerow([*(value for _, value in sheet.facts), *cells, notes])
    return text.getvalue()


def page(sheet: Sheet) -> str:
    """A page of HTML without anything from elsewhere."""
    out = ["<ul>", *(f"<li>{_html(name)}: {_html(value)}</li>" for name, value in sheet.facts), "</ul>"]
    out = [] if not sheet.facts else out
    out += ["<table>", "<thead>", "<tr>"]
    out += [f"<th{_number(column)}>{_html(column.heading)}</th>" for column in sheet.columns]
    out += ["</tr>", "</thead>", "<tbody>"]
    for row in sheet.rows:
        cells = zip(sheet.columns, row, strict=True)
        out.append("<tr>" + "".join(f"<td{_number(it)}>{_html_cell(cell)}</td>" for it, cell in cells) + "</tr>")
    out += ["</tbody>", "</table>"]
    if sheet.notes:
        notes = enumerate(sheet.notes, 1)
        out += ["<ol>", *(f'<li id="note{number}">{_html(note)}</li>' for number, note in notes), "</ol>"]
    out += [f"<p>{_html(remark)}</p>" for remark in sheet.remarks]
    return _PAGE.format(title=_html(sheet.title), body="\n".join(out))


def _html(text: str) -> str:
    return html.escape(text)


def _number(column: Column) -> str:
    return ' class="number"' if column.right else ""


def _html_cell(cell: Cell) -> str:
    links = ",".join(f'<a href="#note{mark}">{mark}</a>' for mark in cell.marks)
    return _html(cell.text) + (f"<sup>{links}</sup>" if links else "")


def latex(sheet: Sheet) -> str:
    """A booktabs table with its notes below."""
    lines = ["% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\footnotesize"]
    facts = "; ".join(f"{name}: {value}" for name, value in sheet.facts)
    lines.append(f"\\caption{{{latex_text('. '.join(it for it in (sheet.title, facts) if it))}.}}")
    lines.append(f"\\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in sheet.columns)}}}")
    lines += ["\\toprule", " & ".join(latex_text(column.heading) for column in sheet.columns) + r" \\", "\\midrule"]
    lines += [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in sheet.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    for number, note in enumerate(sheet.notes, 1):
        lines += ["", f"\\textsuperscript{{{number}}} {latex_text(note)}"]
    for remark in sheet.remarks:
        lines += ["", latex_text(remark)]
    return "\n".join([*lines, "\\end{table}", ""])


def latex_text(text: str) -> str:
    """Text with the signs that LaTeX takes for commands written out."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _latex_cell(cell: Cell) -> str:
    marks = ",".join(map(str, cell.marks))
    return latex_text(cell.text) + (f"\\textsuperscript{{{marks}}}" if marks else "")


WRITERS: dict[str, Callable[[Sheet], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "html": page,
    "latex": latex,
}
FORMATS = ("text", *WRITERS)


def check_format(name: str) -> None:
    """Refuse a format that there is not.

    Raises:
        UnknownNameError: naming the closest ones.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
