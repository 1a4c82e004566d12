"""Papers' tables as sheets: which there are, and one of them with everything that is known of its cells."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from benchmarks.paper_rows import why_not
from benchmarks.paper_tables import EFFICIENCY, METRICS, NOT_AVAILABLE, Conflict, Paper, Row, Table
from benchmarks.sheets import NONE, Cell, Column, Sheet

if TYPE_CHECKING:
    from benchmarks.measured import Measured

Ours = Callable[[Row, Table], "Measured | None"]
OURS = (Column("ours", True), Column("95 % interval", True, 2), Column("difference", True), Column("scored", True, 2))
VERDICT = Column("verdict")


def listing(found: Sequence[Paper]) -> Sheet:
    """Every table of these papers with the number of its rows, and how many of them can be run."""
    sheet = Sheet(
        title="Tables of papers" if len(found) > 1 else f"{found[0].title} ({found[0].reference}; {found[0].code})",
        columns=(Column("table"), Column("shows", under=1), Column("rows", True), Column("can be run", True)),
    )
    for paper in found:
        for table in paper.tables.values():
            runnable = sum(not why_not(row, table) for row in table.rows)
            marks = (sheet.mark(f"reported only: {table.reported_only}"),) if table.reported_only else ()
            cells = (f"{paper.name}:{table.name}", table.title, str(len(table.rows)))
            sheet.rows.append([*map(Cell, cells), Cell(str(runnable), marks)])
    sheet.remarks = ("Show one with `zoo table PAPER:TABLE`, measure it with `zoo reproduce PAPER:TABLE --data ROOT`.",)
    return sheet


def sheet_of(paper: Paper, table: Table, ours: Ours | None = None) -> Sheet:
    """A table with its cards, sources and conflicts.

    Args:
        paper: the paper.
        table: one of its tables.
        ours: what we measured for a row; None to show the printed numbers alone.
    """
    sheet = Sheet(
        title=f"{paper.name}:{table.name}, {table.title}",
        facts=_facts(paper, table),
        columns=_columns(table, with_ours=ours is not None),
        remarks=[note for note in (table.note, paper.note) if note],
    )
    for row in table.rows:
        name = Cell(row.name, tuple(sheet.mark(note) for note in _row_notes(paper, table, row)))
        known = [row.system, row.pretraining, row.card or NONE]
        clip = [str(row.frames or NONE), str(row.resolution or NONE), table.views_of(row) or NONE]
        task = [table.task_of(row)] if _has_tasks(table) else []
        numbers = [_number(sheet, paper, table, row, metric) for metric in _metrics(table, ours is not None)]
        told = [] if ours is None else ours_cells(sheet, table, row, ours(row, table))
        sheet.rows.append([name, *map(Cell, (*known, *task, *clip)), *numbers, *told])
    for conflict in table.conflicts:
        sheet.mark(f"all rows: {_conflict_words(paper, conflict)}")
    return sheet


def _facts(paper: Paper, table: Table) -> list[tuple[str, str]]:
    source = paper.sources[table.source]
    facts = [("paper", f"{paper.name}, {paper.reference}"), ("suite", table.suite), ("protocol", table.protocol)]
    facts += [("source", f"{source.where} ({source.kind})"), ("reported only", table.reported_only)]
    return [(name, value) for name, value in facts if value]


def _columns(table: Table, *, with_ours: bool) -> list[Column]:
    return [
        Column("row"),
        Column("system", under=1),
        Column("pretraining", under=1),
        Column("card", under=1),
        *([Column("task")] if _has_tasks(table) else []),
        Column("frames", True, 2),
        Column("px", True, 2),
        Column("views", True, 2),
        *(Column(METRICS[metric].title, True) for metric in _metrics(table, with_ours)),
        *((*OURS, VERDICT) if with_ours else ()),
    ]


def _has_tasks(table: Table) -> bool:
    return any(row.task for row in table.rows)


def _metrics(table: Table, with_ours: bool) -> list[str]:
    """Beside our numbers only those stand that they are measured against."""
    return list(dict.fromkeys(table.headline(row) for row in table.rows)) if with_ours else table.metrics


def as_printed(value: float | None, metric: str, column: Iterable[float | None]) -> str:
    """A number with the decimals of its column, for papers print 62.50 above 57.14; facts of a system as they are."""
    if value is None:
        return NOT_AVAILABLE
    if METRICS[metric].higher_is_better is None:
        return f"{value:g}"
    digits = max((len(f"{it:.10g}".partition(".")[2]) for it in column if it is not None), default=0)
    return f"{value:.{digits}f}"


def _number(sheet: Sheet, paper: Paper, table: Table, row: Row, metric: str) -> Cell:
    if metric not in row.values:
        return Cell("")
    notes = [_conflict_words(paper, it) for it in row.conflicts if it.metric == metric]
    if (name := table.source_of(row, metric)) != table.source:
        notes.insert(0, f"source: {paper.sources[name].where} ({paper.sources[name].kind})")
    text = as_printed(row.values[metric], metric, (it.values.get(metric) for it in table.rows))
    return Cell(text, tuple(sheet.mark(note) for note in notes))


def _row_notes(paper: Paper, table: Table, row: Row) -> list[str]:
    """What is to be told of a row as a whole."""
    notes = [_conflict_words(paper, it) for it in row.conflicts if it.metric not in METRICS]
    reason = "" if table.reported_only else why_not(row, table)
    return [*([f"reported only: {reason}"] if reason else []), *notes, *([row.note] if row.note else [])]


def _conflict_words(paper: Paper, conflict: Conflict) -> str:
    source = paper.sources[conflict.source]
    note = f"; {conflict.note}" if conflict.note else ""
    return f"sources disagree, {conflict.subject}: {conflict.value} in {source.where} ({source.kind}){note}"


def ours_cells(sheet: Sheet, table: Table, row: Row, told: "Measured | None") -> list[Cell]:
    """The columns OURS and VERDICT of a row."""
    if told is None:
        why = "" if why_not(row, table) or table.protocol == EFFICIENCY else "not measured"
        return [*told_cells(None), Cell(why or NONE)]
    return [*told_cells(told), Cell(told.verdict, (sheet.mark(told.why),) if told.why else ())]


def told_cells(told: "Measured | None") -> list[Cell]:
    """The columns OURS of a number."""
    if told is None:
        return [Cell("")] * len(OURS)
    value, difference = told.value, told.difference
    return [
        Cell(f"{value.value:.2f}" if value else ""),
        Cell(f"{value.low:.2f} to {value.high:.2f}" if value else ""),
        Cell(f"{difference:+.2f}".replace("-", "−") if difference is not None else ""),
        Cell(f"{told.n_scored}/{told.n_expected}"),
    ]
