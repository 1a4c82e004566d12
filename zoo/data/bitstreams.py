"""What kind of picture a compressed packet holds, read from the headers of its units without decoding it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple


class Picture(NamedTuple):
    """Kind of picture in one packet.

    Attributes:
        start: decoding can start here: everything shown later than this picture can be decoded from here on.
        disposable: no other picture refers to this one.
        shown: the packet gives a picture of its own.
    """

    start: bool
    disposable: bool
    shown: bool


def classifier(codec: str, extradata: bytes | None) -> Callable[[bytes, bool], Picture]:
    """Function from a packet's bytes and its container's key-frame flag to the kind of its picture.

    H.264 and HEVC containers flag pictures as key frames that are none for our purpose, so their own headers decide:
    an instantaneous refresh for H.264 (ITU-T H.264 table 7-1, type 5), any random access picture for HEVC (ITU-T H.265
    table 7-1, types 16 to 21). Everything else goes by the flag.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the codec's configuration record or its parameter sets, whichever the container carries.
    """
    record = extradata or b""
    if codec == "h264":
        lengths = record[4] & 3 if len(record) > 4 and record[0] == 1 else None
        return lambda packet, key: _h264(_units(packet, lengths))
    if codec == "hevc":
        lengths = record[21] & 3 if len(record) > 21 and record[0] == 1 else None
        return lambda packet, key: _hevc(_units(packet, lengths))
    if codec == "vp8":
        # RFC 6386, section 9.1: bit 4 of the first byte is show_frame.
        return lambda packet, key: Picture(key, False, bool(packet) and bool(packet[0] >> 4 & 1))
    return lambda packet, key: Picture(key, False, True)


def _h264(units: Iterator[int]) -> Picture:
    """Types 1, 2 and 5 are coded slices; two bits of the header (nal_ref_idc) are 0 in pictures nobody refers to."""
    slices = [unit for unit in units if unit & 31 in (1, 2, 5)]
    start = bool(slices) and all(unit & 31 == 5 for unit in slices)
    disposable = bool(slices) and not any(unit >> 5 & 3 for unit in slices)
    return Picture(start, disposable, True)


def _hevc(units: Iterator[int]) -> Picture:
    """Types 0 to 31 are coded slices. No picture counts as disposable: that needs the temporal layers as well."""
    slices = [unit >> 1 & 63 for unit in units if unit >> 1 & 63 < 32]
    return Picture(bool(slices) and all(16 <= kind <= 21 for kind in slices), False, True)


def _units(packet: bytes, lengths: int | None) -> Iterator[int]:
    """First byte of each unit; `lengths` is the size of the length fields less one, None for start codes."""
    if lengths is None:
        position = packet.find(b"\0\0\1")
        while 0 <= position < len(packet) - 3:
            yield packet[position + 3]
            position = packet.find(b"\0\0\1", position + 3)
        return
    position, width = 0, lengths + 1
    while position + width < len(packet):
        yield packet[position + width]
        position += width + int.from_bytes(packet[position : position + width], "big")
