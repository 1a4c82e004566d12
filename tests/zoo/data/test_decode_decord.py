"""decord agrees with PyAV on every file it is offered for, and is refused by name for all others."""

import dataclasses
import platform
import sys

import numpy as np
import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import COUNT, SOUND, numbers, patch, plain, sound_file
from zoo.data import decode_decord
from zoo.data.decode import DecodeError, Limits, probe, read_frames

OFFERED = {
    "h264_mp4",
    "h264_mkv",
    "h264_mov",
    "vp9_webm",
    "vp9_mp4",
    "mpeg4_mp4",
    "late_start_mp4",
    "late_start_mkv",
    "negative_offsets_mp4",
    "ntsc_rate",
    "fragmented_mp4",
    "moov_first",
    "junk_after_the_end",
    "one_gop",
    "all_intra",
    "deep_pyramid",
    "many_slices",
    "interlaced_coding",
    "baseline_without_cabac",
    "full_range_pixels",
    "gray_pixels",
    "container_claims_65535_x_65535",
    "with_sound",
    "names_that_are_not_utf_8",
}

# Files it is offered for by rule, and refuses itself.
REFUSED_BY_DECORD = {"live_webm_without_cues_or_sizes"}

needs_decord = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="decord has builds for Linux on x86-64 only"
)


@needs_decord
@pytest.mark.parametrize("kind", sorted(OFFERED))
def test_offered_files_give_the_same_frames_as_pyav(kind):
    path, asked = sound_file(kind), [40, 3, 17, 17, 30, 0, 47]
    whole, sparse = read_frames(path, decoder="decord"), read_frames(path, asked, decoder="decord")
    assert numbers(whole) == list(range(COUNT))
    assert numbers(sparse) == asked
    # Its FFmpeg of 2021 rounds colors of interlaced pictures differently by one.
    assert np.abs(whole.astype(int) - read_frames(path)).max() <= (1 if kind == "interlaced_coding" else 0)
    assert sparse.shape == read_frames(path, asked).shape


@needs_decord
@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(OFFERED))
def test_random_selections_agree(kind):
    path, generator = sound_file(kind), np.random.default_rng(0)
    for _ in range(12):
        asked = generator.integers(0, COUNT, generator.integers(1, 9)).tolist()
        assert numbers(read_frames(path, asked, decoder="decord")) == asked


@pytest.mark.slow
@needs_decord
@pytest.mark.parametrize("kind", sorted(set(SOUND) - OFFERED - REFUSED_BY_DECORD))
def test_other_files_are_refused_by_name(kind):
    for indices in (None, [3, 30]):
        with pytest.raises(DecodeError, match=r"/a\.\w+': not offered to decord: \w+"):
            read_frames(sound_file(kind), indices, decoder="decord")


@needs_decord
@pytest.mark.parametrize("kind", sorted(REFUSED_BY_DECORD))
def test_its_own_refusals_name_the_file(kind):
    with pytest.raises(DecodeError, match=r"/a\.\w+': decord: DECORDError"):
        read_frames(sound_file(kind), decoder="decord")


REASONS = {
    "hevc_mp4": "the codec is hevc, not one of h264, vp9, mpeg4",
    "h264_ts": "the container is mpegts",
    "negative_times_mkv": "times are missing, negative or irregular",
    "variable_rate_mp4": "times are missing, negative or irregular",
    "two_video_tracks": "2 video tracks",
    "edit_list_ending_early": "12 of its 60 packets are not shown",
    "edit_list_hiding_12_frames": "header claims 60 frames, it has 48 packets",
    "open_gops": "cannot start cleanly at all of its key frames",
    "mpeg4_mp4_with_b_frames": "cannot start cleanly at all of its key frames",
    "h264_10_bit": "stored as yuv420p10le",
}


@needs_decord
@pytest.mark.parametrize("kind", REASONS)
def test_the_refusal_says_why(kind):
    with pytest.raises(DecodeError, match=REASONS[kind]):
        read_frames(sound_file(kind), decoder="decord")


@needs_decord
@pytest.mark.parametrize("quarter", [(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)], ids=["90", "180", "270"])
def test_both_turn_pictures_the_same_way(quarter, tmp_path):
    a, b, c, d = (sign << 16 for sign in quarter)
    path = patch(plain(tmp_path / "a.mp4"), "moov/trak/tkhd", 40, ">5i", a, b, 0, c, d)
    np.testing.assert_array_equal(read_frames(path, [3, 40], decoder="decord"), read_frames(path, [3, 40]))


@needs_decord
def test_mirrored_pictures_are_refused(tmp_path):
    path = patch(plain(tmp_path / "a.mp4"), "moov/trak/tkhd", 40, ">5i", -65536, 0, 0, 0, 65536)
    with pytest.raises(DecodeError, match="mirrored"):
        read_frames(path, decoder="decord")


@needs_decord
def test_the_same_limits_hold():
    path = sound_file("h264_mp4")
    with pytest.raises(DecodeError, match=r"outside 0\.\.47"):
        read_frames(path, [-1], decoder="decord")
    with pytest.raises(DecodeError, match="output_pixels"):
        read_frames(path, decoder="decord", limits=Limits(output_pixels=64))
    with pytest.raises(DecodeError, match="frame_pixels"):
        read_frames(path, decoder="decord", limits=Limits(frame_pixels=64))


@needs_decord
def test_an_answer_that_contradicts_the_index_is_refused():
    index = dataclasses.replace(probe(sound_file("h264_mp4")), num_frames=47)
    with pytest.raises(DecodeError, match="finds 48 frames"):
        read_frames(sound_file("h264_mp4"), [3], decoder="decord", index=index)


def test_other_machines_are_told_plainly(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(ImportError, match=r"Linux on x86-64 only, not for \w+ on arm64; use decoder='pyav'"):
        read_frames("a.mp4", decoder="decord")


@needs_decord
def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(decode_decord.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install decord"):
        read_frames("a.mp4", decoder="decord")
