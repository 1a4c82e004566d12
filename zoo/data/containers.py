"""What a file's own framing claims, held against the file before FFmpeg sees it.

FFmpeg says nothing when a file ends between two packets, and looks at few checksums.
"""

import zlib

from zoo.data.iso_boxes import FIRST, check_movie
from zoo.data.video_file import DecodeError, Limits, Source, Window

# Matroska's kinds of elements: its header, the segment, a filler, a checksum of four bytes, a cluster of blocks
# (RFC 9559, section 5.1; RFC 8794, section 11.3).
EBML, SEGMENT, VOID, CRC_32, CLUSTER = (bytes.fromhex(x) for x in ("1A45DFA3", "18538067", "EC", "BF84", "1F43B675"))

# What a segment and its clusters are made of; fillers and checksums go anywhere.
OF_SEGMENT = (0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367)
OF_CLUSTER = (0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF)
PARTS = frozenset(n.to_bytes((n.bit_length() + 7) // 8, "big") for n in (*OF_SEGMENT, *OF_CLUSTER, 0xEC, 0xBF))


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
    """Matroska and WebM: the segment fits, its parts follow each other without gaps, their checksums are right."""
    window = Window(source)
    kind, contents, end = _element(window, 0)
    while kind != SEGMENT:
        kind, contents, end = _element(window, end or 0)
        if kind not in (SEGMENT, VOID):
            raise DecodeError(source.path, "the Matroska header is damaged or cut short")
    last = source.stamp[0] if end is None else end
    source.check_end("the segment", last)
    position = contents
    while position < last:
        kind, contents, end = _element(window, position)
        if kind not in PARTS or (end is None and kind != CLUSTER):
            raise DecodeError(source.path, f"damaged at byte {position}: no part of a Matroska segment")
        if end is not None:
            source.check_end("a part of the segment", end)
        # A cluster without a right checksum is looked through, block by block.
        walk = kind == CLUSTER and (end is None or not _check_sum(source, contents, end))
        position = contents if walk or end is None else end


def _check_sum(source: Source, start: int, end: int) -> bool:
    """Whether a part begins with a checksum of the rest of it; DecodeError when that is wrong."""
    head = source.read_at(start, 6)
    if head[:2] != CRC_32:
        return False
    position, total = start + 6, 0
    while position < end:
        source.check_time()
        data = source.read_at(position, min(end - position, 1 << 20))
        if not data:
            break
        position, total = position + len(data), zlib.crc32(data, total)
    if total != int.from_bytes(head[2:], "little"):
        raise DecodeError(source.path, f"damaged between bytes {start} and {end}: the checksum is wrong")
    return True


def _element(window: Window, position: int) -> tuple[bytes, int, int | None]:
    """Kind of an EBML element, where its contents begin, and where they end; None for an unknown length."""
    head = window.read(position, 12)
    width = 9 - head[0].bit_length()  # leading zero bits tell the length of a number
    length = 9 - head[width].bit_length() if width <= 4 else 9
    if length > 8:
        raise DecodeError(window.source.path, f"damaged or cut short at byte {position}: no Matroska element")
    kind, number = head[:width], head[width : width + length]
    contents, size = position + width + length, int.from_bytes(number, "big") & ((1 << 7 * length) - 1)
    return kind, contents, None if size == (1 << 7 * length) - 1 else contents + size
