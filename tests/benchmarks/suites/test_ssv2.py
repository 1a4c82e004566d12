import json

import pytest

from benchmarks.suites.ssv2 import SUITE
from tests.benchmarks.suites import official
from tests.benchmarks.suites.official import touch, write
from zoo.data.labels import order
from zoo.data.records import ListError

VALIDATION = "something-something-v2-validation.json"


def prepare(root):
    return SUITE.prepare(root, False)


def test_files_of_the_newer_release_and_mp4_videos_are_found(tmp_path):
    official.ssv2(tmp_path)
    for name in ("train", "validation", "labels"):
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"something-something-v2-{name}.json").rename(tmp_path / f"labels/{name}.json")
    for video in (tmp_path / "20bn-something-something-v2").iterdir():
        video.rename(video.with_suffix(".mp4"))
    (tmp_path / "20bn-something-something-v2").rename(tmp_path / "videos")
    assert prepare(tmp_path).records("action", "val")[0].path == tmp_path / "videos/20.mp4"


def test_another_order_of_the_classes_is_read_as_it_is_and_noted(tmp_path):
    official.ssv2(tmp_path)
    assert not prepare(tmp_path).notes
    names = order("ssv2").names[::-1]
    write(tmp_path / "something-something-v2-labels.json", json.dumps({name: str(n) for n, name in enumerate(names)}))
    videos = prepare(tmp_path)
    assert videos.classes("action") == names
    assert [record.label for record in videos.records("action", "val")] == [173, 172]
    assert any("otherwise than the official release" in note for note in videos.notes)


@pytest.mark.parametrize(
    ("items", "where", "words"),
    [
        ([{"template": "x"}], "$[0].id", "is missing"),
        ([{"id": 5, "template": "x"}], "$[0].id", "is the number 5; expected a number in digits"),
        ([{"id": "../5", "template": "x"}], "$[0].id", "is not a number in digits"),
        ([{"id": "5"}], "$[0].template", "is missing"),
        ([{"id": "5", "template": "Eating [something]"}], "$[0].template", "is no class of the labels file"),
        (2 * [{"id": "5", "template": "Holding [something]"}], "$[1].id", "'5' is listed again"),
        ({"5": "Holding [something]"}, "$", "is an object; expected a list"),
        ([], "$", "is empty"),
    ],
)
def test_bad_annotations_are_refused_with_their_json_path(tmp_path, items, where, words):
    official.ssv2(tmp_path)
    write(tmp_path / VALIDATION, json.dumps(items))
    with pytest.raises(ListError) as caught:
        prepare(tmp_path).records("action", "val")
    assert caught.value.field == where
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"Holding something": "1_7"}, "'1_7' is not a whole number"),
        ({"Holding something": 0}, "is the number 0; expected a text"),
        ({"Holding something": "174"}, "174 is out of range"),
        ({"Holding something": "0"}, "names 1 classes; expected 174"),
    ],
)
def test_bad_labels_files_are_refused(tmp_path, numbers, words):
    official.ssv2(tmp_path)
    write(tmp_path / "something-something-v2-labels.json", json.dumps(numbers))
    with pytest.raises(ListError, match=words):
        prepare(tmp_path)


def test_common_lists_are_taken_to_stand_in_the_official_order(tmp_path):
    write(tmp_path / "val.csv", "5.mp4 173\n6.mp4 0\n")
    touch(tmp_path / "videos", "6.mp4")
    videos = prepare(tmp_path)
    assert [record.label for record in videos.records("action", "val")] == [173, 0]
    assert videos.classes("action") == order("ssv2").names
    assert any("taken to stand in the official order" in note for note in videos.notes)
