import numpy as np
import pytest
import torch

from backbones.vit import vit_pico
from benchmarks.gallery import Gallery, in_unit_range, pixels
from tests.benchmarks.tiny_suite import SUITE, TinyVideos
from zoo.card import ClipSpec
from zoo.data.loading import UnreadableVideoError

SPEC = ClipSpec(num_frames=16, sampling="segments", img_size=24)


def gallery(folder, broken=()):
    videos = TinyVideos(folder, broken)
    return Gallery(SUITE, videos, videos.cache())


def test_some_clips_of_every_task_are_taken_and_unreadable_ones_named(tmp_path):
    clips, failed = gallery(tmp_path, ("test-3.mp4",)).some(SPEC)
    assert clips.shape == (2 * 15, 3, 16, 24, 24)
    assert [it.rpartition("/")[2] for it in failed] == ["test-3.mp4: damaged"] * 2
    with pytest.raises(UnreadableVideoError, match="no test video"):
        gallery(tmp_path / "none", tuple(f"test-{row}.mp4" for row in range(16))).some(SPEC)


def test_the_next_clip_that_can_be_read_stands_in_for_an_unreadable_one(tmp_path):
    whole, lacking = gallery(tmp_path / "a"), gallery(tmp_path / "b", ("test-8.mp4",))
    task = SUITE.tasks[0]
    assert torch.equal(lacking.one(task, SPEC, 0.5), whole.one(task, SPEC, 9 / 16))
    assert not torch.equal(lacking.one(task, SPEC, 0.5), whole.one(task, SPEC, 0.5))


def test_features_are_painted_over_the_clip_that_they_are_of(tmp_path):
    shown = gallery(tmp_path)
    made = shown.features(vit_pico(depth=1), SUITE.tasks[0], SPEC)
    clip = shown.one(SUITE.tasks[0], SPEC, 0.5)[None]
    np.testing.assert_array_equal(made["clip"], pixels(in_unit_range(clip, SPEC))[0])
    assert made["features"].shape == made["clip"].shape
    # One colour per token of 8 x 8 pixels.
    assert (made["features"][:, :8, :8] == made["features"][:, :1, :1]).all()
