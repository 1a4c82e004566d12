import io

import pytest
from rich.console import Console

from benchmarks.execute import Run
from benchmarks.progress import Forecast, LiveProgress, PlainProgress, duration, outcome, progress_for
from benchmarks.results import Identity, Interval, Result, digest


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(system: str, work: float, kind: str = "evaluate", task: str = "motion") -> Run:
    identity = Identity(
        kind=kind,
        system=system,
        init="mae",
        suite="s",
        task=task,
        split_hash="",
        protocol="p",
        settings_hash=digest({}),
        seed=0,
    )
    return Run(identity=identity, settings={}, work=float(work), label=f"{system} on {task}")


def result(of: Run) -> Result:
    metrics = {"top1": Interval(0.9375, 0.9, 0.96)}
    return Result(identity=of.identity, settings={}, metrics=metrics, n_expected=9, n_evaluated=9, seconds=12.5)


def test_nothing_is_predicted_before_the_first_sign_of_pace():
    clock = Clock()
    forecast = Forecast([run("a", 10)], 1, clock)
    assert forecast.seconds_left() is None
    forecast.start(run("a", 10))
    assert forecast.seconds_left() is None


def test_the_time_left_follows_from_the_pace_of_the_same_system_and_the_number_of_workers():
    clock = Clock()
    fast, slow = [run("fast", 10, task=str(i)) for i in range(3)], [run("slow", 10, task=str(i)) for i in range(3)]
    forecast = Forecast([*fast, *slow], 2, clock)
    forecast.start(fast[0])
    forecast.start(slow[0])
    clock.now = 5.0
    forecast.finish(fast[0])  # 0.5 s per unit
    forecast.advance(slow[0], 0.25)  # 2 s per unit
    # fast: 2 x 5 s; slow: 7.5 units and 2 x 10 units at 2 s; two workers
    assert forecast.seconds_left() == pytest.approx((10 + 15 + 40) / 2)
    assert forecast.share == pytest.approx((10 + 2.5) / 60)


def test_an_unknown_system_takes_the_pace_of_its_kind():
    clock = Clock()
    known, other = run("a", 10, kind="pretrain"), run("b", 20, kind="pretrain")
    forecast = Forecast([known, other, run("c", 1, kind="control")], 1, clock)
    forecast.start(known)
    clock.now = 30.0
    forecast.finish(known)
    assert forecast.seconds_left() == pytest.approx(60 + 3)


def test_the_longest_run_bounds_the_time_left():
    clock = Clock()
    long, short = run("a", 100), run("a", 1, task="order")
    forecast = Forecast([long, short], 8, clock)
    forecast.start(short)
    clock.now = 2.0
    forecast.finish(short)
    assert forecast.seconds_left() == pytest.approx(200)


def test_a_failed_run_counts_as_over_and_teaches_no_pace():
    clock = Clock()
    bad, good = run("a", 10), run("b", 10)
    forecast = Forecast([bad, good], 1, clock)
    forecast.start(bad)
    clock.now = 0.1
    forecast.finish(bad, succeeded=False)
    assert forecast.seconds_left() is None
    assert forecast.share == 0.5


def test_durations_are_clock_times():
    assert [duration(value) for value in (None, 5.0, 65.0, 3725.0)] == ["–", "0:05", "1:05", "1:02:05"]


@pytest.mark.parametrize("terminal", [True, False])
def test_finished_and_failed_runs_are_told_with_their_numbers(terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    runs = [run("a", 10), run("b", 10)]
    with progress_for(runs, 1, console) as listener:
        assert type(listener) is (LiveProgress if terminal else PlainProgress)
        listener.started(runs[0], 0)
        listener.progressed(runs[0], 0, 3, 10, "loss 1.52")
        listener.tick()
        listener.finished(runs[0], 0, result(runs[0]))
        listener.started(runs[1], 0)
        listener.failed(runs[1], 0, "Traceback\n  ...\nValueError: clip [x] is broken\n")
        listener.tick()
    said = text.getvalue()
    for words in ("a on motion", "93.8 %", "12.5 s", "FAILED b on motion: ValueError: clip [x] is broken"):
        assert words in said


def test_plain_progress_speaks_now_and_then_only():
    text, clock = io.StringIO(), Clock()
    listener = PlainProgress([run("a", 10)], 1, Console(file=text), clock)
    listener.started(run("a", 10), 0)
    for second in range(50):
        clock.now = float(second)
        listener.progressed(run("a", 10), 0, second, 100, "")
        listener.tick()
    assert text.getvalue().count("left") == 2
    assert "about 1:20 left" in text.getvalue()


def test_a_tokenizer_is_told_in_decibels_and_an_evaluation_in_percent():
    def said(kind, name, value):
        one = run("a", 1, kind)
        result = Result(
            identity=one.identity, settings={}, metrics={name: Interval(value, value, value)}, n_expected=1,
            n_evaluated=1,
        )  # fmt: skip
        return outcome(one, result)

    assert "18.6 dB" in said("tokenizer", "psnr", 18.6)
    assert "50.0 %" in said("evaluate", "top1", 0.5)
