import numpy as np
import pytest

from benchmarks.speed import decode
from benchmarks.speed.decode import check, clip, measure, numbers, spread, summary


@pytest.fixture(scope="module")
def frames():
    return clip(40)


def test_every_frame_spells_its_number(frames):
    assert numbers(frames) == list(range(40))


def test_frames_are_spread_over_the_clip():
    assert spread(8) == [18, 56, 93, 131, 168, 206, 243, 281]
    assert spread(decode.NUM_FRAMES) == list(range(decode.NUM_FRAMES))


def test_a_wrong_frame_or_pixel_stops_the_measurement(frames):
    right = frames[[3, 9]]
    check({"pyav": lambda: right, "decord": lambda: right}, [3, 9])
    with pytest.raises(ValueError, match=r"decord returned frames \[3, 10\] for \[3, 9\]"):
        check({"pyav": lambda: right, "decord": lambda: frames[[3, 10]]}, [3, 9])
    with pytest.raises(ValueError, match="different pixels"):
        check({"pyav": lambda: right, "decord": lambda: np.clip(right, 0, 254)}, [3, 9])


def test_the_ratio_is_our_time_over_theirs(frames):
    seconds = measure({"pyav": lambda: frames, "decord": lambda: frames}, rounds=3)
    assert [len(values) for values in seconds.values()] == [3, 3]
    found = summary({"pyav": [1.0, 2.0, 3.0], "decord": [4.0, 4.0, 3.0]})
    assert (found["ratio"], found["ratio_range"]) == (0.5, [0.25, 1.0])
