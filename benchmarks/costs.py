"""The cost rows of a comparison: measured together, stored one by one."""

import time
from collections.abc import Callable

from benchmarks.efficiency import CostPoint, count_parameters, sweep
from benchmarks.execute import Run
from benchmarks.plan import cost_runs
from benchmarks.provenance import now
from benchmarks.results import Result, Store
from benchmarks.session import Session


def missing(session: Session, store: Store) -> list[Run]:
    """Cost runs without a result; all or none, because systems are timed in turns."""
    runs, finished = cost_runs(session.comparison), store.finished()
    return [] if all(run.key in finished for run in runs) else runs


def measure(session: Session, store: Store, *, jobs: int, progress: Callable[[int, int, str], None]) -> None:
    """Measure the costs of all systems and store them, unless they are stored already.

    Args:
        session: the comparison.
        store: where results go.
        jobs: memory measurements at a time.
        progress: called with steps done, steps in all, and a note.
    """
    runs, costs = missing(session, store), session.budget.costs
    if not runs:
        return
    start, systems = time.perf_counter(), {one.name: one for one in session.comparison.systems}
    points = sweep(
        systems,
        costs.frames,
        img_size=session.comparison.systems[0].clip.img_size,
        batch_size=costs.batch_size,
        rounds=costs.rounds,
        jobs=jobs,
        progress=progress,
    )
    seconds = (time.perf_counter() - start) / len(runs)
    for run in runs:
        one = systems[run.identity.system]
        store.add(_result(session, run, count_parameters(one.backbone()), points[one.name], seconds))


def _result(session: Session, run: Run, parameters: int, points: list[CostPoint], seconds: float) -> Result:
    return Result(
        identity=run.identity,
        settings=run.settings,
        metrics={},
        details={"parameters": parameters, "points": [point.to_dict() for point in points]},
        device=session.told.device,
        versions=session.told.versions,
        commit=session.told.commit,
        seconds=seconds,
        command=session.told.command,
        created=now(),
    )
