import csv
import itertools
import logging
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from zoo.data import digits
from zoo.data.decode import probe
from zoo.data.digits import SPLITS, TASKS, Sizes, ensure_digits, generator_parameters, split_images

SMALL = Sizes(appearance=(40, 20), motion=(40, 20), order=(24, 12))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def suite(root):
    return ensure_digits(root, sizes=SMALL, progress=False)


@pytest.fixture(scope="module")
def cache(suite):
    return suite.cache(progress=False)


def facts(suite, task, split):
    with open(suite.folder / task / f"{split}_scenes.csv") as file:
        return list(csv.DictReader(file))


def lists():
    return list(itertools.product(TASKS, SPLITS))


@pytest.mark.parametrize(("task", "split"), lists())
def test_lists_are_kinetics_style_and_balanced(suite, task, split):
    records = suite.records(task, split)
    lines = (suite.folder / task / f"{split}.csv").read_text().splitlines()
    assert lines == [f"{record.path.relative_to(suite.folder / task)} {record.label}" for record in records]
    assert len(records) == SMALL.of(task, split)
    assert len(set(Counter(record.label for record in records).values())) == 1


def test_every_clip_is_a_real_h264_file_of_the_stated_size(suite, cache):
    for task, split in lists():
        for record in suite.records(task, split):
            length = 64 if task == "order" else 16
            assert cache.read(record.path).shape == (length, 24, 24, 3)
        index = probe(suite.records(task, split)[0].path)
        assert (index.codec, index.num_frames, index.fps) == ("h264", length, 8)
        assert index.times[0] == 0


@pytest.mark.parametrize("task", ["motion", "order"])
def test_where_time_is_the_question_every_frame_is_coded_on_its_own(suite, task):
    index = probe(suite.records(task, "test")[0].path)
    assert len(index.key_frames) == index.num_frames


def test_appearance_is_coded_with_predicted_frames(suite):
    assert len(probe(suite.records("appearance", "test")[0].path).key_frames) == 2


@pytest.mark.parametrize("split", SPLITS)
def test_the_two_directions_of_a_motion_decode_to_the_same_frames_reversed(suite, cache, split):
    records = suite.records("motion", split)
    for forward, backward in zip(records[::2], records[1::2], strict=True):
        assert backward.label == forward.label + 1
        assert forward.label % 2 == 0
        assert np.array_equal(cache.read(forward.path), cache.read(backward.path)[::-1])


@pytest.mark.parametrize("split", SPLITS)
def test_the_six_orders_of_a_scene_decode_to_the_same_frames(suite, cache, split):
    records = suite.records("order", split)
    for start in range(0, len(records), 6):
        scene = records[start : start + 6]
        assert [record.label for record in scene] == list(range(6))
        clips = [cache.read(record.path) for record in scene]
        # Every fourth frame is what a clip of 16 frames sees.
        for stride, offset in ((1, 0), (4, 2)):
            frames = [sorted(frame.tobytes() for frame in clip[offset::stride]) for clip in clips]
            assert all(other == frames[0] for other in frames[1:])
        assert all(np.array_equal(clip[:4], clips[0][:4]) for clip in clips)
        assert len({clip.tobytes() for clip in clips}) == 6


def test_digit_images_of_train_and_test_are_disjoint_in_every_file(suite):
    shown = {split: {row["image"] for task in TASKS for row in facts(suite, task, split)} for split in SPLITS}
    assert shown["train"]
    assert not shown["train"] & shown["test"]


def test_every_digit_image_belongs_to_one_split():
    numbers = [split_images(split, seed=0).number for split in SPLITS]
    assert sorted(torch.cat(numbers).tolist()) == list(range(1797))
    assert 2 * len(numbers[1]) == pytest.approx(len(numbers[0]), abs=10)
    train = split_images("train", seed=0)
    assert torch.equal(train.label, torch.from_numpy(load_digits().target)[train.number])
    assert (train.label.bincount() > 100).all()


def test_labels_of_appearance_are_the_digits_shown(suite):
    targets = load_digits().target
    for split in SPLITS:
        for row in facts(suite, "appearance", split):
            assert int(row["label"]) == int(row["digit"]) == targets[int(row["image"])]


def test_pretraining_sees_the_train_clips_of_all_tasks_without_labels(suite):
    records = suite.pretraining()
    assert [record.row for record in records] == list(range(len(records)))
    assert {record.label for record in records} == {-1}
    train = {record.path for task in TASKS for record in suite.records(task, "train")}
    assert {record.path for record in records} == train
    assert len(records) == len(train)


@pytest.mark.slow
def test_rendering_again_elsewhere_gives_the_same_bytes(suite, tmp_path):
    again = ensure_digits(tmp_path, sizes=SMALL, progress=False, workers=1)
    assert again.folder.name == suite.folder.name
    assert again.manifest["content"] == suite.manifest["content"]


def test_a_finished_suite_is_not_rendered_again(suite, root, monkeypatch):
    monkeypatch.setattr(digits, "write_video", None)
    assert ensure_digits(root, sizes=SMALL, progress=False) == suite


def test_other_parameters_are_another_suite(monkeypatch):
    def name(sizes=SMALL, seed=0):
        return digits._digest(generator_parameters(sizes, seed))

    first = name()
    assert name() == first
    assert name(seed=1) != first
    assert name(sizes=Sizes()) != first
    monkeypatch.setattr(digits.scenes, "NOISE", 0.5)
    assert name() != first


def test_the_suite_lies_under_zoo_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    suite = ensure_digits(sizes=Sizes(appearance=(10, 10), motion=(10, 10), order=(6, 6)), progress=False)
    assert suite.folder.parent == tmp_path
    monkeypatch.delenv("ZOO_CACHE")
    assert digits.cache_root().parts[-2:] == (".cache", "video-backbone-zoo")


@pytest.mark.parametrize(
    "damage", [pytest.param("video", marks=pytest.mark.slow), "list", pytest.param("manifest", marks=pytest.mark.slow)]
)
def test_a_damaged_suite_is_rendered_again_with_a_word_about_it(tmp_path, caplog, damage):
    sizes = Sizes(appearance=(10, 10), motion=(10, 10), order=(6, 6))
    suite = ensure_digits(tmp_path, sizes=sizes, progress=False)
    if damage == "video":
        suite.records("motion", "test")[3].path.write_bytes(b"")
    elif damage == "list":
        (suite.folder / "motion" / "train.csv").write_text("test/00000.mp4 1\n")
    else:
        (suite.folder / "manifest.json").unlink()
    with caplog.at_level(logging.WARNING):
        again = ensure_digits(tmp_path, sizes=sizes, progress=False)
    assert "again" in caplog.text
    assert again.manifest["content"] == suite.manifest["content"]
    assert len(again.records("motion", "train")) == 10
    assert [path.name for path in tmp_path.iterdir()] == [suite.folder.name]


def test_an_interrupted_rendering_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(digits, "write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_digits(tmp_path, sizes=SMALL, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_split_hashes_tell_lists_and_contents_apart(suite):
    hashes = [suite.split_hash(task, split) for task, split in lists()]
    assert len(set(hashes)) == 6
    assert all(len(name) == 64 for name in hashes)


def test_impossible_requests_name_the_possible_ones(suite):
    with pytest.raises(ValueError, match="multiples of 6, got"):
        Sizes(order=(20, 12))
    with pytest.raises(ValueError, match="'appearance', 'motion', 'order'"):
        suite.records("colour", "test")
    with pytest.raises(ValueError, match="'train', 'test'"):
        split_images("val", seed=0)
