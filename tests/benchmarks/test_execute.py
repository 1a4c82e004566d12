import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.execute import Listener, Run, execute
from benchmarks.results import Identity, Result, Store, digest


def run(name: str, *needs: Run, **settings: object) -> Run:
    identity = Identity(
        kind="evaluate",
        system=name,
        init="random",
        suite="s",
        task="t",
        split_hash="",
        protocol="p",
        settings_hash=digest(settings),
        seed=0,
    )
    return Run(identity=identity, settings=dict(settings), needs=tuple(need.key for need in needs), label=name)


def make_runner(folder):
    """Counts its calls in files, so that they are seen across processes."""
    store = Store(folder)

    def runner(run, results, report):
        with (folder / f"{run.identity.system}.calls").open("a") as file:
            file.write(f"{os.getpid()} {' '.join(results)}\n")
        match run.settings.get("fault"):
            case "raise":
                raise ValueError("the clip is broken")
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(60)
        report(1, 2, "half")
        result = Result(identity=run.identity, settings=run.settings, metrics={})
        store.add(result)
        return result

    return runner


def broken_runner(_folder):
    raise RuntimeError("no such suite")


class Log(Listener):
    def __init__(self, interrupt_after=None):
        self.events = []
        self.interrupt_after = interrupt_after

    def started(self, run, worker):
        self.events.append(("started", run.label))

    def progressed(self, run, worker, done, total, note):
        self.events.append(("progressed", run.label, done, total, note))

    def finished(self, run, worker, result):
        self.events.append(("finished", run.label))

    def failed(self, run, worker, error):
        self.events.append(("failed", run.label))

    def tick(self):
        if self.interrupt_after and sum(event[0] == "finished" for event in self.events) >= self.interrupt_after:
            raise KeyboardInterrupt


def calls(folder: Path) -> dict[str, int]:
    return {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.calls")}


def test_needs_come_first_and_their_results_are_handed_over(tmp_path):
    pretrain = run("pretrain")
    child = run("child", pretrain)
    log = Log()
    summary = execute([child, pretrain], {}, make_runner, tmp_path, jobs=2, listener=log)
    assert summary.results.keys() == {pretrain.key, child.key}
    assert (tmp_path / "child.calls").read_text().split()[1:] == [pretrain.key]
    assert log.events.index(("finished", "pretrain")) < log.events.index(("started", "child"))
    assert ("progressed", "child", 1, 2, "half") in log.events


def test_resuming_repeats_nothing(tmp_path):
    plan = [run(name) for name in "abcd"]
    first = execute(plan, {}, make_runner, tmp_path, jobs=1, listener=Log(interrupt_after=2))
    assert first.interrupted
    done = Store(tmp_path).finished()
    assert 2 <= len(done) < 4
    second = execute(plan, done, make_runner, tmp_path, jobs=2, listener=Log())
    assert second.reused == len(done)
    assert second.results.keys() == {one.key for one in plan}
    finished_twice = [name for name, count in calls(tmp_path).items() if count > 1]
    assert len(finished_twice) <= 1  # the run that the interruption cut off may be started again, no finished one
    third = execute(plan, Store(tmp_path).finished(), make_runner, tmp_path, jobs=2, listener=Log())
    assert third.reused == 4
    assert sum(calls(tmp_path).values()) <= 5


def test_a_failure_and_a_crash_block_only_what_needs_them(tmp_path):
    bad, crash, good = run("bad", fault="raise"), run("crash", fault="crash"), run("good")
    child = run("child", bad)
    grandchild = run("grandchild", child)
    summary = execute([bad, crash, child, grandchild, good], {}, make_runner, tmp_path, jobs=1, listener=Log())
    assert summary.results.keys() == {good.key}
    assert summary.failed[bad.key].rstrip().endswith("the clip is broken")
    assert "exit code -9" in summary.failed[crash.key]
    assert set(summary.blocked) == {child.key, grandchild.key}
    assert "child" not in calls(tmp_path)


def test_ctrl_c_stops_running_workers_at_once_and_keeps_what_was_finished(tmp_path):
    plan = [run("quick"), run("slow", fault="sleep")]
    start = time.monotonic()
    summary = execute(plan, {}, make_runner, tmp_path, jobs=2, listener=Log(interrupt_after=1))
    assert summary.interrupted
    assert time.monotonic() - start < 30
    assert Store(tmp_path).finished().keys() == {plan[0].key}


def test_a_worker_that_cannot_be_set_up_says_why(tmp_path):
    summary = execute([run("a")], {}, broken_runner, tmp_path, jobs=1, listener=Log())
    assert "no such suite" in next(iter(summary.failed.values()))


def test_an_unplanned_need_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="child"):
        execute([run("child", run("forgotten"))], {}, make_runner, tmp_path, jobs=1, listener=Log())


def test_awaited_runs_go_first_and_then_the_longest_by_the_pace_seen_so_far(tmp_path):
    def sized(name, work, *needs, **settings):
        one = run(name, *needs, **settings)
        return Run(identity=one.identity, settings=one.settings, needs=one.needs, work=work, label=f"{name}{settings}")

    slow, quick = sized("slow", 1.0), sized("quick", 100.0)
    # What was seen: a unit of "slow" takes a hundred times as long as one of "quick".
    seen = {
        one.key: Result(identity=one.identity, settings=one.settings, metrics={}, seconds=seconds)
        for one, seconds in ((slow, 10.0), (quick, 10.0))
    }
    pending = [sized("quick", 100.0, task=1), sized("slow", 20.0, task=1), sized("other", 1.0)]
    child = sized("quick", 1.0, pending[2], task=2)
    log = Log()
    execute([slow, quick, *pending, child], seen, make_runner, tmp_path, jobs=1, listener=log)
    started = [label for event, label, *_ in log.events if event == "started"]
    assert started == ["other{}", "slow{'task': 1}", "quick{'task': 1}", "quick{'task': 2}"]
