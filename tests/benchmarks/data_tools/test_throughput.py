"""Settings are timed in turns by the loader that training uses."""

import itertools

import pytest

from benchmarks.data_tools import throughput
from benchmarks.data_tools.options import DataError
from benchmarks.data_tools.throughput import Plan, Setting, installed, measure
from tests.zoo.data.clips import break_file, write_set
from zoo.card import ClipSpec

SPEC = ClipSpec(num_frames=4, sampling="uniform", img_size=16, clips=2)


def plan(**changes):
    known = {"spec": SPEC, "decoders": ("pyav",), "workers": (0,), "batch_size": 2, "clips": 4, "rounds": 2}
    return Plan(**{**known, **changes})


def silent(done, total):
    return None


@pytest.mark.parametrize("evaluation", [False, True])
def test_clips_per_second_are_clips_over_seconds(tmp_path, evaluation):
    ticks = itertools.count(step=0.5)  # each look at the clock is half a second later
    speed, *_ = measure(
        write_set(tmp_path, (8,) * 5), plan(evaluation=evaluation), tell=silent, clock=lambda: next(ticks)
    )
    assert (speed.median, speed.low, speed.high, speed.rounds) == (8.0, 8.0, 8.0, (8.0, 8.0))
    assert (speed.failures, speed.error) == (0, "")


def test_settings_take_turns_and_change_direction(monkeypatch):
    order, told = [], []

    def time(records, plan, setting, *, seed, clock):
        order.append((seed, *setting))
        return float(len(order)), 0

    monkeypatch.setattr(throughput, "_time", time)
    found = measure(
        [],
        plan(decoders=("pyav", "decord"), workers=(0, 2), rounds=3),
        tell=lambda done, total: told.append((done, total)),
    )
    first = [("pyav", 0), ("decord", 0), ("pyav", 2), ("decord", 2)]
    assert [it[1:] for it in order] == [*first, *first[::-1], *first]
    assert [it[0] for it in order] == [0] * 4 + [1] * 4 + [2] * 4
    assert [it.setting for it in found] == [Setting(*it) for it in first]
    assert found[0][1:5] == (8.0, 1.0, 9.0, (1.0, 8.0, 9.0))
    assert told[-1] == (12, 12)


def test_broken_videos_are_counted_and_too_many_end_a_setting_only(tmp_path):
    records = write_set(tmp_path, (8,) * 4)
    break_file(records[1])
    speed, *_ = measure(records, plan(clips=12, rounds=1), tell=silent)
    assert (speed.failures, speed.error) == (1, "")
    for record in records:
        break_file(record)
    speed, *_ = measure(records, plan(), tell=silent)
    assert (speed.median, speed.rounds) == (0.0, ())
    assert "could not be read" in speed.error


def test_workers_are_real_processes(tmp_path):
    speed, *_ = measure(write_set(tmp_path, (8,) * 3), plan(workers=(1,), rounds=1), tell=silent)
    assert speed.median > 0


def test_decoders_that_are_missing_are_left_out_unless_asked_for(monkeypatch):
    def load(name):
        if name == "decord":
            raise ImportError("decord is not installed")

    monkeypatch.setattr(throughput, "_load", load)
    assert installed([]) == (("pyav",), "decord is not installed")
    with pytest.raises(DataError, match="decord is not installed"):
        installed(["decord"])
    with pytest.raises(DataError, match="unknown decoder 'decort'; known: pyav, decord"):
        installed(["decort"])
