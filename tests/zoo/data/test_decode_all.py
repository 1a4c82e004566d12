"""Decoding everything and keeping nothing: long files pass, damage anywhere does not."""

import pytest

from tests.zoo.data.corpus import COUNT, plain, sound_file
from tests.zoo.data.corpus_hostile import REFUSED
from zoo.data.decode import DecodeError, Limits, decode_all, probe, read_frames


@pytest.mark.parametrize("kind", ["h264_mp4", "variable_rate_mkv", "mpeg4_avi"])
def test_a_sound_file_gives_the_index_that_probing_gives(kind):
    found, probed = decode_all(sound_file(kind)), probe(sound_file(kind))
    assert found.num_frames == probed.num_frames == COUNT
    assert (found.height, found.width, found.fps, found.codec) == (64, 64, probed.fps, probed.codec)
    assert found.times.tolist() == probed.times.tolist()


def test_no_frame_is_kept_so_that_long_files_pass():
    with pytest.raises(DecodeError, match="output_pixels"):
        read_frames(sound_file("h264_mp4"), limits=Limits(output_pixels=10))
    assert decode_all(sound_file("h264_mp4"), limits=Limits(output_pixels=10)).num_frames == COUNT


@pytest.mark.parametrize("kind", ["empty", "forty_flipped_bits", "lost_packet_mp4", "mkv_with_one_flipped_bit"])
def test_damage_anywhere_is_found(kind, tmp_path):
    with pytest.raises(DecodeError):
        decode_all(REFUSED[kind](tmp_path))


def test_damage_in_the_last_pictures_is_found_though_the_first_ones_decode(tmp_path):
    path = REFUSED["mp4_with_a_hole"](tmp_path)
    with pytest.raises(DecodeError):
        decode_all(path)


def test_files_without_times_tell_the_rate_that_they_claim(tmp_path):
    index = decode_all(sound_file("mpeg4_avi"))
    assert (index.fps, float(index.declared_rate)) == (0.0, 30.0)
    assert index.duration_s == pytest.approx(COUNT / 30)
    assert probe(plain(tmp_path / "a.mp4", count=15)).duration_s == pytest.approx(0.5)
