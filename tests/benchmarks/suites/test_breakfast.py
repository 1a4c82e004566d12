import shutil

import pytest

from benchmarks.layout import Plan, SynthError
from benchmarks.suite import SuiteError
from benchmarks.suites import breakfast
from benchmarks.synth import layout_of
from tests.benchmarks.laid_out import change, lay_out, prepared
from zoo.data.list_files import ListError

PLAN = Plan(classes=3, videos=6)


def names(videos, split):
    return [record.path.relative_to(videos.folder).as_posix() for record in videos.records("dish", split)]


def test_equal_names_of_two_cameras_are_two_rows(tmp_path):
    videos = prepared(breakfast.SUITE, tmp_path, PLAN)
    records = videos.records("dish", "test")
    assert len({record.path.stem for record in records}) < len(records) == 18
    assert len({record.row for record in records}) == len({record.path for record in records}) == 18
    assert names(videos, "test")[:4] == [
        "P47/cam01/P47_cereals.avi",
        "P47/cam01/P47_coffee.avi",
        "P47/cam01/P47_tea.avi",
        "P47/cam02/P47_cereals.avi",
    ]
    assert "P47/stereo/P47_tea_ch0.avi" in names(videos, "test")


def test_classes_are_numbered_as_in_vis4mers_lists(tmp_path):
    videos = prepared(breakfast.SUITE, tmp_path, Plan(classes=10, videos=1))
    labels = {record.path.stem[4:]: record.label for record in videos.records("dish", "train")}
    assert labels["cereals"] == 0
    assert labels["tea"] == 2
    assert labels["salat"] == 9
    assert videos.classes("dish")[5] == "scrambledegg"


def test_the_flat_form_gives_the_same_list(tmp_path):
    native = prepared(breakfast.SUITE, tmp_path / "a", PLAN)
    for split in ("train", "test"):
        (tmp_path / "b/videos").mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "a" / f"{split}.csv", tmp_path / "b")
        for name in names(native, split):
            (tmp_path / "b/videos" / name.replace("/", "-")).touch()
    flat = breakfast.prepare(tmp_path / "b", False)
    for split in ("train", "test"):
        assert names(flat, split) == [name.replace("/", "-") for name in names(native, split)]
        assert all(record.path.is_file() for record in flat.records("dish", split))


def test_without_lists_the_split_is_by_participant_and_the_second_channel_is_left_out(tmp_path):
    listed = prepared(breakfast.SUITE, tmp_path, PLAN)
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").unlink()
    (tmp_path / breakfast.NATIVE_FOLDER / "P47/stereo/P47_tea_ch1.avi").touch()
    found = breakfast.prepare(tmp_path, False)
    for split in ("train", "test"):
        assert sorted(names(found, split)) == sorted(names(listed, split)) == names(found, split)
        labels = {record.path: record.label for record in listed.records("dish", split)}
        assert all(labels[record.path] == record.label for record in found.records("dish", split))
    assert "made from the folder" in found.notes[0]


def test_a_video_that_is_not_there_stays_in_the_list(tmp_path):
    folder = lay_out(breakfast.SUITE, tmp_path, PLAN)
    (folder / breakfast.NATIVE_FOLDER / "P47/cam01/P47_cereals.avi").unlink()
    assert len(breakfast.prepare(folder, False).records("dish", "test")) == 18


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("cereals,0", "cereals,1", "class_id"),
        ("cereals,0", "cereals,10", "class_id"),
        ("P03-cam01-", "P03-cam09-", "file_name"),
        ("coffee,1", "cofee,1", "action"),
        ("duration", "length", "header"),
    ],
)
def test_a_wrong_list_is_refused_by_file_and_field(tmp_path, old, new, field):
    folder = lay_out(breakfast.SUITE, tmp_path, PLAN)
    change(folder / "train.csv", old, new)
    with pytest.raises(ListError, match=rf"train.csv', line \d+, {field}"):
        breakfast.prepare(folder, False)


def test_one_list_alone_foreign_videos_and_nothing_at_all_are_refused(tmp_path):
    folder = lay_out(breakfast.SUITE, tmp_path, PLAN)
    (folder / "train.csv").unlink()
    with pytest.raises(SuiteError, match="no counterpart"):
        breakfast.prepare(folder, False)
    (folder / "test.csv").unlink()
    (folder / breakfast.NATIVE_FOLDER / "P03/cam01/holiday.avi").touch()
    with pytest.raises(SuiteError, match=r"holiday\.avi' is no video of Breakfast"):
        breakfast.prepare(folder, False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SuiteError, match="no videos of P03 to P46"):
        breakfast.prepare(tmp_path / "empty", False)


def test_a_plan_has_no_more_videos_than_participants_and_cameras():
    with pytest.raises(SynthError, match="test list has at most 40 videos of a dish, not 41"):
        layout_of(breakfast.SUITE, Plan(videos=41))
