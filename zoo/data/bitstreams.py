"""What compressed packets say about themselves in the headers of their units, read without decoding."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

# Two zeros, more of them or not, and then no end of the unit; with start codes, a 1 begins the next unit. Up to eight
# zeros at the end of a unit pass for padding.
BROKEN_UNIT = re.compile(rb"\x00\x00(?:[\x01\x02]|\x00+[^\x00]|\x00{7})")
BROKEN_STREAM = re.compile(rb"\x00\x00(?:\x02|\x00+[^\x00\x01])")

# To an arithmetic coder a zero byte is eight bits' worth of likely choices; so many bytes of them would be a picture of
# tens of thousands of blocks without any change, and without a single choice that is coded as a one.
HOLE = bytes(256)

# Codecs whose decoders return an error for a picture that refers to one they have not seen.
BEGIN_AT_KEYS = frozenset(["vp9", "av1", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff"])

# Start code of a picture, then the byte after it, the shift and the mask that give its type, and the type of I pictures
# (ISO/IEC 13818-2, section 6.2.3; ISO/IEC 14496-2, section 6.2.5).
MPEG = {
    "mpeg1video": (b"\0", 1, 3, 7, 1),
    "mpeg2video": (b"\0", 1, 3, 7, 1),
    "mpeg4": (b"\xb6", 0, 6, 3, 0),
}


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

    Containers flag pictures as key frames that are none for our purpose, so the streams' own headers decide: an
    instantaneous refresh for H.264 (ITU-T H.264 table 7-1, type 5), any random access picture for HEVC (ITU-T H.265
    table 7-1, types 16 to 21), an I picture for MPEG-1, 2 and 4. The flag counts only for codecs whose decoders refuse
    to begin anywhere else. No picture of another codec counts as a start.

    Args:
        codec: FFmpeg's name of the codec.
        extradata: the codec's configuration record or its parameter sets, whichever the container carries.
    """
    lengths = length_size(codec, extradata or b"")
    if codec == "h264":
        return lambda packet, key: _h264([packet[start] for start, _ in units(packet, lengths)])
    if codec == "hevc":
        return lambda packet, key: _hevc([packet[start] >> 1 & 63 for start, _ in units(packet, lengths)])
    if codec in MPEG:
        return lambda packet, key: Picture(_is_intra(packet, codec), False, True)
    if codec == "vp8":
        # RFC 6386, section 9.1: bit 4 of the first byte is show_frame.
        return lambda packet, key: Picture(key, False, bool(packet[0] >> 4 & 1))
    return lambda packet, key: Picture(key and codec in BEGIN_AT_KEYS, False, True)


def setups(codec: str, extradata: bytes | None) -> Callable[[bytes], list[bytes]]:
    """Function from a packet's bytes to the descriptions of the picture's size that it carries.

    More than one different description means that the size, or what belongs to it, changes within the track.
    Descriptions are H.264 sequence parameter sets, MPEG-4 video object layer headers and VP9 frame sizes; other codecs
    give none.
    """
    record = extradata or b""
    lengths = length_size(codec, record)
    if codec == "h264":
        return lambda packet: [packet[a:b] for a, b in units(packet, lengths) if packet[a] & 31 == 7]
    if codec == "mpeg4":
        # ISO/IEC 14496-2, table 6-3: start codes 0x20 to 0x2F are video object layers.
        return lambda packet: [packet[a:b] for a, b in units(packet, None) if 0x20 <= packet[a] <= 0x2F]
    if codec == "vp9":
        return _vp9_sizes
    return lambda packet: []


def sound(codec: str, extradata: bytes | None) -> Callable[[bytes], bool]:
    """Function from a packet's bytes to whether they could have been written by an encoder at all.

    Inside an H.264 or HEVC unit two zero bytes are never followed by 0, 1 or 2 (ITU-T H.264 section 7.4.1, H.265
    section 7.4.2.1; zeros at a unit's end are padding). Holes in a file, the commonest damage, break that rule, and
    decoders can take them for pictures. VP8, VP9 and AV1 have no such rule, but would not write zeros for long.
    Always true for other codecs.
    """
    if codec in ("vp8", "vp9", "av1"):
        return lambda packet: HOLE not in packet
    if codec not in ("h264", "hevc"):
        return lambda packet: True
    lengths = length_size(codec, extradata or b"")
    if lengths is None:
        return lambda packet: not BROKEN_STREAM.search(packet)
    return lambda packet: _whole_units(packet, lengths)


def _whole_units(packet: bytes, lengths: int) -> bool:
    """Units follow each other up to the packet's end, and each keeps the rule."""
    position = 0
    for start, end in units(packet, lengths):
        if start != position + lengths or BROKEN_UNIT.search(packet, start, end):
            return False
        position = end
    return position == len(packet)


def _h264(units: list[int]) -> Picture:
    """Types 1, 2 and 5 are coded slices; two bits of the header (nal_ref_idc) are 0 in pictures nobody refers to."""
    slices = [unit for unit in units if unit & 31 in (1, 2, 5)]
    start = bool(slices) and all(unit & 31 == 5 for unit in slices)
    disposable = bool(slices) and not any(unit >> 5 & 3 for unit in slices)
    return Picture(start, disposable, True)


def _is_intra(packet: bytes, codec: str) -> bool:
    """Whether the first picture in an MPEG packet is coded on its own."""
    code, byte, shift, mask, intra = MPEG[codec]
    place = packet.find(b"\0\0\1" + code) + 4 + byte
    return 4 + byte <= place < len(packet) and packet[place] >> shift & mask == intra


def _hevc(units: list[int]) -> Picture:
    """Types 0 to 31 are coded slices. No picture counts as disposable: that needs the temporal layers as well."""
    slices = [unit for unit in units if unit < 32]
    return Picture(bool(slices) and all(16 <= kind <= 21 for kind in slices), False, True)


def length_size(codec: str, record: bytes) -> int | None:
    """Bytes of the length before each unit, from the configuration record; None where start codes part them."""
    place = {"h264": 4, "hevc": 21}.get(codec, len(record))
    return (record[place] & 3) + 1 if place < len(record) and record[0] == 1 else None


def units(packet: bytes, lengths: int | None) -> Iterator[tuple[int, int]]:
    """Begin and end of each unit that is not empty."""
    if lengths is None:
        start = packet.find(b"\0\0\1") + 3
        while 3 <= start < len(packet):
            following = packet.find(b"\0\0\1", start)
            yield start, following if following >= 0 else len(packet)
            start = following + 3
        return
    position = 0
    while position + lengths < len(packet):
        start = position + lengths
        position = start + int.from_bytes(packet[position:start], "big")
        if position > start:
            yield start, position


class Bits:
    """Reader of a big-endian bit string; past its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """The next bits as a number."""
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else self._value << -self._left) & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """The next number in ITU-T H.264's code ue(v): as many zeros as bits follow the first one (section 9.1)."""
        zeros = 0
        while self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def skip_exp_golomb(self, count: int) -> None:
        """Read past several of them, signed or not, at most to the end."""
        for _ in range(count):
            if self._left <= 0:
                return
            self.exp_golomb()


def _vp9_sizes(packet: bytes) -> list[bytes]:
    """Frame sizes written out in a packet: of key frames, of intra-only frames, and of others that change size.

    VP9 bitstream specification 0.6, sections 6.2 (uncompressed header) and annex B (several frames in one packet).
    """
    sizes = (_vp9_size(Bits(frame[:24])) for frame in _vp9_frames(packet))
    return [size for size in sizes if size]


def _vp9_frames(packet: bytes) -> Iterator[bytes]:
    marker = packet[-1]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index = 2 + count * width
    if marker >> 5 != 0b110 or len(packet) < index or packet[-index] != marker:
        yield packet
        return
    position = 0
    for number in range(count):
        start = len(packet) - index + 1 + number * width
        size = int.from_bytes(packet[start : start + width], "little")
        if size:
            yield packet[position : position + size]
        position += size


def _vp9_size(bits: Bits) -> bytes | None:
    """Width and height less one, four bytes; None where the frame takes them from another one."""
    bits.take(2)
    profile = bits.take(1) | bits.take(1) << 1
    bits.take(int(profile == 3))
    if bits.take(1):  # shows a frame decoded before
        return None
    inter, shown, resilient = bits.take(1), bits.take(1), bits.take(1)
    intra_only = inter and not shown and bits.take(1)
    if inter and not resilient:
        bits.take(2)
    if inter and not intra_only:
        bits.take(8 + 3 * 4)
        return None if any(bits.take(1) for _ in range(3)) else bits.take(32).to_bytes(4, "big")
    bits.take(24)  # sync code
    if not inter or profile > 0:
        _vp9_colors(bits, profile)
    if inter:
        bits.take(8)
    return bits.take(32).to_bytes(4, "big")


def _vp9_colors(bits: Bits, profile: int) -> None:
    if profile >= 2:
        bits.take(1)
    if bits.take(3) != 7:  # not RGB
        bits.take(1)
        bits.take(3 if profile in (1, 3) else 0)
    elif profile in (1, 3):
        bits.take(1)
