"""What a file's own framing claims, held against the file before FFmpeg sees it.

FFmpeg says nothing when a file ends between two packets, and looks at few checksums.
"""

import zlib

from zoo.data.iso_boxes import FIRST, check_movie
from zoo.data.video_file import DecodeError, Limits, Source

# Matroska's kinds of elements: its header, the segment, a filler, a checksum of four bytes, the parts of a segment.
EBML, SEGMENT, VOID, CRC_32 = (bytes.fromhex(kind) for kind in ("1A45DFA3", "18538067", "EC", "BF84"))
PARTS = tuple(
    kind.to_bytes((kind.bit_length() + 7) // 8, "big")
    for kind in (
        0x114D9B74,
        0x1549A966,
        0x1654AE6B,
        0x1F43B675,
        0x1C53BB6B,
        0x1941A469,
        0x1043A770,
        0x1254C367,
        0xEC,
        0xBF,
    )
)


def check_framing(source: Source, limits: Limits) -> bool:
    """Check the framing of ISO, Matroska, AVI and MPEG-TS files.

    Returns:
        Whether FFmpeg may take the file for an ISO (mp4, mov) file.

    Raises:
        DecodeError: the file is shorter than it says, or its tables claim more samples than the file or the budget
            has room for.
    """
    head = source.read_at(0, 12)
    if head[:4] == EBML:
        _check_segment(source)
    elif head[:4] == b"RIFF":
        source.check_end("the RIFF chunk", int.from_bytes(head[4:8], "little") + 8)
    elif head[:1] == b"G":
        _check_transport(source)
    elif head[4:8] in FIRST:
        check_movie(source, limits)
        return True
    return False


def _check_transport(source: Source) -> None:
    """MPEG-TS: a whole number of packets of 188 bytes (ISO/IEC 13818-1, section 2.4.3)."""
    length = 188
    if source.read_at(length, 1) == b"G" and source.stamp[0] % length:
        raise DecodeError(source.path, f"cut short: {source.stamp[0]} bytes are no whole number of transport packets")


def _check_segment(source: Source) -> None:
    """Matroska and WebM: the segment fits, its parts follow each other without gaps, their checksums are right.

    RFC 8794, sections 4 to 6 and 11.3.1 (CRC-32), RFC 9559, section 5.1. Parts of unknown length end the check.
    """
    kind, contents, end = _element(source, 0)
    while kind != SEGMENT:
        kind, contents, end = _element(source, end or 0)
        if kind not in (SEGMENT, VOID):
            raise DecodeError(source.path, "the Matroska header is damaged or cut short")
    last = source.stamp[0] if end is None else end
    source.check_end("the segment", last)
    end = contents
    while end is not None and end < last:
        position = end
        kind, contents, end = _element(source, position)
        if kind not in PARTS:
            raise DecodeError(source.path, f"damaged at byte {position}: no part of a Matroska segment")
        if end is not None:
            source.check_end("a part of the segment", end)
            _check_sum(source, contents, end)


def _check_sum(source: Source, start: int, end: int) -> None:
    """A part that begins with a checksum of the rest of it must have the right one."""
    head = source.read_at(start, 6)
    if head[:2] != CRC_32:
        return
    position, total = start + 6, 0
    while position < end:
        source.check_time()
        data = source.read_at(position, min(end - position, 1 << 20))
        if not data:
            break
        position, total = position + len(data), zlib.crc32(data, total)
    if total != int.from_bytes(head[2:], "little"):
        raise DecodeError(source.path, f"damaged between bytes {start} and {end}: the checksum is wrong")


def _element(source: Source, position: int) -> tuple[bytes, int, int | None]:
    """Kind of an EBML element, where its contents begin, and where they end; None for an unknown length."""
    head = source.read_at(position, 12).ljust(12, b"\0")
    width = 9 - head[0].bit_length()  # leading zero bits tell the length of a number
    length = 9 - head[width].bit_length() if width <= 4 else 9
    if length > 8:
        raise DecodeError(source.path, f"damaged or cut short at byte {position}: no Matroska element")
    kind, number = head[:width], head[width : width + length].ljust(length, b"\0")
    contents, size = position + width + length, int.from_bytes(number, "big") & ((1 << 7 * length) - 1)
    return kind, contents, None if size == (1 << 7 * length) - 1 else contents + size
