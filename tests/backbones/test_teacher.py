import pytest
import torch
from torch.nn import functional as F

from backbones.teacher import Teacher, as_frames, taught_layers


def test_a_teacher_that_teaches_nothing_cannot_be_made():
    with pytest.raises(TypeError, match="forward"):
        type("Silent", (Teacher,), {})()


def test_layers_are_counted_from_the_last_and_ascend():
    assert taught_layers(12, 6, 1) == [6, 7, 8, 9, 10, 11]
    assert taught_layers(4, 2, 2) == [1, 3]
    for wrong in ((3, 4, 1), (3, 0, 1), (3, 2, 0), (3, 2, 3)):
        with pytest.raises(ValueError, match=f"{wrong[0]} blocks does not have {wrong[1]} layers at an interval of"):
            taught_layers(*wrong)


def test_clips_become_images_of_the_size_asked_for():
    video = torch.randn(2, 3, 4, 16, 24)
    frames = as_frames(video, (16, 24))
    assert torch.equal(frames.unflatten(0, (2, 4))[1, 2], video[1, :, 2])
    smaller = as_frames(video, (8, 12))
    expected = F.interpolate(video[1, :, 2][None], size=(8, 12), mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(smaller[4 + 2], expected)
