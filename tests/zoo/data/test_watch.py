"""A machine that stood still has not spent the time."""

import time

import pytest

from zoo.data.video_file import DecodeError, Source
from zoo.data.watch import LONGEST_STEP_S, Watch


class Clock:
    """A clock that goes on by hand."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def test_short_steps_add_up_and_a_pause_counts_as_one_step(clock):
    watch = Watch()
    clock.now += 3.0
    assert watch.seconds() == 3.0
    clock.now += 3600.0
    assert watch.seconds() == 3.0 + LONGEST_STEP_S
    assert watch.seconds() == 3.0 + LONGEST_STEP_S


def test_a_video_is_read_on_after_the_machine_slept_and_refused_after_as_much_work(clock, tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    with Source(tmp_path / "a", 120.0) as source:
        clock.now += 3600.0
        source.check_time()
        assert source.read() == b"abc"
        for _ in range(11):
            clock.now += LONGEST_STEP_S
            source.check_time()
        clock.now += LONGEST_STEP_S
        with pytest.raises(DecodeError, match="not done within the limit of 120 s"):
            source.check_time()
