"""`zoo compare`: prepare the videos, run what is missing, measure costs, write the report."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console

from benchmarks import costs, runners
from benchmarks.execute import Run, Summary, execute
from benchmarks.findings import findings
from benchmarks.lessons import Lessons
from benchmarks.pictures import Frames, evenly
from benchmarks.plan import cost_runs, plan
from benchmarks.processes import prepare_workers
from benchmarks.progress import duration, progress_for
from benchmarks.report import Story, write_report
from benchmarks.results import Result, Store
from benchmarks.session import Request, Session, open_session
from benchmarks.table import tabulate
from zoo.data.loading import Reader

DONE, INCOMPLETE, INTERRUPTED = 0, 1, 130


def compare(request: Request, *, dry_run: bool = False, console: Console | None = None) -> int:
    """Run what is missing and write the report.

    Args:
        request: what was asked for.
        dry_run: print the runs and leave.
        console: where to write; standard error when None.

    Returns:
        0, or 1 when a run failed, a test video has no prediction or the suite leaks, or 130 when interrupted.

    Raises:
        UnknownNameError: for a name that does not exist, with the closest ones.
        SizeError: for an architecture that is not made for the suite's clips.
    """
    console = console or Console(stderr=True)
    prepare_workers()
    session = open_session(request, console)
    runs, store = plan(session.comparison), Store(request.out / "results")
    jobs, finished = request.jobs or os.cpu_count() or 1, store.finished()
    _announce(session, runs, finished, jobs, console)
    if dry_run:
        for run in [*runs, *cost_runs(session.comparison)]:
            console.print(f"{'finished' if run.key in finished else 'to do   '} {run.label}", highlight=False)
        return DONE
    request.save()
    summary = _execute(session, runs, finished, jobs, console)
    if summary.interrupted or not _measure_costs(session, store, jobs, console):
        console.print("[bold]Interrupted.[/] Finished runs are kept. The same command goes on where this one stopped:")
        console.print(f"  {session.told.command}", highlight=False, markup=False, soft_wrap=True)
        return INTERRUPTED
    labels = {run.key: run.label for run in runs}
    failures = {labels[key]: error.strip().splitlines()[-1] for key, error in summary.failed.items()}
    failures |= {labels[key]: "not started, because a run that it needs failed" for key in summary.blocked}
    return finish(session, failures, console)


def report_again(folder: Path, *, console: Console | None = None) -> int:
    """Write the report of a folder again, from whatever results are in it.

    Raises:
        RequestError: for a folder that no comparison was written to.
    """
    console = console or Console(stderr=True)
    return finish(open_session(Request.load(folder), console), {}, console)


def finish(session: Session, failures: Mapping[str, str], console: Console) -> int:
    """Write the report from the results of the plan, and say what was found.

    Args:
        session: the comparison.
        failures: label of a run that failed -> its error.
        console: where to write.
    """
    made = story(session, failures)
    paths = write_report(session.request.out, made)
    said = findings(made.table, budget=session.budget.name)
    for finding in said:
        style = {"alarm": "bold red", "bad": "yellow", "good": "green"}.get(finding.tone, "bold")
        console.print(f"[{style}]{finding.title}.[/] {_spoken(finding.text)}", highlight=False)
    for problem in made.problems:
        words = f"{problem.path}: {problem.reason}; the run counts as not done"
        console.print(words, style="yellow", highlight=False, markup=False, soft_wrap=True)
    console.print(f"\nReport: [bold]{paths[0]}[/]", highlight=False, soft_wrap=True)
    missing = len(plan(session.comparison)) - sum(result.identity.kind != "cost" for result in made.results)
    wrong = bool(failures or missing or made.problems or any(finding.tone == "alarm" for finding in said))
    return INCOMPLETE if wrong else DONE


def story(session: Session, failures: Mapping[str, str]) -> Story:
    """What the report tells: the results of this plan, whatever else is in the store."""
    request, comparison = session.request, session.comparison
    store = Store(request.out / "results")
    finished = store.finished()
    runs = [*plan(comparison), *cost_runs(comparison)]
    results = [finished[run.key] for run in runs if run.key in finished]
    return Story(
        table=tabulate(results, store, suite=request.suite, tasks=session.suite.tasks),
        results=results,
        store=store,
        budget=session.budget.name,
        protocol=request.protocol,
        again=request.command,
        suite_note=session.suite.description,
        quirks=(*session.suite.quirks, *([note] if (note := Lessons(session.suite, comparison.videos).note()) else ())),
        split_hashes={
            f"{task.name}, {split}": comparison.videos.split_hash(task.name, split)
            for task in session.suite.tasks
            for split in (session.suite.train_split, session.suite.test_split)
        },
        failures=failures,
        problems=store.problems,
        frames_of=lambda task, row: _frames_of(session, task, row),
    )


def _frames_of(session: Session, task: str, row: int) -> Frames:
    """Frames of a test video that a strip shows."""
    records = session.comparison.videos.records(task, session.suite.test_split)
    record = next(record for record in records if record.row == row)
    return Reader(session.cache)(record.path, lambda length: torch.from_numpy(evenly(length)), record.span).numpy()


def _announce(
    session: Session, runs: Sequence[Run], finished: Mapping[str, Result], jobs: int, console: Console
) -> None:
    done = sum(run.key in finished for run in runs)
    names = ", ".join(one.label for one in session.comparison.systems)
    request = session.request
    console.print(f"[bold]{names}[/] on {session.suite.name}: {request.protocol}, budget {request.budget}")
    words = f"{len(runs)} runs, {jobs} at a time" + (f", {done} finished before" if done else "")
    console.print(f"{words}; results go to {request.out}", highlight=False, soft_wrap=True)
    if note := Lessons(session.suite, session.comparison.videos).note():
        console.print(note, style="yellow", highlight=False, soft_wrap=True)


def _execute(
    session: Session, runs: Sequence[Run], finished: Mapping[str, Result], jobs: int, console: Console
) -> Summary:
    context = runners.Context(
        folder=session.request.out,
        suite=session.suite,
        videos=session.comparison.videos,
        cache=session.cache,
        budget=session.budget,
        provenance=session.told,
    )
    todo = [run for run in runs if run.key not in finished]
    with progress_for(todo, jobs, console) as listener:
        summary = execute(runs, finished, runners.make_runner, context, jobs=jobs, listener=listener)
    if todo and not summary.interrupted:
        console.print(f"{len(todo)} runs in {duration(listener.forecast.elapsed)}", highlight=False)
    return summary


def _measure_costs(session: Session, store: Store, jobs: int, console: Console) -> bool:
    """Measure costs after the runs, because timings want the machine to themselves; False when interrupted."""
    if not costs.missing(session, store):
        return True
    console.print("measuring costs against the number of frames", highlight=False)
    try:
        with console.status("") as status:
            costs.measure(
                session,
                store,
                jobs=jobs,
                progress=lambda done, total, note: status.update(f"{done}/{total}, {note}"),
            )
    except KeyboardInterrupt:
        return False
    return True


def _spoken(text: str) -> str:
    """A finding for the terminal: emphasis as rich writes it."""
    parts = text.replace("`", "").split("**")
    return "".join(f"[bold]{part}[/]" if index % 2 else part for index, part in enumerate(parts))
