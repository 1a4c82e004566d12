from pathlib import Path

import pytest

from benchmarks.listed import ListedVideos, hash_of
from zoo.data.records import Record, Span

FOLDER = Path("/videos")
TRAIN = [Record(FOLDER / "a.mp4", 0, 0), Record(FOLDER / "b.mp4", 1, 1, Span(0, 2)), Record(FOLDER / "a.mp4", 1, 2)]


def listed(train=TRAIN, folder=FOLDER):
    lists = {("t", "train"): train, ("t", "test"): [Record(folder / "test.mp4", 0, 0)]}
    return ListedVideos(folder=folder, lists=lists, names={"t": ("no", "yes")})


def test_pretraining_takes_each_part_of_a_training_video_once_and_no_label():
    assert [record[:4] for record in listed().pretraining()] == [
        (FOLDER / "a.mp4", -1, 0, None),
        (FOLDER / "b.mp4", -1, 1, Span(0, 2)),
    ]


def test_the_split_hash_does_not_depend_on_where_the_videos_lie():
    moved = [record._replace(path=Path("/elsewhere") / record.path.name) for record in TRAIN]
    assert listed(moved, Path("/elsewhere")).split_hash("t", "train") == listed().split_hash("t", "train")


@pytest.mark.parametrize(
    "change",
    [
        {"label": 0},
        {"span": None},
        {"span": Span(0, 2, "frames")},
        {"target": 1.0},
        {"row": 0},
        {"path": FOLDER / "c.mp4"},
    ],
)
def test_the_split_hash_changes_with_whatever_changes_a_number(change):
    changed = [TRAIN[0], TRAIN[1]._replace(**change), TRAIN[2]]
    assert listed(changed).split_hash("t", "train") != listed().split_hash("t", "train")


def test_a_list_is_hashed_by_the_names_it_is_given():
    assert hash_of(TRAIN, lambda path: path.name) == listed().split_hash("t", "train")
    assert hash_of(TRAIN, lambda path: path.stem) != listed().split_hash("t", "train")


def test_a_list_that_does_not_exist_names_the_closest():
    with pytest.raises(KeyError, match="did you mean 't/train'"):
        listed().records("t", "trian")


def test_a_list_is_read_once_and_only_when_it_is_asked_for():
    read = []

    def late():
        read.append(1)
        return TRAIN

    videos = ListedVideos(folder=FOLDER, lists={("t", "train"): late, ("t", "test"): TRAIN[:1]}, names={})
    assert videos.records("t", "test") == TRAIN[:1]
    assert not read
    assert videos.records("t", "train") == videos.records("t", "train") == TRAIN
    assert read == [1]
