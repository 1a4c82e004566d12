"""Headers of compressed units, on streams that x264, x265 and libvpx wrote."""

import av
import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import sound_file
from tests.zoo.data.corpus_hostile import REFUSED
from zoo.data.bitstreams import Bits, classifier, setups, sound


def _packets(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(stream) if p.size]
        return stream.codec.canonical_name, context.extradata, packets


def _pictures(path):
    codec, extradata, packets = _packets(path)
    return [classifier(codec, extradata)(*packet) for packet in packets]


def _types(path):
    with av.open(str(path)) as container:
        return [av.video.frame.PictureType(frame.pict_type).name for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_mkv", "h264_ts", "h264_raw", "many_slices"])
def test_h264_starts_are_the_instantaneous_refreshes(kind):
    pictures = _pictures(sound_file(kind))
    assert [i for i, picture in enumerate(pictures) if picture.start] == [0, 12, 24, 36]
    disposable = sum(picture.disposable for picture in pictures)
    assert 0 < disposable <= _types(sound_file(kind)).count("B")


def test_h264_recovery_points_are_no_starts():
    codec, extradata, packets = _packets(sound_file("open_gops"))
    assert sum(key for _, key in packets) > 1
    assert sum(classifier(codec, extradata)(*packet).start for packet in packets) == 1


@pytest.mark.parametrize("kind", ["hevc_mp4", "hevc_ts", "hevc_raw"])
def test_hevc_starts_are_random_access_pictures_and_nothing_is_disposable(kind):
    pictures = _pictures(sound_file(kind))
    assert sum(picture.start for picture in pictures) == 4
    assert not any(picture.disposable for picture in pictures)


def test_vp8_tells_hidden_frames():
    pictures = _pictures(sound_file("vp8_webm_with_hidden_frames"))
    assert [i for i, picture in enumerate(pictures) if not picture.shown] == list(range(3, 60, 5))


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_raw", "mpeg4_avi", "vp9_webm", "vp9_mp4"])
def test_a_steady_size_is_described_once(kind):
    codec, extradata, packets = _packets(sound_file(kind))
    assert len({setup for data, _ in packets for setup in setups(codec, extradata)(data)}) <= 1


@pytest.mark.parametrize("kind", ["size_change_mp4", "size_change_raw", "size_change_webm"])
def test_a_changed_size_is_described_twice(kind, tmp_path):
    codec, extradata, packets = _packets(REFUSED[kind](tmp_path))
    assert len({setup for data, _ in packets for setup in setups(codec, extradata)(data)}) == 2


def test_vp9_sizes_are_those_of_the_frames():
    codec, extradata, packets = _packets(sound_file("vp9_webm"))
    assert setups(codec, extradata)(packets[0][0]) == [(63).to_bytes(2, "big") * 2]


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_ts", "hevc_mp4", "hevc_raw", "vp9_webm", "av1_mp4", "many_slices"])
def test_encoders_write_what_counts_as_sound(kind):
    codec, extradata, packets = _packets(sound_file(kind))
    assert all(sound(codec, extradata)(data) for data, _ in packets)


@pytest.mark.parametrize("kind", ["h264_mp4", "hevc_mp4"])
@pytest.mark.parametrize("hole", [4, 40])
def test_zeros_inside_a_unit_are_no_picture(kind, hole):
    codec, extradata, packets = _packets(sound_file(kind))
    data = bytearray(max(packets)[0])
    check = sound(codec, extradata)
    for place in (0, len(data) // 2, len(data) - hole - 1):
        damaged = bytes(data[:place]) + bytes(hole) + bytes(data[place + hole :])
        assert not check(damaged), place
    assert not check(bytes(data[:-1]))
    assert not check(bytes(data) + b"\0\0\0\1")


@pytest.mark.parametrize("kind", ["vp9_webm", "av1_mp4", "vp8_webm"])
def test_long_holes_are_no_picture_in_other_codecs_either(kind):
    codec, extradata, packets = _packets(sound_file(kind))
    data = max(packets, key=lambda packet: len(packet[0]))[0]
    assert not sound(codec, extradata)(data[:100] + bytes(256) + data[356:])


def test_bits_are_read_from_the_left():
    bits = Bits(bytes([0b10100110, 0b01000000]))
    assert [bits.take(1), bits.take(3), bits.take(4)] == [1, 2, 6]
    assert Bits(bytes([0b1_010_011_0, 0b0100_0000])).exp_golomb() == 0
    bits = Bits(bytes([0b1_010_011_0, 0b0100_0000]))
    assert [bits.exp_golomb() for _ in range(4)] == [0, 1, 2, 3]
    assert Bits(b"").exp_golomb() == 0
    assert Bits(b"\0").take(12) == 0
