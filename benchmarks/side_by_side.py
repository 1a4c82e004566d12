"""Stored results of any folders side by side: what was measured alike shares a column, and nothing else does."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.results import Result, Store
from benchmarks.session import RequestError
from benchmarks.suites.table import get_suite
from benchmarks.table import Table, tabulate


class Stored(NamedTuple):
    """A result and the store that its arrays lie in."""

    result: Result
    store: Store


class _Arrays:
    """Arrays of results of several stores."""

    def __init__(self, found: Sequence[Stored]) -> None:
        self._stores = {one.result.identity.key: one.store for one in found}

    def arrays(self, result: Result, name: str) -> dict[str, np.ndarray]:
        return self._stores[result.identity.key].arrays(result, name)


class SideBySide(NamedTuple):
    """Tables, one per suite, and what is in none of them.

    Attributes:
        tables: in the order of the suites' names.
        left_out: results without a place, and why.
    """

    tables: list[Table]
    left_out: list[str]


def side_by_side(found: Sequence[Stored]) -> SideBySide:
    """Put evaluations and controls into tables; of equal runs the first one counts.

    Raises:
        RequestError: when a column would mix protocols, settings, views or lists.
        UnknownNameError: for a suite that the zoo does not have any more.
    """
    first: dict[str, Stored] = {}
    for one in found:
        first.setdefault(one.result.identity.key, one)
    placed, left_out = [], []
    for one in first.values():
        if reason := _no_place(one.result):
            left_out.append(f"{one.result.identity.stem}: {reason}")
        else:
            placed.append(one)
    suites = sorted({one.result.identity.suite for one in placed})
    return SideBySide([_table(name, placed) for name in suites], left_out)


def _no_place(result: Result) -> str:
    """Why a result is in no table; "" where it is in one."""
    if result.identity.kind not in ("evaluate", "control"):
        return f"a {result.identity.kind} run has no score"
    if result.settings.get("metric") == "mse":
        return "values, not classes"
    if "limit" in result.settings:
        return "only a part of the list was scored (--limit)"
    return "" if "predictions" in result.arrays else "it keeps no predictions"


def _table(name: str, placed: Sequence[Stored]) -> Table:
    suite, mine = get_suite(name), [one for one in placed if one.result.identity.suite == name]
    asked = {one.result.identity.task for one in mine}
    tasks = [task.named(()) for task in suite.tasks if task.name in asked]
    try:
        return tabulate([one.result for one in mine], _Arrays(mine), suite=name, tasks=tasks)
    except ValueError as error:
        raise RequestError(f"{name}: {error}, chosen with --task, --protocol or --system") from None
