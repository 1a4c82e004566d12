import json
import shutil

import pytest

from benchmarks.layout import Plan
from benchmarks.suite import SuiteError
from benchmarks.suites import coin
from tests.benchmarks.laid_out import change, lay_out, prepared
from zoo.data.list_files import ListError

PLAN = Plan(classes=3, videos=2)


def test_recipe_type_is_the_label_and_class_its_name(tmp_path):
    videos = prepared(coin.SUITE, tmp_path, PLAN)
    database = json.loads((tmp_path / "COIN.json").read_text())["database"]
    for split, subset in (("train", "training"), ("test", "testing")):
        records = videos.records("task", split)
        assert [record.path.stem for record in records] == [
            name for name, entry in database.items() if entry["subset"] == subset
        ]
        assert all(database[record.path.stem]["recipe_type"] == record.label for record in records)
    names = videos.classes("task")
    assert len(names) == 180
    assert names[1] == "MadeUpTask1"
    assert names[179] == "recipe_type 179"


def test_videos_are_found_in_any_folder_and_in_any_container(tmp_path):
    folder = lay_out(coin.SUITE, tmp_path, PLAN)
    first = sorted((folder / "videos/0").iterdir())[0]
    moved = first.rename(folder / "videos" / f"{first.stem}.mkv")
    records = coin.prepare(folder, False).records("task", "train") + coin.prepare(folder, False).records("task", "test")
    assert moved in {record.path for record in records}
    assert all(record.path.is_file() for record in records)


def test_a_video_that_is_not_there_stays_in_the_list_where_it_would_be(tmp_path):
    folder = lay_out(coin.SUITE, tmp_path, PLAN)
    before = coin.prepare(folder, False).records("task", "test")
    before[0].path.unlink()
    assert coin.prepare(folder, False).records("task", "test") == before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"recipe_type": 1', '"recipe_type": 180', r"recipe_type: 180 is out of range"),
        ('"recipe_type": 1', '"recipe_type": "1"', r"recipe_type.*is a text"),
        ('"recipe_type": 1', '"recipe_type": 2', r"recipe_type.*2 is '.*' here and '.*' in an earlier entry"),
        ('"subset": "testing"', '"subset": "test"', r"subset.*training, testing, validation"),
        ('"class"', '"klass"', r"class.*is missing"),
        ('"database"', '"data"', r"database.*is missing"),
        ('"training"', "NaN", r"NaN"),
    ],
)
def test_a_wrong_entry_is_refused_by_its_json_path(tmp_path, old, new, words):
    folder = lay_out(coin.SUITE, tmp_path, PLAN)
    change(folder / "COIN.json", old, new)
    with pytest.raises(ListError, match=rf"COIN\.json.*{words}"):
        coin.prepare(folder, False)


def test_files_that_are_not_there_are_named_with_their_source(tmp_path):
    with pytest.raises(SuiteError, match=r"looked for COIN\.json in .*github.com/coin-dataset"):
        coin.prepare(tmp_path, False)
    folder = lay_out(coin.SUITE, tmp_path, PLAN)
    shutil.rmtree(folder / "videos")
    with pytest.raises(SuiteError, match="none of 6 listed videos"):
        coin.prepare(folder, False)


def test_known_sizes_add_up_to_the_published_number():
    assert sum(coin.SUITE.sizes["COIN"].values()) == 11827


def test_both_names_of_the_second_subset_are_the_test_list(tmp_path):
    folder = lay_out(coin.SUITE, tmp_path, PLAN)
    expected = coin.prepare(folder, False).records("task", "test")
    file = folder / "COIN.json"
    file.write_text(file.read_text().replace('"testing"', '"validation"'))
    assert coin.prepare(folder, False).records("task", "test") == expected
