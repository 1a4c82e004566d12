import json

import pytest

from benchmarks.suite import SuiteError
from benchmarks.suites.k710 import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import touch, write
from zoo.data.labels import rows_of_k710
from zoo.data.records import ListError


def labels(root):
    return [record.label for record in SUITE.prepare(root, False).records("action", "val")]


def test_labels_of_the_lists_per_source_number_the_710_classes(tmp_path):
    official.k710(tmp_path)
    assert labels(tmp_path) == [400, 400, 600, 600, 700, 700]
    assert [it.row for it in SUITE.prepare(tmp_path, False).records("action", "val")] == list(range(6))


@pytest.mark.parametrize("name", ["map_k600.json", "label_mixto600.json"])
def test_index_maps_beside_the_lists_renumber_the_labels_of_their_sources(tmp_path, name):
    official.k710(tmp_path)
    write(tmp_path / "kinetics710" / name, json.dumps(rows_of_k710("k600")))
    write(tmp_path / "kinetics710" / name.replace("600", "700"), json.dumps(rows_of_k710("k700")))
    with pytest.raises(ListError, match="600 is out of range; 600 classes"):
        labels(tmp_path)
    for split in ("train", "val"):
        write(tmp_path / f"kinetics710/k600_{split}_list_videos.txt", f"{split}_600_0.mp4 0\n{split}_600_1.mp4 599\n")
        write(tmp_path / f"kinetics710/k700_{split}_list_videos.txt", f"{split}_700_0.mp4 699\n")
    rows, last = rows_of_k710("k600"), rows_of_k710("k700")[699]
    assert labels(tmp_path) == [400, 400, rows[0], rows[599], last]
    assert f"labels of Kinetics-600 are renumbered by {name}" in SUITE.prepare(tmp_path, False).notes


@pytest.mark.parametrize("names", [["map_k600"], ["map_k600", "label_mixto700"], ["map_k400"]])
def test_index_maps_that_leave_two_meanings_of_a_label_are_refused(tmp_path, names):
    official.k710(tmp_path)
    for name in names:
        number = name[-3:]
        rows = list(range(400)) if number == "400" else rows_of_k710(f"k{number}")
        write(tmp_path / f"kinetics710/{name}.json", json.dumps(rows))
    with pytest.raises(SuiteError, match="number the 710 classes in their own way"):
        labels(tmp_path)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*range(599)], "has 599 classes, 599 distinct; expected 600"),
        ([0, *range(599)], "has 600 classes, 599 distinct"),
        ([710, *range(599)], r"\$\[0\]: 710 is out of range"),
        ([0.5], r"\$\[0\]: is the number 0.5"),
    ],
)
def test_bad_index_maps_are_refused(tmp_path, rows, words):
    official.k710(tmp_path)
    write(tmp_path / "kinetics710/map_k600.json", json.dumps(rows))
    with pytest.raises(ListError, match=words):
        labels(tmp_path)


def test_a_missing_source_is_named(tmp_path):
    official.k710(tmp_path)
    (tmp_path / "kinetics710/k600_val_list_videos.txt").unlink()
    with pytest.raises(SuiteError, match=r"k600_val_list_videos\.txt is missing"):
        labels(tmp_path)


def test_one_list_of_all_sources_is_read_too(tmp_path):
    write(tmp_path / "val.csv", "a.mp4,709\n")
    touch(tmp_path, "a.mp4")
    assert labels(tmp_path) == [709]
