import csv
import io
import json

import pytest

from benchmarks.layout import Plan
from benchmarks.suites import layouts
from zoo.data.labels import order

PLAN = Plan(classes=3, videos=2)
WRITERS = {
    "k400": layouts.kinetics("k400", 400),
    "k600": layouts.kinetics("k600", 600),
    **{
        writer.__name__: writer
        for writer in (
            layouts.k710,
            layouts.ssv2,
            layouts.mit,
            layouts.in1k,
            layouts.ucf101,
            layouts.hmdb51,
            layouts.finegym288,
        )
    },
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_video_has_a_name_of_its_own_and_training_shares_no_digits_with_tests(name):
    made = WRITERS[name](PLAN)
    assert len({video.name for video in made.videos}) == len(made.videos)
    assert {video.test for video in made.videos} == {False, True}


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "in1k"])
def test_the_seconds_of_a_plan_are_kept(name):
    made = WRITERS[name](Plan(classes=2, videos=1, seconds=7))
    assert {video.seconds for video in made.videos} == {7}


def test_kinetics_has_the_columns_and_file_names_of_the_official_release():
    made = WRITERS["k400"](PLAN)
    rows = list(csv.DictReader(io.StringIO(made.files["val.csv"])))
    assert list(rows[0]) == ["label", "youtube_id", "time_start", "time_end", "split"]
    assert [row["label"] for row in rows[:3]] == list(order("k400_alphabetical").names[:3])
    name = f"val/{rows[1]['youtube_id']}_000010_000020.mp4"
    assert name in {video.name for video in made.videos}


def test_templates_of_something_something_are_labels_with_brackets():
    made = WRITERS["ssv2"](Plan(classes=100, videos=1))
    labels = json.loads(made.files["something-something-v2-labels.json"])
    items = json.loads(made.files["something-something-v2-train.json"])
    assert len(labels) == 174
    assert [labels[item["template"].replace("[", "").replace("]", "")] for item in items] == [
        str(label) for label in range(100)
    ]
    assert items[0]["template"] == "Approaching [something] with your camera"


def test_hmdb51_has_a_file_for_each_class_and_split():
    made = WRITERS["hmdb51"](PLAN)
    assert len(made.files) == 51 * 3
    assert made.files["testTrainMulti_7030_splits/made_up_050_test_split2.txt"] == "made_up_050_unused.avi 0 \n"
