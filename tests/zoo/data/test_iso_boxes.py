"""Tables of ISO files that contradict the file, each other or the budget. Whole bombs are in test_decode_hostile."""

import struct

import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import SOUND, TABLES, boxes, patch, plain, sound_file
from tests.zoo.data.corpus_forms import sine
from zoo.data.iso_boxes import check_movie
from zoo.data.video_file import DecodeError, Limits, Source


def _check(path, limits=None):
    with Source(path, 20.0) as source:
        check_movie(source, limits or Limits())


def _copy(tmp_path, kind="h264_mp4"):
    (tmp_path / "a.mp4").write_bytes(sound_file(kind).read_bytes())
    return tmp_path / "a.mp4"


@pytest.mark.parametrize("kind", SOUND)
def test_sound_files_pass(kind):
    if sound_file(kind).suffix in (".mp4", ".mov"):
        _check(sound_file(kind))


def test_sound_without_pictures_passes(tmp_path):
    _check(sine(tmp_path / "a.mp4"))


@pytest.mark.parametrize(
    ("box", "offset", "value", "message"),
    [
        ("stts", 8, 47, "48 sizes of samples, but stts has 47"),
        ("ctts", 8, 2, "48 sizes of samples, but ctts has"),
        ("stsc", 12, 7, "48 sizes of samples, but stsc has"),
        ("stsz", 8, 47, "47 sizes of samples, but stts has 48"),
        ("stsz", 8, 48_000, "stsz box is too small for its 48000 entries"),
        ("stsz", 12, 1 << 28, "more bytes of pictures than the file has"),
        ("stco", 4, 3, "48 sizes of samples, but stsc has"),
    ],
)
def test_tables_that_disagree_are_refused(box, offset, value, message, tmp_path):
    path = patch(_copy(tmp_path), f"{TABLES}/{box}", offset, ">I", value)
    with pytest.raises(DecodeError, match=message):
        _check(path)


def test_a_second_table_of_one_kind_is_refused(tmp_path):
    path = patch(_copy(tmp_path), f"{TABLES}/stss", -4, ">I", int.from_bytes(b"stts", "big"))
    with pytest.raises(DecodeError, match="two boxes of the kind stts"):
        _check(path)


def test_boxes_beyond_the_end_and_junk_are_told_apart(tmp_path):
    path = _copy(tmp_path)
    start, end = next(boxes(path.read_bytes(), "moov"))
    patch(path, "moov", -8, ">I", end - start + 8 + 100)
    with pytest.raises(DecodeError, match="cut short: the moov box should end at byte"):
        _check(path)
    _check(sound_file("junk_after_the_end"))


def test_wide_box_sizes_are_read(tmp_path):
    data = bytearray(plain(tmp_path / "a.mp4").read_bytes())
    start, end = next(boxes(bytes(data), "mdat"))
    free = next(boxes(bytes(data), "free"))[0] - 8
    assert free == start - 16  # the muxer leaves room for a wide size
    struct.pack_into(">I4sQ", data, free, 1, b"mdat", end - free)
    (tmp_path / "a.mp4").write_bytes(data)
    _check(tmp_path / "a.mp4")
    struct.pack_into(">Q", data, free + 8, 1 << 40)
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(DecodeError, match="cut short: the mdat box"):
        _check(tmp_path / "a.mp4")


def test_a_damaged_fragment_header_is_refused(tmp_path):
    path = _copy(tmp_path, "fragmented_mp4")
    data = bytearray(path.read_bytes())
    place = data.rindex(b"moof")
    data[place : place + 4] = b"moog"
    path.write_bytes(data)
    with pytest.raises(DecodeError, match="no part of a fragmented file"):
        _check(path)
    data[place - 4 : place + 4] = bytes(8)
    data[place + 20 :] = b""
    path.write_bytes(data)
    with pytest.raises(DecodeError, match=r"no part of a fragmented file|cut short"):
        _check(path)


def test_the_budget_counts_every_track(tmp_path):
    with pytest.raises(DecodeError, match="tables for 96 samples are over the limit of packets=23"):
        _check(sound_file("two_video_tracks"), Limits(packets=23))
    _check(sound_file("two_video_tracks"), Limits(packets=24))


def test_uncompressed_sound_of_many_samples_passes(tmp_path):
    """An hour of stereo at 48 kHz has 172,800,000 samples, which FFmpeg reads in larger pieces."""
    import av
    import numpy as np

    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _check(tmp_path / "a.mov", Limits(packets=1000))
