"""The suite leaks nothing: neither frames without their order nor the first frame alone tell what only time can tell.

The probes get what the controls of a comparison get, clips of 16 frames as decoded from the rendered files.
"""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.suites import digits
from benchmarks.suites.digits import MOTION, ORDER, SMOKE, SMOKE_SIZES, SUITE
from tests.digits_suite import rendered
from zoo.card import ClipSpec
from zoo.data.digits import Sizes, ensure_digits
from zoo.data.sampling import eval_index

CLIP = ClipSpec(num_frames=16, sampling="dense", img_size=24)
SMALL = Sizes(appearance=(10, 10), motion=(120, 80), order=(6, 6))


def clips(suite, cache, task, split):
    """Clips uint8 `[videos, 16, 24, 24, 3]` and labels."""
    records = suite.records(task.name, split)
    index = eval_index(task.clip_spec(CLIP), task.num_frames, clip=0).tolist()
    videos = np.stack([cache.read(record.path, index) for record in records])
    return torch.from_numpy(videos), np.array([record.label for record in records])


def frame_features(videos):
    """Responses of random filters to each frame, rectified: a strong description without any training."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(48, 3, 5, 5, generator=generator) / 75**0.5
    second = torch.randn(64, 48, 3, 3, generator=generator) / 432**0.5
    frames = videos.flatten(0, 1).permute(0, 3, 1, 2).float() / 255 - 0.45
    deep = F.conv2d(F.conv2d(frames, first, stride=2, padding=2).relu(), second, stride=2, padding=1).relu()
    return deep.flatten(1).unflatten(0, videos.shape[:2])


def bag_of_frames(videos):
    """What frames without their order can tell: mean, spread and extremes of each feature over the frames."""
    features = torch.cat([frame_features(part) for part in videos.split(100)])
    features = features.sort(1).values  # the same numbers, whatever order the frames came in
    return torch.cat([features.mean(1), features.std(1), features[:, 0], features[:, -1]], 1).numpy()


def first_frame(videos):
    """The pixels of the first frame."""
    return videos[:, 0].flatten(1).float().numpy()


def hits(describe, train, test):
    """Right answers of a linear probe on what `describe` gives."""
    probe = make_pipeline(PCA(50, whiten=True, random_state=0), LogisticRegression(C=0.1, max_iter=1000))
    probe.fit(describe(train[0]), train[1])
    return probe.predict(describe(test[0])) == test[1]


def lower_end(hits):
    """Lower end of the 95 % interval of the accuracy, by bootstrap over videos."""
    generator = np.random.default_rng(0)
    draws = generator.integers(len(hits), size=(2000, len(hits)))
    return float(np.quantile(hits[draws].mean(1), 0.025))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("cache"), SMALL)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("cache"), Sizes())


def check_leaks(task, suite, cache):
    train, test = (clips(suite, cache, task, split) for split in ("train", "test"))
    for control, describe in (("bag of frames", bag_of_frames), ("first frame", first_frame)):
        answers = hits(describe, train, test)
        print(f"leak {task.name}, {control}: accuracy {answers.mean():.3f}, lower end {lower_end(answers):.3f}")
        assert lower_end(answers) <= task.leak_bounds[control], control


@pytest.mark.slow
def test_frames_without_order_and_first_frames_tell_nothing_about_time(small):
    check_leaks(MOTION, *small)


@pytest.mark.slow
@pytest.mark.parametrize("task", [MOTION, ORDER], ids=lambda task: task.name)
def test_the_whole_suite_tells_nothing_about_time_without_order(full, task):
    check_leaks(task, *full)


@pytest.mark.slow
def test_the_probe_is_strong_enough_to_find_a_leak(small):
    """A mark of four pixels in the first frame of one direction does not escape the controls."""
    train, test = (clips(*small, MOTION, split) for split in ("train", "test"))
    for videos, labels in (train, test):
        videos[torch.from_numpy(labels % 2 == 1), 0, :2, :2] = 255
    assert lower_end(hits(bag_of_frames, train, test)) > MOTION.leak_bounds["bag of frames"]
    marked = [(videos, labels % 2) for videos, labels in (train, test)]
    assert lower_end(hits(first_frame, *marked)) > 0.9


@pytest.mark.slow
def test_a_bag_of_frames_knows_which_pair_of_motions_it_sees(small):
    """It is not blind, only to order: the bound of one half is nearly reached by what pairs look like."""
    train, test = (clips(*small, MOTION, split) for split in ("train", "test"))
    pairs = [(videos, labels // 2) for videos, labels in (train, test)]
    assert hits(bag_of_frames, *pairs).mean() > 0.5


@pytest.mark.slow
def test_the_controls_describe_the_clips_of_one_scene_alike(small):
    videos, _ = clips(*small, MOTION, "test")
    bags = bag_of_frames(videos)
    assert np.allclose(bags[::2], bags[1::2], atol=1e-5)
    orders, _ = clips(*small, ORDER, "test")
    bags = bag_of_frames(orders)
    assert all(np.allclose(bags[::6], bags[place::6], atol=1e-5) for place in range(1, 6))
    assert all(np.array_equal(first_frame(orders)[::6], first_frame(orders)[place::6]) for place in range(1, 6))


def test_the_constants_of_the_suite_are_those_of_its_videos(tmp_path):
    suite = ensure_digits(tmp_path, sizes=Sizes(appearance=(10, 10), motion=(20, 20), order=(6, 6)), progress=False)
    cache = suite.cache(progress=False)
    assert [task.name for task in SUITE.tasks] == ["appearance", "motion", "order"]
    for task in SUITE.tasks:
        records = suite.records(task.name, SUITE.test_split)
        assert {record.label for record in records} == set(range(task.num_classes))
        assert cache.num_frames(records[0].path) == task.num_frames
        assert task.chance == pytest.approx(1 / task.num_classes)


def test_the_bounds_are_those_of_the_issue():
    assert MOTION.ceiling == 0.5
    assert ORDER.ceiling == pytest.approx(1 / 6)
    assert MOTION.leak_bounds == {"bag of frames": 0.5, "first frame": 0.5}
    assert ORDER.leak_bounds == {"bag of frames": ORDER.chance, "first frame": ORDER.chance}


def test_networks_see_whole_clips_of_motion_and_every_fourth_frame_of_order_without_flips():
    flipping = dataclasses.replace(CLIP, clips=4, crops=3)
    for task in SUITE.tasks:
        spec = task.clip_spec(flipping)
        assert (spec.sampling, spec.clips, spec.crops, spec.flip) == ("segments", 1, 1, False)
        assert (spec.num_frames, spec.img_size, spec.mean) == (16, 24, CLIP.mean)
    assert eval_index(MOTION.clip_spec(CLIP), 16, clip=0).tolist() == list(range(16))
    assert eval_index(ORDER.clip_spec(CLIP), 64, clip=0).tolist() == list(range(2, 64, 4))


def test_the_smoke_suite_is_another_suite_with_the_same_tasks(tmp_path, monkeypatch):
    assert SMOKE_SIZES.of("order", "test") == 60
    monkeypatch.setattr(digits, "SMOKE_SIZES", Sizes(appearance=(10, 10), motion=(10, 10), order=(6, 6)))
    assert len(SMOKE.prepare(tmp_path, False).records("order", "test")) == 6
    assert SMOKE.tasks == SUITE.tasks
    assert SMOKE.name != SUITE.name
