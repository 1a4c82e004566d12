"""Arithmetic on the packets of a video track: which frame is which, and which packets a set of frames needs."""

import bisect
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

NO_TIME = -(1 << 63)

# Pictures shown before one that comes earlier in the file: at most as many as decoders hold (ITU-T H.264 A.3.1, H.265
# A.4.2).
MAX_LEAD = 16


class Packet(NamedTuple):
    """One packet of the track, in file order.

    Attributes:
        pts: presentation time in ticks of the track's clock, NO_TIME where the file has none.
        dts: decoding time likewise.
        position: offset in the file in bytes, -1 where unknown.
        size: bytes.
        start: decoding can start here.
        disposable: no other picture needs it.
        shown: gives a frame (an edit list hides some packets, and some hold pictures that are only referred to).
    """

    pts: int
    dts: int
    position: int
    size: int
    start: bool
    disposable: bool
    shown: bool

    @property
    def identity(self) -> tuple[int, int, int]:
        """What a packet is known by when it is read a second time."""
        return self.position, self.pts, self.size


class Run(NamedTuple):
    """Packets to decode in one go.

    Attributes:
        start: first packet.
        send: packets to decode, in file order, starting with `start`.
        frames: frame number by presentation time, or by order of appearance in a track without times; one for every
            packet sent that is shown. The decoder must return exactly these.
    """

    start: int
    send: tuple[int, ...]
    frames: dict[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class PacketTable:
    """All packets of a track in file order, and the frames they show in presentation order.

    Attributes:
        packets: in file order.
        order: packet of each frame, in presentation order.
        timed: frames can be told apart by their presentation times.
    """

    packets: tuple[Packet, ...] = field(repr=False)
    order: Int64[np.ndarray, "frames"] = field(repr=False)
    timed: bool

    @property
    def pts(self) -> list[int]:
        """Presentation time of each frame in ticks, in presentation order."""
        return [self.packets[packet].pts for packet in self.order.tolist()]

    @property
    def key_frames(self) -> tuple[int, ...]:
        """Numbers of the frames from which decoding can start; none where frames have no times to tell them by."""
        if not self.timed:
            return ()
        return tuple(number for number, packet in enumerate(self.order.tolist()) if self.packets[packet].start)

    @property
    def leading(self) -> bool:
        """Whether a picture comes after one that starts decoding in the file but before it in time."""
        earliest = math.inf
        for packet in reversed(self.packets):
            if packet.start and earliest < packet.pts:
                return True
            earliest = min(earliest, packet.pts)
        return False


def tabulate(packets: Sequence[Packet], *, depth: int | None) -> PacketTable:
    """Number the frames of a track.

    Frames are numbered by presentation time where times can be trusted: every packet has one, shown packets have one
    of their own, and the order they give is the one the decoder makes. Otherwise frames are numbered in the order in
    which a decoder returns them.

    Args:
        packets: in file order.
        depth: most packets that come before a packet in the file and after it in time, as the stream declares it
            (ITU-T H.264 section E.2.1, max_num_reorder_frames); None where the container stores no times.
    """
    shown = np.array([i for i, packet in enumerate(packets) if packet.shown], dtype=np.int64)
    pts = np.array([packets[i].pts for i in shown.tolist()], dtype=np.int64)
    by_time = np.argsort(pts, kind="stable")
    unique = bool((np.diff(pts[by_time]) > 0).all())
    times = [packet.pts for packet in packets]
    timed = unique and depth is not None and (len(times) < 2 or _plausible(times, depth))
    return PacketTable(packets=tuple(packets), order=shown[by_time] if timed else shown, timed=timed)


def _plausible(times: Sequence[int], depth: int) -> bool:
    """Whether times in file order fit a decoder that reorders by `depth`.

    Times that go up steadily although the decoder reorders were made up by someone who did not know.
    """
    behind = _overtaken(times)
    ahead = _overtaken([-time for time in reversed(times)])
    steady = not any(behind)
    return NO_TIME not in times and max(behind) <= depth and max(ahead) <= MAX_LEAD and (depth == 0 or not steady)


def _overtaken(values: Sequence[int]) -> list[int]:
    """For each value the number of larger ones before it."""
    ordered: list[int] = []
    counts = []
    for value in values:
        counts.append(len(ordered) - bisect.bisect_right(ordered, value))
        ordered.insert(len(ordered) - counts[-1], value)
    return counts


def whole(table: PacketTable) -> Run:
    """The run that decodes everything."""
    keys = table.pts if table.timed else range(len(table.order))
    return Run(0, tuple(range(len(table.packets))), {key: number for number, key in enumerate(keys)})


def plan(table: PacketTable, frames: Sequence[int]) -> list[Run]:
    """Runs that together return the asked frames, in file order.

    A run begins at the last packet that can start decoding and is shown no later than its first frame. Left out are
    pictures to which no other refers, and pictures that come after the run's start in the file but before it in time
    ("leading" pictures: they may need what was before the start, and nothing shown after the start needs them).

    Args:
        table: the track; without times there is one run, over everything.
        frames: frame numbers, each within the table.
    """
    if not table.timed:
        return [whole(table)]
    number_of = np.full(len(table.packets), -1)
    number_of[table.order] = np.arange(len(table.order))
    starts = [i for i, packet in enumerate(table.packets) if packet.start]
    wanted = {int(table.order[frame]) for frame in frames}
    spans: list[list[int]] = []
    for first, last in sorted((_start(table, starts, packet), packet) for packet in wanted):
        if spans and first <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], last)
        else:
            spans.append([first, last])
    return [_run(table, first, last, number_of, wanted) for first, last in spans]


def _start(table: PacketTable, starts: Sequence[int], packet: int) -> int:
    """The packet at which to begin when this one is wanted; the first of the file when there is no better one."""
    pts = table.packets[packet].pts
    for start in reversed(starts[: bisect.bisect_right(starts, packet)]):
        if table.packets[start].pts <= pts:
            return start
    return 0


def _run(
    table: PacketTable, first: int, last: int, number_of: Int64[np.ndarray, "packets"], wanted: Container[int]
) -> Run:
    begin = table.packets[first].pts if first else NO_TIME
    span = enumerate(table.packets[first : last + 1], first)
    send = tuple(i for i, packet in span if i in wanted or not (packet.disposable or NO_TIME < packet.pts < begin))
    frames = {table.packets[i].pts: int(number_of[i]) for i in send if table.packets[i].shown}
    return Run(first, send, frames)
