"""What the tables of an ISO or QuickTime file (mp4, mov) claim, held against the file before FFmpeg believes them.

FFmpeg fills its index from them when it opens the file, in one call that cannot be interrupted: a file of 50 kB made it
take 4.8 GB and 16 s (measured, FFmpeg 8.1). And where tables contradict each other it quietly leaves frames out.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from zoo.data.video_file import DecodeError, Limits, Source, Window

# Boxes that hold boxes (ISO/IEC 14496-12, table 1, and QuickTime's own), and how deep FFmpeg follows them.
NESTING = frozenset(b"moov trak mdia minf stbl edts dinf udta meta wave tref sinf schi moof traf mvex mfra".split())
MAX_DEPTH = 10

# Kinds with which ISO and QuickTime files begin.
FIRST = frozenset(b"ftyp styp moov moof mdat free skip wide pnot junk uuid sidx prfl".split())

# Kinds seen among and in fragments (sections 8.8, 8.16 and 8.7.7 to 8.9); where they stop, pictures may be missing.
IN_FRAGMENTED = frozenset(
    b"moof mfhd traf tfhd trun tfdt mdat free skip styp sidx ssix emsg prft uuid mfra tfra mfro meta udta sbgp sgpd "
    b"subs saiz saio senc sdtp pssh wide".split()
)

# Boxes without which pictures are lost. Junk after the last box is common and harmless.
MUST_FIT = (b"moov", b"mdat", b"moof")

# Boxes looked at, at most: seven hours in fragments of two seconds, of seven boxes each.
MAX_BOXES = 100_000

# Stands for what is no box at all: padding or junk, at which FFmpeg stops looking.
JUNK = b""

# A file's tables cover its sound as well, in about as many packets as its pictures.
ENTRIES_PER_PACKET = 4

# Boxes that describe a track, each at most once.
TABLES = frozenset(b"stsz stz2 stts ctts stsc stco co64 elst mdhd".split())


class Box(NamedTuple):
    """One box: kind, and where its contents begin and end."""

    kind: bytes
    start: int
    end: int


def check_movie(source: Source, limits: Limits) -> None:
    """Check that a file's boxes fit into it and that its tables agree with it, each other and the budget.

    Raises:
        DecodeError: they do not.
    """
    window = Window(source)
    tracks: list[dict[bytes, Box]] = []
    movie, fragments = False, 0
    for count, box in enumerate(_boxes(window, 0, source.stamp[0], 0)):
        if count > MAX_BOXES:
            raise DecodeError(source.path, f"more than {MAX_BOXES} boxes")
        movie = movie or box.kind == b"moov"
        if fragments and box.kind not in IN_FRAGMENTED:
            raise DecodeError(source.path, f"damaged at byte {box.start}: no part of a fragmented file")
        if box.kind == b"cmov":
            raise DecodeError(source.path, "compressed movie headers are not read here")
        if box.kind == b"trun":
            fragments += _number(window, box, 4)
        elif box.kind == b"trak":
            tracks.append({})
        elif box.kind == b"hdlr" and tracks and _number(window, box, 8) == int.from_bytes(b"vide", "big"):
            tracks[-1][box.kind] = box
        elif box.kind in TABLES and tracks:
            if box.kind in tracks[-1]:
                raise DecodeError(source.path, f"a track has two boxes of the kind {box.kind.decode()}")
            tracks[-1][box.kind] = box
    if not movie:
        raise DecodeError(source.path, "no movie header (moov): the file is cut short or was never finished")
    entries = fragments + sum(_entries(window, track) for track in tracks)
    if entries > ENTRIES_PER_PACKET * limits.packets:
        raise DecodeError(source.path, f"tables for {entries} samples are over the limit of packets={limits.packets}")
    for track in tracks:
        if b"hdlr" in track:
            _check_video(window, track)


def _entries(window: Window, track: dict[bytes, Box]) -> int:
    """Index entries that FFmpeg makes for a track: its samples, once per edit."""
    sizes, times = track.get(b"stsz") or track.get(b"stz2"), track.get(b"stts")
    if sizes is None:
        return 0
    samples = _number(window, sizes, 8)
    # Samples are bytes of this file, whatever the table says.
    each = _number(window, sizes, 4) if sizes.kind == b"stsz" else 0
    if samples * each > window.source.stamp[0]:
        raise DecodeError(window.source.path, f"the tables claim {samples} samples of {each} bytes: not in this file")
    # Uncompressed sound, one sample per tick, is read in larger pieces.
    if times is not None and (_number(window, times, 4), _number(window, times, 12)) == (1, 1):
        return 0
    return samples * max(1, _number(window, track[b"elst"], 4) if b"elst" in track else 1)


def _check_video(window: Window, track: dict[bytes, Box]) -> None:
    """Every sample of a video track has one size, one time and one place (ISO/IEC 14496-12, sections 8.4 to 8.7)."""
    path = window.source.path
    if (
        b"mdhd" in track
        and _number(window, track[b"mdhd"], 20 if _number(window, track[b"mdhd"], 0) >> 24 else 12) == 0
    ):
        raise DecodeError(path, "a track's clock has no ticks (timescale 0)")
    if b"stsz" not in track or b"stts" not in track:
        return
    samples, each = _number(window, track[b"stsz"], 8), _number(window, track[b"stsz"], 4)
    if not each and _table(window, track[b"stsz"], 8, 1).sum() > window.source.stamp[0]:
        raise DecodeError(path, "the tables claim more bytes of pictures than the file has")
    counts: dict[bytes, int] = {
        kind: int(_table(window, track[kind], 4, 2)[:, 0].sum()) for kind in (b"stts", b"ctts") if kind in track
    }
    counts[b"stsc"] = _in_chunks(window, track)
    for kind, count in counts.items():
        if count != samples:
            raise DecodeError(path, f"damaged tables: {samples} sizes of samples, but {kind.decode()} has {count}")


def _in_chunks(window: Window, track: dict[bytes, Box]) -> int:
    """Samples in all chunks of a track."""
    places = track.get(b"stco") or track.get(b"co64")
    if places is None or b"stsc" not in track:
        return 0
    rows = _table(window, track[b"stsc"], 4, 3)
    last = _number(window, places, 4) + 1
    return int((np.diff(rows[:, 0], append=last) * rows[:, 1]).sum())


def _boxes(window: Window, start: int, end: int, depth: int) -> Iterator[Box]:
    """All boxes in a range and in the boxes that nest, in file order."""
    position = start
    while position + 8 <= end:
        size, kind = struct.unpack(">I4s", window.read(position, 8))
        contents = position + 8
        if size == 1:
            size, contents = int.from_bytes(window.read(contents, 8), "big"), contents + 8
        size = size or end - position
        if position + size < contents:
            yield Box(JUNK, position, end)
            return
        if depth == 0 and kind in MUST_FIT:
            window.source.check_end(f"the {kind.decode()} box", position + size)
        yield Box(kind, contents, min(position + size, end))
        if kind in NESTING and depth < MAX_DEPTH:
            yield from _boxes(window, contents, min(position + size, end), depth + 1)
        position += size


def _number(window: Window, box: Box, offset: int) -> int:
    """The 32-bit number at an offset into a box, 0 beyond its end."""
    start = box.start + offset
    return int.from_bytes(window.read(start, 4), "big") if start + 4 <= box.end else 0


def _table(window: Window, box: Box, offset: int, columns: int) -> Int64[np.ndarray, "rows columns"]:
    """The table of 32-bit numbers in a box, after its number of rows.

    Raises:
        DecodeError: the box is too small for the rows it claims.
    """
    rows, start = _number(window, box, offset), box.start + offset + 4
    if start + 4 * columns * rows > box.end:
        raise DecodeError(window.source.path, f"the {box.kind.decode()} box is too small for its {rows} entries")
    data = window.source.read_at(start, 4 * columns * rows)
    return np.frombuffer(data, ">u4").astype(np.int64).reshape(-1, columns)
