"""Framing of Matroska, AVI and MPEG-TS files, edited by hand. Random damage is in test_decode_hostile."""

import zlib

import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import SOUND, sound_file
from zoo.data.containers import check_framing
from zoo.data.video_file import DecodeError, Limits, Source

CLUSTER = bytes.fromhex("1F43B675")


def _check(path):
    with Source(path, 20.0) as source:
        return check_framing(source, Limits())


def _edited(tmp_path, kind, edit):
    data = bytearray(sound_file(kind).read_bytes())
    edit(data)
    (tmp_path / "a").write_bytes(data)
    return tmp_path / "a"


@pytest.mark.parametrize("kind", SOUND)
def test_sound_files_pass_and_iso_files_are_told_apart(kind):
    path = sound_file(kind)
    assert _check(path) == (path.suffix in (".mp4", ".mov"))


@pytest.mark.parametrize("kind", ["h264_mkv", "vp9_webm", "live_webm_without_cues_or_sizes"])
def test_a_damaged_cluster_is_refused(kind, tmp_path):
    def edit(data):
        place = data.rindex(CLUSTER)
        data[place : place + 4] = b"\x1f\x43\xb6\x00"

    with pytest.raises(DecodeError, match=r"no part of a Matroska segment|no Matroska element"):
        _check(_edited(tmp_path, kind, edit))


def test_a_damaged_block_header_is_refused_where_there_is_no_checksum(tmp_path):
    def edit(data):
        place = data.index(b"\xa3", data.rindex(CLUSTER) + 8)
        data[place] = 0x03

    with pytest.raises(DecodeError, match=r"no part of a Matroska segment|no Matroska element"):
        _check(_edited(tmp_path, "vp9_webm", edit))


def test_checksums_of_clusters_are_compared(tmp_path):
    def edit(data):
        data[data.rindex(CLUSTER) + 200] ^= 1

    with pytest.raises(DecodeError, match="the checksum is wrong"):
        _check(_edited(tmp_path, "h264_mkv", edit))


def test_the_checksum_is_the_one_of_the_standard():
    data = sound_file("h264_mkv").read_bytes()
    start = data.index(CLUSTER)
    while data[start + 4] == 0:
        start = data.index(CLUSTER, start + 1)
    width = 9 - data[start + 4].bit_length()
    size = int.from_bytes(data[start + 4 : start + 4 + width], "big") & ((1 << 7 * width) - 1)
    body = data[start + 4 + width : start + 4 + width + size]
    assert body[:2] == b"\xbf\x84"
    assert int.from_bytes(body[2:6], "little") == zlib.crc32(body[6:])


def test_riff_and_transport_streams_must_be_whole(tmp_path):
    with pytest.raises(DecodeError, match="cut short: the RIFF chunk should end"):
        _check(_edited(tmp_path, "mpeg4_avi", lambda data: data.__delitem__(slice(-9, None))))
    with pytest.raises(DecodeError, match="no whole number of transport packets"):
        _check(_edited(tmp_path, "h264_ts", lambda data: data.__delitem__(slice(-9, None))))


@pytest.mark.parametrize("head", ["1A45DFA3", "1A45DFA300", "1A45DFA301FFFFFFFFFFFFFF", "1A45DFA38042867481"])
def test_headers_without_a_segment_are_refused(head, tmp_path):
    (tmp_path / "a").write_bytes(bytes.fromhex(head))
    with pytest.raises(DecodeError, match="damaged or cut short"):
        _check(tmp_path / "a")
