"""The cross table: accuracies of every backbone under every objective, side by side."""

from typing import NamedTuple

from backbones.meta import meta_device
from benchmarks.formats import percent
from benchmarks.results import RANDOM, Interval
from benchmarks.table import Cell, Row, Table, Task
from zoo.objectives.matrix import OBJECTIVES, TITLES, statement
from zoo.registry import create_backbone

NOTE = (
    "Accuracy in percent, with the lowest and highest seed; all seeds share one teacher. Bold: the best start of a "
    "backbone. ▲ and ▼: more or less accurate than random weights, p < 0.05 after Holm's correction. "
    "Self-distillation has seen the labels of all tasks, UMT's teacher those of the first. V-JEPA rows evaluate the "
    "student, the authors the target. A dash: the backbone cannot be trained under the objective, or was not."
)


class Entry(NamedTuple):
    """A backbone under an objective on one task.

    Attributes:
        accuracy: None where it was not run or is incomplete.
        gain: p-value below 0.05 against the random-weights twin: +1 for more accurate, -1 for less, else 0.
        seeds: lowest and highest accuracy of a seed; None with fewer than two.
        note: why there is no accuracy.
    """

    accuracy: Interval | None
    gain: int = 0
    seeds: tuple[float, float] | None = None
    note: str = ""


def columns(table: Table) -> list[str]:
    """Starts that stand in the table: random weights first, then the objectives."""
    found = {row.init for row in table.cells if not row.control}
    return [init for init in (RANDOM, *OBJECTIVES) if init in found]


def is_worthwhile(table: Table) -> bool:
    """Whether a backbone was trained under several objectives, so that there is something to cross."""
    return any(len([row for row in table.cells if row.system == name and row.pretrained]) > 1 for name in table.systems)


def cross(table: Table, task: Task) -> dict[str, dict[str, Entry]]:
    """Backbone -> start -> entry."""
    return {
        system: {init: _entry(table, task, Row(system, init, False)) for init in columns(table)}
        for system in table.systems
    }


def _entry(table: Table, task: Task, row: Row) -> Entry:
    cell: Cell | None = table.cells.get(row, {}).get(task.name)
    if cell is None:
        return Entry(None, note=_why_not(row))
    gain = table.gains.get(row, {}).get(task.name)
    shown = gain is not None and gain.p_value < 0.05
    sign = 0 if gain is None or not shown else 1 if gain.difference.value > 0 else -1
    values = list(cell.per_seed.values())
    return Entry(cell.accuracy, sign, (min(values), max(values)) if len(values) > 1 else None)


def _why_not(row: Row) -> str:
    """The reason of the table of backbones and objectives, where there is one; else that it was not run."""
    if row.init == RANDOM:
        return "not run"
    with meta_device():
        words = statement(create_backbone(row.system), row.init)
    return words.removeprefix("no: ") if words.startswith("no: ") else "not run"


def markdown(table: Table) -> str:
    """The cross tables of all tasks in markdown; bold is the best start of a backbone."""
    lines = []
    for task in table.tasks:
        starts = columns(table)
        lines += [
            f"### {task.name} (chance {percent(task.chance, 0)} %)",
            "",
            "| Backbone | " + " | ".join(TITLES.get(init, init) for init in starts) + " |",
            "|---|" + "--:|" * len(starts),
        ]
        for system, entries in cross(table, task).items():
            best = max((it.accuracy.value for it in entries.values() if it.accuracy), default=0.0)
            lines.append(f"| {system} | " + " | ".join(_words(it, best) for it in entries.values()) + " |")
        lines.append("")
    return "\n".join([*lines, NOTE, ""])


def _words(entry: Entry, best: float) -> str:
    if entry.accuracy is None:
        return "–"
    value = percent(entry.accuracy.value)
    text = f"**{value}**" if entry.accuracy.value == best else value
    spread = f" ({percent(entry.seeds[0], 0)}–{percent(entry.seeds[1], 0)})" if entry.seeds else ""
    return text + {1: " ▲", 0: "", -1: " ▼"}[entry.gain] + spread
