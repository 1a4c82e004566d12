"""Rows of all papers on one suite side by side; those that were measured otherwise than most are marked, not hidden."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.paper_rows import card_of, licence, num_views, parameters, total_gflops
from benchmarks.paper_tables import METRICS, NOT_AVAILABLE, Paper, Row, Table
from benchmarks.paper_text import OURS, VERDICT, Ours, as_printed, ours_cells
from benchmarks.session import RequestError
from benchmarks.sheets import NONE, Cell, Column, Sheet
from zoo.card import Card
from zoo.suggest import unknown

AS_IS, NOT_SAID = "as_is", "not said"
SORTS = ("reported", "params", "gflops")
COUNTED = "counted by the zoo in the backbone, not printed"


@dataclass(frozen=True)
class Line:
    """A row of a paper.

    Attributes:
        paper: the paper.
        table: its table.
        row: the row.
    """

    paper: Paper
    table: Table
    row: Row

    @property
    def name(self) -> str:
        """As `zoo reproduce` knows it."""
        return f"{self.paper.name}:{self.table.name}:{self.row.name}"

    @property
    def metric(self) -> str:
        """What its number is."""
        return self.table.headline(self.row)

    @property
    def training(self) -> str:
        """See `training_of`; with the share of the videos, where a head sees only that."""
        how, share = training_of(self.table.protocol, card_of(self.row)), self.table.share
        return f"{how} {100 * share:g} %" if share else how

    @property
    def protocol(self) -> dict[str, str]:
        """What must be equal for two numbers to be compared."""
        return {
            "training": self.training,
            "metric": METRICS[self.metric].heading,
            "list": self.table.split or "test list",
            "views": self.table.views_of(self.row) or NOT_SAID,
        }


def training_of(protocol: str, card: Card | None) -> str:
    """How a scored head was trained: a protocol; released weights are scored as they are, so their card says it."""
    if protocol != AS_IS:
        return protocol
    if card is None or card.classifier is None or card.classifier.kind != "attentive":
        return "finetune"
    return "attentive4" if card.classifier.depth > 1 else "attentive"


def lines_of(found: Sequence[Paper], suite: str, frames: int | None = None, task: str = "") -> list[Line]:
    """Rows of all papers on a suite.

    Args:
        found: papers.
        suite: name of the suite.
        frames: of a clip; None for any, also where it is not said.
        task: of the suite; "" for any.

    Raises:
        UnknownNameError: for a suite or task that no table is about.
        RequestError: when no row has clips of so many frames.
    """
    lines = [Line(paper, table, row) for paper in found for table in paper.tables.values() for row in table.rows]
    _among("suite of the papers' tables", suite, {it.table.suite for it in lines} - {""})
    lines = [it for it in lines if it.table.suite == suite]
    tasks = {it.table.task_of(it.row) for it in lines} - {""}
    if task:
        _among(f"task of {suite} in the papers' tables", task, tasks)
        lines = [it for it in lines if it.table.task_of(it.row) == task]
    there = sorted({it.row.frames for it in lines} - {0})
    if frames is not None and frames not in there:
        raise RequestError(f"no row on {suite} has clips of {frames} frames; there are {', '.join(map(str, there))}")
    return [it for it in lines if frames in (None, it.row.frames)]


def _among(what: str, name: str, valid: set[str]) -> None:
    if name not in valid:
        raise unknown(what, name, sorted(valid))


def in_order(lines: Sequence[Line], by: str) -> list[Line]:
    """Sorted: the best number first, or the smallest system; rows without the number last.

    Raises:
        UnknownNameError: for another order than those of SORTS.
    """
    if by not in SORTS:
        raise unknown("order", by, SORTS)

    often = Counter(line.metric for line in lines)

    def key(line: Line) -> tuple[bool, int, str, float]:
        if by == "reported":
            number, best = line.row.values.get(line.metric), METRICS[line.metric].higher_is_better
            value = None if number is None else -number if best else number
            return value is None, -often[line.metric], line.metric, value or 0.0
        value = (parameters if by == "params" else total_gflops)(line.row, line.table)[0]
        return value is None, 0, "", value or 0.0

    return sorted(lines, key=key)


def side_by_side(lines: Sequence[Line], *, title: str, ours: Ours | None = None) -> Sheet:
    """Rows of papers in one table.

    Args:
        lines: in their order.
        title: of the sheet.
        ours: what we measured for a row; None to show the printed numbers alone.
    """
    tasks = any(line.table.task_of(line.row) for line in lines)
    metrics = dict.fromkeys(line.metric for line in lines)
    sheet = Sheet(
        title=title,
        columns=[
            Column("row"),
            Column("system", under=1),
            Column("pretraining", under=1),
            Column("licence", under=1),
            *([Column("task")] if tasks else []),
            Column("frames", True, 2),
            Column("px", True, 2),
            Column("views", True, 2),
            Column("params, M", True),
            Column("total GFLOPs", True),
            *(Column(METRICS[metric].title, True) for metric in metrics),
            *((*OURS, VERDICT) if ours is not None else ()),
        ],
    )
    usual = commonest(lines)
    for line, others in once(lines):
        sheet.rows.append(_cells(sheet, line, usual, tasks=tasks))
        sheet.rows[-1] += [_reported(sheet, line, metric, others) for metric in metrics]
        if ours is not None:
            sheet.rows[-1] += ours_cells(sheet, line.table, line.row, ours(line.row, line.table))
    words = ", ".join(f"{name} {value}" for name, value in usual.items())
    sheet.remarks = (
        f"Not marked with ≠: {words}, as most rows. Total GFLOPs are those of a view times its views; licences are "
        f"those of the weights, or of the code where none is stated.",
    )
    return sheet


def once(lines: Sequence[Line]) -> list[tuple[Line, list[str]]]:
    """Each line, with the names of others in which the same paper prints the same number again."""
    found: dict[tuple[object, ...], tuple[Line, list[str]]] = {}
    for line in lines:
        row, number = line.row, line.row.values.get(line.metric)
        what = (line.paper.name, row.system, row.card, row.pretraining, row.frames, row.resolution)
        told = (line.table.task_of(row), number, *line.protocol.values())
        key = (*what, *told) if number is not None else (line.name,)
        if key in found:
            found[key][1].append(line.name)
        else:
            found[key] = (line, [])
    return list(found.values())


def commonest(lines: Sequence[Line]) -> dict[str, str]:
    """The protocol that most rows share, of those that say all of it; of equally common ones the first."""
    told = [it.protocol for it in lines if NOT_SAID not in it.protocol.values()] or [it.protocol for it in lines]
    counted = Counter(tuple(it.items()) for it in told)
    return dict(counted.most_common(1)[0][0]) if counted else {}


def _cells(sheet: Sheet, line: Line, usual: dict[str, str], *, tasks: bool) -> list[Cell]:
    row, table = line.row, line.table
    other = {name: value for name, value in line.protocol.items() if usual[name] != value}
    marks = [sheet.mark(f"≠ {', '.join(f'{name} {value}' for name, value in other.items())}")] if other else []
    if any(it.metric in (line.metric, "views") for it in table.conflicts_of(row)):
        marks.append(sheet.mark(f"sources disagree: see `zoo table {line.paper.name}:{table.name}`"))
    (number, printed), (total, told) = parameters(row, table), total_gflops(row, table)
    return [
        Cell(f"≠ {line.name}" if other else line.name, tuple(marks)),
        Cell(row.system),
        Cell(row.pretraining),
        Cell(licence(row).partition(" (")[0] or NONE),
        *([Cell(table.task_of(row))] if tasks else []),
        Cell(str(row.frames or NONE)),
        Cell(str(row.resolution or NONE)),
        Cell(f"{table.views_of(row) or NONE}{'' if (views := num_views(row, table)) is None else f' = {views}'}"),
        Cell(NONE if number is None else f"{number:.4g}", _counted(sheet, number, printed)),
        Cell(NOT_AVAILABLE if total is None else f"{total:g}", _counted(sheet, total, told)),
    ]


def _counted(sheet: Sheet, number: float | None, printed: bool) -> tuple[int, ...]:
    return () if number is None or printed else (sheet.mark(COUNTED),)


def _reported(sheet: Sheet, line: Line, metric: str, others: Sequence[str]) -> Cell:
    if metric != line.metric:
        return Cell("")
    text = as_printed(line.row.values.get(metric), metric, (it.values.get(metric) for it in line.table.rows))
    return Cell(text, (sheet.mark(f"printed in {', '.join(others)} too"),) if others else ())
