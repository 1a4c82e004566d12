import json

import pytest
import torch

from tests.support import find
from zoo.card import ClipSpec
from zoo.data import sampling
from zoo.data.records import Span


def videomamba():
    return json.loads(find("videomamba/pipeline.json").read_text())


def umt():
    return json.loads(find("umt/protocol.json").read_text())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_uniform_clips_equal_videomambas():
    rows = videomamba()["sparse_uniform"]
    assert rows
    for row in rows:
        index = sampling.uniform_test(row["video_len"], row["frames"], clip=row["clip"], clips=row["clips"])
        assert index.tolist() == row["index"], row


def test_uniform_clips_equal_umts():
    tables = umt()
    for row in tables["sparse_test"]:
        index = sampling.uniform_test(row["video_len"], row["frames"], clip=row["clip"], clips=row["segments"])
        assert index.tolist() == row["index"], row
    for row in tables["sparse_val"]:
        assert sampling.uniform_test(row["video_len"], row["frames"]).tolist() == row["index"], row
    assert tables["sparse_test"]
    assert tables["sparse_val"]


def test_dense_clips_equal_videomambas():
    rows = videomamba()["dense"]
    assert {row["mode"] for row in rows} == {"test", "validation"}
    for row in rows:
        length, frames, stride = row["video_len"], row["frames"], row["stride"]
        if row["mode"] == "test":
            index = sampling.dense_test(length, frames, stride=stride, clip=row["clip"], clips=row["clips"])
        else:
            index = sampling.dense_validation_as_published(length, frames, stride=stride)
        assert index.tolist() == row["index"], row


def test_segments_equal_videomambas_and_umts():
    for row in videomamba()["ssv2_segments"]:
        if row["mode"] == "test":
            index = sampling.segments_test(row["video_len"], row["frames"], clip=row["clip"], clips=row["clips"])
        else:
            index = sampling.segments_centre(row["video_len"], row["frames"])
        assert index.tolist() == row["index"], row
    rows = umt()["ssv2_test"]
    assert rows
    for row in rows:
        for clip, expected in row["index"].items():
            assert sampling.segments_test(row["video_len"], row["frames"], clip=int(clip)).tolist() == expected, row


def test_interval_middles_equal_umts():
    rows = umt()["multimodal_middle"]
    assert rows
    for row in rows:
        assert sampling.interval_middles(row["video_len"], row["frames"]).tolist() == row["index"], row


def test_long_video_windows_equal_videomambas():
    rows = videomamba()["lvu_windows"]
    assert rows
    for row in rows:
        windows = sampling.window_seconds(row["duration"], window_s=row["trimmed"], stride_s=row["time_stride"])
        assert [list(window) for window in windows] == row["windows"]
        for window, clips in zip(windows, row["index"], strict=True):
            for clip, expected in enumerate(clips):
                part = Span(*window).frames(row["video_len"], row["fps"])
                index = sampling.uniform_test(len(part), row["frames"], clip=clip, clips=row["clips"])
                assert (part.start + index).tolist() == expected


def test_vjepas_windows_equal_its_own():
    rows = json.loads(find("vjepa/v1_clip_indices.json").read_text())["cases"]
    assert {row["allow_overlap"] for row in rows} == {True, False}
    for row in rows:
        frames, stride = row["frames_per_clip"], row["frame_step"]
        if row["duration"]:
            stride = sampling.stride_of_duration(row["duration"], row["fps"], frames)
        for clip, expected in enumerate(row["indices"]):
            index = sampling.vjepa_window(
                row["video_len"],
                frames,
                stride=stride,
                clip=clip,
                clips=row["num_clips"],
                allow_overlap=row["allow_overlap"],
            )
            assert index.tolist() == expected, row


def test_vjepas_random_windows_stay_in_their_part_of_the_video_and_reach_its_ends():
    draws = [sampling.vjepa_window(40, 4, stride=2, clip=1, clips=2, generator=seeded(seed)) for seed in range(300)]
    fixed = sampling.vjepa_window(40, 4, stride=2, clip=1, clips=2)
    starts = torch.stack([index[0] for index in draws])
    # Ends are drawn from [window, part): the authors never take the last frames of a part.
    assert set(starts.tolist()) == set(range(20, 32))
    assert all(torch.equal(index - index[0], fixed - fixed[0]) for index in draws)


def test_specs_choose_vjepas_rule_at_random_in_training_and_with_overlap_in_evaluation():
    spec = ClipSpec(num_frames=16, sampling="vjepa", stride=4, img_size=24, clips=8)
    for clip in (0, 7):
        expected = sampling.vjepa_window(100, 16, stride=4, clip=clip, clips=8, allow_overlap=True)
        assert torch.equal(sampling.eval_index(spec, 100, clip=clip), expected)
    draws = [sampling.train_index(spec, 300, generator=seeded(seed)) for seed in range(20)]
    assert len({int(index[0]) for index in draws}) > 10
    whole = sampling.vjepa_window(40, 16, stride=4)
    assert torch.equal(sampling.train_index(spec, 40, generator=seeded()), whole)


def test_random_uniform_frames_cover_their_segments_both_ends_included():
    edges = torch.arange(9, dtype=torch.float64).mul(299 / 8).round()
    draws = torch.stack([sampling.uniform_train(300, 8, generator=seeded(seed)) for seed in range(3000)])
    assert torch.equal(draws.amin(0).double(), edges[:-1])
    assert torch.equal(draws.amax(0).double(), edges[1:])


def test_random_segment_frames_stay_in_their_segments():
    draws = torch.stack([sampling.segments_train(67, 8, generator=seeded(seed)) for seed in range(500)])
    starts = 8 * torch.arange(8)
    assert torch.equal(draws.amin(0), starts)
    assert torch.equal(draws.amax(0), starts + 7)


def test_random_dense_windows_reach_both_ends_of_the_video():
    draws = torch.stack([sampling.dense_train(40, 8, stride=4, generator=seeded(seed)) for seed in range(500)])
    assert set(draws[:, 0].tolist()) == set(range(9))
    assert (draws.diff(dim=1) == 4).all()


@pytest.mark.parametrize("sampling_name", ["dense", "uniform", "segments", "vjepa"])
@pytest.mark.parametrize("video_len", [1, 2, 7, 8, 9, 33])
def test_every_rule_gives_frames_of_the_video_whatever_its_length(sampling_name, video_len):
    spec = ClipSpec(num_frames=8, sampling=sampling_name, stride=3, img_size=24, clips=2)
    clips = [sampling.eval_index(spec, video_len, clip=clip) for clip in range(2)]
    clips += [sampling.train_index(spec, video_len, generator=seeded(seed)) for seed in range(20)]
    for index in clips:
        assert index.dtype == torch.int64
        assert len(index) == 8
        assert 0 <= index.min() <= index.max() < video_len
        assert (index.diff() >= 0).all()


def test_a_clip_as_long_as_the_video_is_the_video_under_segments():
    spec = ClipSpec(num_frames=16, sampling="segments", img_size=24)
    assert sampling.eval_index(spec, 16, clip=0).tolist() == list(range(16))
    assert sampling.train_index(spec, 16, generator=seeded()).tolist() == list(range(16))


def test_one_dense_test_clip_lies_in_the_middle():
    assert sampling.dense_test(100, 4, stride=5).tolist() == [40, 45, 50, 55]


def test_equal_seeds_give_equal_clips():
    first, again, other = (sampling.uniform_train(300, 16, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_impossible_requests_name_their_numbers():
    with pytest.raises(ValueError, match="video of 0"):
        sampling.uniform_test(0, 8)
    with pytest.raises(ValueError, match="no test clip 4 of 4"):
        sampling.uniform_test(30, 8, clip=4, clips=4)
    with pytest.raises(ValueError, match="1 or 2 test clips, not 4"):
        sampling.segments_test(30, 8, clip=0, clips=4)
    with pytest.raises(ValueError, match="stride must be at least 1 frame, got 0"):
        sampling.dense_test(30, 8, stride=0)
    with pytest.raises(ValueError, match="window -1"):
        sampling.window_seconds(10, window_s=-1, stride_s=1)


def test_a_last_window_of_exactly_half_a_length_is_kept():
    windows = sampling.window_seconds(62, window_s=60, stride_s=16)
    assert windows == [(0, 60), (16, 62), (32, 62)]


@pytest.mark.parametrize(("length", "starts"), [(300, [0, 56, 116, 176, 236]), (250, [0, 44, 92, 140, 188])])
def test_videomaes_windows_begin_at_every_fourth_frame(length, starts):
    # By hand: 75 (63) frames are kept, windows of 16 begin at int(59 c / 4) (int(47 c / 4)) of them.
    spec = ClipSpec(num_frames=16, sampling="strided", stride=4, img_size=8, clips=5)
    found = [sampling.eval_index(spec, length, clip=clip).tolist() for clip in range(5)]
    assert found == [list(range(start, start + 64, 4)) for start in starts]


def test_videomaes_short_videos_repeat_the_last_frame_that_was_kept():
    assert sampling.strided_test(10, 5, stride=4, clip=1, clips=2).tolist() == [0, 4, 8, 8, 8]
    assert sampling.strided_test(40, 2, stride=4).tolist() == [16, 20]


def test_the_stride_of_a_duration_is_rounded_down():
    assert [sampling.stride_of_duration(2, 30, frames) for frames in (16, 15, 100)] == [3, 4, 1]
