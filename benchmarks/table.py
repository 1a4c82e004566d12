"""Results to a table: accuracies of every system on every task, paired tests, and what the controls say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from benchmarks.metrics import Comparison, compare, confusion, corrected, estimate, headline, hits_of
from benchmarks.results import RANDOM, WEIGHTS, Interval, Result
from benchmarks.suite import Task
from zoo.objectives.matrix import TITLES

Hits = Bool[np.ndarray, "seeds videos"]


@runtime_checkable
class Arrays(Protocol):
    """Where the arrays of results lie, such as a `Store`."""

    def arrays(self, result: Result, name: str) -> dict[str, np.ndarray]:
        """Arrays stored beside a result."""


class Row(NamedTuple):
    """Identity of a table row.

    Attributes:
        system: name of a card, or of a control.
        init: "random", or the objective of its pretraining.
        control: True for rows that guard the suite instead of taking part.
    """

    system: str
    init: str
    control: bool

    @property
    def pretrained(self) -> bool:
        """Whether its weights come from a pretraining."""
        return self.init != RANDOM

    @property
    def name(self) -> str:
        """As `zoo compare` takes it: the system, and the objective where it is pretrained."""
        return f"{self.system}:{self.init}" if self.pretrained and not self.control else self.system

    @property
    def label(self) -> str:
        """How the row is called in tables without a column for the start."""
        return self.system if self.control else f"{self.system}, {start_words(self.init)}"


def start_words(init: str) -> str:
    """What the weights of a row start from, in words."""
    if init.startswith(WEIGHTS):
        return f"weights {init.removeprefix(WEIGHTS)}"
    return "random weights" if init == RANDOM else f"{TITLES.get(init, init)} pretraining"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One row on one task.

    Attributes:
        accuracy: the task's metric, averaged over seeds, with its 95 % interval; None as long as more test videos have
            no prediction than the run was told to tolerate.
        per_seed: seed -> the task's metric.
        rows: rows of the scored videos in the test list.
        scenes: which scene each shows.
        labels: their true classes.
        probabilities: of every class, `[seeds, videos, classes]`.
        hits: answers that the task's metric counts as right, `[seeds, videos]`.
        failed: videos without prediction, as "path: reason".
        results: the files behind the cell, one per seed.
    """

    accuracy: Interval | None
    per_seed: dict[int, float]
    rows: np.ndarray
    scenes: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    hits: np.ndarray
    failed: list[str]
    results: list[Result]

    @property
    def predicted(self) -> np.ndarray:
        """Most probable classes `[seeds, videos]`."""
        return self.probabilities.argmax(2)

    def confusion(self, num_classes: int) -> np.ndarray:
        """Answers of all seeds, rows true class, columns predicted class."""
        return confusion(self.predicted.ravel(), np.tile(self.labels, len(self.predicted)), num_classes)


class Leak(NamedTuple):
    """A control that does better than a system without any sense of order can."""

    row: Row
    task: str
    accuracy: Interval
    ceiling: float


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything that the renderers print.

    Attributes:
        suite: name of the suite.
        tasks: in order.
        cells: row -> task -> cell; rows in order.
        pairs: task -> pair of rows -> comparison of systems of the same start, corrected by Holm over the task's pairs.
        gains: row -> task -> comparison of the pretrained system with its random-weights twin, corrected by Holm over
            all of these comparisons.
        costs: system -> cost result.
        pretraining: row -> pretraining results, one per seed.
        teachers: results of the networks that taught others.
        tokenizers: results of the tokenizers whose codes were predicted.
        clip_frames: system -> frames of its clips.
        seeds: of the evaluations.
        incomplete: cells with more test videos that could not be scored than tolerated, which show no accuracy.
    """

    suite: str
    tasks: tuple[Task, ...]
    cells: dict[Row, dict[str, Cell]]
    pairs: dict[str, dict[tuple[Row, Row], Comparison]]
    gains: dict[Row, dict[str, Comparison]]
    costs: dict[str, Result]
    pretraining: dict[Row, list[Result]]
    teachers: list[Result]
    tokenizers: list[Result]
    clip_frames: dict[str, int]
    seeds: tuple[int, ...]
    incomplete: tuple[tuple[Row, str], ...]

    @property
    def systems(self) -> list[str]:
        """Names of the systems, without the controls."""
        return list(dict.fromkeys(row.system for row in self.cells if not row.control))

    @property
    def leaks(self) -> list[Leak]:
        """Controls whose whole interval lies above what the suite allows them."""
        return [guard for guard in self.guards if guard.accuracy.low > guard.ceiling]

    @property
    def guards(self) -> list[Leak]:
        """Every control on every task that it guards, leaking or not."""
        return [
            Leak(row, task.name, cell.accuracy, task.leak_bounds[row.system])
            for row, cells in self.cells.items()
            for task in self.tasks
            if row.control
            and row.system in task.leak_bounds
            and (cell := cells.get(task.name)) is not None
            and cell.accuracy is not None
        ]

    def task(self, name: str) -> Task:
        """The task of a name."""
        return next(task for task in self.tasks if task.name == name)


def tabulate(results: Sequence[Result], store: Arrays, *, suite: str, tasks: Sequence[Task]) -> Table:
    """Put results side by side.

    Args:
        results: of one plan, so that one protocol and one split stand behind each column.
        store: where their predictions lie.
        suite: name of the suite.
        tasks: columns, in order.

    Raises:
        ValueError: when one cell or column mixes protocols, settings or splits.
    """
    scored = [result for result in results if result.identity.kind in ("evaluate", "control")]
    _require_one_protocol(scored)
    cells: dict[Row, dict[str, Cell]] = {}
    for row in sorted({_row(result) for result in scored}, key=lambda row: _first_place(row, scored)):
        mine = [result for result in scored if _row(result) == row]
        by_task = {task.name: [one for one in mine if one.identity.task == task.name] for task in tasks}
        cells[row] = {task.name: _cell(by_task[task.name], store, task) for task in tasks if by_task[task.name]}
    return Table(
        suite=suite,
        tasks=tuple(tasks),
        cells=cells,
        pairs={task.name: _pairs(cells, task.name) for task in tasks},
        gains=_gains(cells),
        costs={one.identity.system: one for one in results if one.identity.kind == "cost"},
        pretraining=_by_row([one for one in results if one.identity.kind == "pretrain"]),
        teachers=[one for one in results if one.identity.kind == "teacher"],
        tokenizers=[one for one in results if one.identity.kind == "tokenizer"],
        clip_frames={
            one.identity.system: one.settings["clip"]["num_frames"] for one in scored if one.identity.kind == "evaluate"
        },
        seeds=tuple(sorted({one.identity.seed for one in scored})),
        incomplete=tuple(
            (row, name) for row, found in cells.items() for name, cell in found.items() if cell.accuracy is None
        ),
    )


def _row(result: Result) -> Row:
    identity = result.identity
    return Row(identity.system, identity.init, identity.kind == "control")


def _first_place(row: Row, scored: Sequence[Result]) -> tuple[bool, int, bool, int]:
    """Systems in the order they were named, pretrained before its twin, controls last."""
    rows = list(dict.fromkeys(map(_row, scored)))
    systems = list(dict.fromkeys(other.system for other in rows))
    return row.control, systems.index(row.system), not row.pretrained, rows.index(row)


def _by_row(results: Sequence[Result]) -> dict[Row, list[Result]]:
    grouped: dict[Row, list[Result]] = {}
    for result in results:
        grouped.setdefault(_row(result), []).append(result)
    return grouped


def _require_one_protocol(scored: Sequence[Result]) -> None:
    """Numbers in one column must come from one protocol on one split."""
    seen: dict[str, tuple[str, str, str]] = {}
    for result in scored:
        identity = result.identity
        if identity.kind == "control":
            continue  # the controls have their own protocols, and guard the suite whatever the table compares
        mine = (identity.protocol, identity.split_hash, result.protocol_hash)
        if seen.setdefault(identity.task, mine) != mine:
            raise ValueError(
                f"task {identity.task!r} would mix {seen[identity.task]} and {mine} (protocol, split, hash of settings "
                f"and views); compare them in separate tables"
            )


def _cell(results: list[Result], store: Arrays, task: Task) -> Cell:
    """One row on one task: all seeds, on the videos that all of them scored."""
    results = sorted(results, key=lambda one: one.identity.seed)
    stored = [store.arrays(result, "predictions") for result in results]
    shared = stored[0]["rows"]
    for one in stored[1:]:
        shared = np.intersect1d(shared, one["rows"])
    at = [np.searchsorted(one["rows"], shared) for one in stored]
    labels = stored[0]["labels"][at[0]].astype(np.int64)
    probabilities = np.stack([one["probabilities"][where] for one, where in zip(stored, at, strict=True)])
    failed = sorted({entry for result in results for entry in result.failed})
    hits = np.stack([hits_of(task.metric, one, labels) for one in probabilities])
    scenes = shared // task.videos_per_scene
    lacks = any(map(_is_incomplete, results)) or not hits.size
    return Cell(
        accuracy=None if lacks else headline(task.metric, hits, labels, scenes=scenes),
        per_seed={
            one.identity.seed: estimate(task.metric, hit[None], labels)
            for one, hit in zip(results, hits, strict=True)
            if hit.size
        },
        rows=shared,
        scenes=scenes,
        labels=labels,
        probabilities=probabilities,
        hits=hits,
        failed=failed,
        results=results,
    )


def _is_incomplete(result: Result) -> bool:
    """Whether more videos failed than the run tolerated; a comparison tolerates none."""
    return len(result.failed) > int(result.details.get("tolerated", 0))


def _compared(first: Cell, second: Cell) -> Comparison | None:
    """Two cells on the videos and seeds of both; None when they share none."""
    videos = np.intersect1d(first.rows, second.rows)
    seeds = [seed for seed in first.per_seed if seed in second.per_seed]
    if not len(videos) or not seeds:
        return None
    chosen = []
    for cell in (first, second):
        lines = [list(cell.per_seed).index(seed) for seed in seeds]
        chosen.append(cell.hits[lines][:, np.searchsorted(cell.rows, videos)])
    return compare(*chosen, scenes=first.scenes[np.searchsorted(first.rows, videos)])


def _pairs(cells: Mapping[Row, Mapping[str, Cell]], task: str) -> dict[tuple[Row, Row], Comparison]:
    """Systems of the same start against each other."""
    found: dict[tuple[Row, Row], Comparison] = {}
    for pretrained in (True, False):
        rows = [row for row in cells if not row.control and row.pretrained == pretrained and task in cells[row]]
        raw: dict[tuple[Row, Row], Comparison] = {}
        for index, first in enumerate(rows):
            for second in rows[index + 1 :]:
                if found_one := _compared(cells[first][task], cells[second][task]):
                    raw[first, second] = found_one
        found |= corrected(raw)
    return found


def _gains(cells: Mapping[Row, Mapping[str, Cell]]) -> dict[Row, dict[str, Comparison]]:
    """Each pretrained system against its random-weights twin."""
    raw: dict[tuple[Row, str], Comparison] = {}
    for row, found in cells.items():
        twin = Row(row.system, RANDOM, False)
        if row.control or not row.pretrained or twin not in cells:
            continue
        for task, cell in found.items():
            other = cells[twin].get(task)
            if other is not None and (found_one := _compared(cell, other)):
                raw[row, task] = found_one
    gains: dict[Row, dict[str, Comparison]] = {}
    for (row, task), comparison in corrected(raw).items():
        gains.setdefault(row, {})[task] = comparison
    return gains
