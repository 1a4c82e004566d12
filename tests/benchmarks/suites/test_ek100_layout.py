import csv
import io

import pytest

from benchmarks.layout import Look, Plan
from benchmarks.suites.ek100_layout import FOLDER, layout, pair


@pytest.mark.parametrize("classes", [2, 4, 10, 100])
def test_classes_are_different_pairs_that_look_different(classes):
    pairs = [pair(label, classes) for label in range(classes)]
    assert len(set(pairs)) == len({(verb % 10, noun % 10) for verb, noun in pairs}) == classes


def test_an_action_is_the_end_of_a_stretch_that_shows_it_already():
    made = layout(Plan(classes=2, videos=1))
    rows = list(csv.DictReader(io.StringIO(made.files[f"{FOLDER}/EPIC_100_train.csv"])))
    assert [(row["start_timestamp"], row["stop_timestamp"]) for row in rows] == [
        ("00:00:06.00", "00:00:10.00"),
        ("00:00:16.00", "00:00:20.00"),
    ]
    assert [(row["start_frame"], row["stop_frame"]) for row in rows] == [("48", "80"), ("128", "160")]
    assert [part.look for part in made.videos[0].parts] == [Look(0, 0), Look(0, 1)]
    assert [part.seconds for part in made.videos[0].parts] == [10, 10]


def test_long_videos_have_times_with_minutes_and_hours():
    made = layout(Plan(classes=3, videos=1, seconds=3000))
    rows = list(csv.DictReader(io.StringIO(made.files[f"{FOLDER}/EPIC_100_train.csv"])))
    assert rows[2]["stop_timestamp"] == "02:30:00.00"
