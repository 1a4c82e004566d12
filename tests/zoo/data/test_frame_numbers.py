"""Gaps in H.264's count of reference pictures, on streams that x264 wrote."""

import av
import pytest

from tests.zoo.data import corpus_forms  # noqa: F401 (enters its kinds)
from tests.zoo.data.corpus import sound_file
from zoo.data.bitstreams import classifier
from zoo.data.frame_numbers import FrameNumbers, parameters

KINDS = [
    "h264_mp4",
    "h264_mkv",
    "h264_ts",
    "h264_raw",
    "open_gops",
    "deep_pyramid",
    "intra_refresh",
    "interlaced_coding",
]
KINDS += ["many_slices", "baseline_without_cabac", "h264_10_bit", "gray_pixels", "odd_size", "all_intra"]


def _packets(kind):
    with av.open(str(sound_file(kind))) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        return extradata, [bytes(packet) for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("kind", KINDS)
def test_whole_streams_have_no_gap(kind):
    extradata, packets = _packets(kind)
    numbers = FrameNumbers(extradata)
    assert all(numbers.follows(packet) for packet in packets)


@pytest.mark.parametrize("kind", ["h264_mp4", "h264_ts", "h264_raw", "deep_pyramid", "odd_size", "h264_10_bit"])
def test_every_lost_reference_picture_is_noticed(kind):
    extradata, packets = _packets(kind)
    kinds = [classifier("h264", extradata)(packet, False) for packet in packets]
    # Losing the last picture before a refresh leaves no trace: nothing refers to it.
    lost = [i for i in range(1, 47) if not kinds[i].disposable and not any(kind.start for kind in kinds[i : i + 4])]
    assert len(lost) > 5
    for place in lost:
        numbers = FrameNumbers(extradata)
        assert not all(numbers.follows(packet) for packet in packets[:place] + packets[place + 1 :]), place


def test_a_lost_disposable_picture_changes_no_other():
    extradata, packets = _packets("h264_mp4")
    place = next(i for i, p in enumerate(packets) if classifier("h264", extradata)(p, False).disposable)
    numbers = FrameNumbers(extradata)
    assert all(numbers.follows(packet) for packet in packets[:place] + packets[place + 1 :])


def test_streams_that_allow_gaps_or_cannot_be_read_pass():
    extradata, packets = _packets("h264_mp4")
    numbers = FrameNumbers(None)
    assert all(numbers.follows(packet) for packet in packets[:3] + packets[20:])
    layout = parameters(extradata[8 : 8 + int.from_bytes(extradata[6:8], "big")])
    assert layout is not None
    assert layout.width >= 4
    assert not layout.gaps
    assert not layout.planes
