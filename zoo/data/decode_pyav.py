"""The default decoder: FFmpeg through PyAV, on one thread, with every check that FFmpeg offers switched on."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from zoo.data.bitstreams import Picture, classifier, setups, sound
from zoo.data.containers import check_framing
from zoo.data.frame_numbers import FrameNumbers
from zoo.data.orientation import Orientation, orientation_of
from zoo.data.packets import NO_TIME, Packet, PacketTable, Run, plan, tabulate, whole
from zoo.data.video_file import DecodeError, Limits, Source, VideoIndex, check_output, checked_indices

# The containers people keep video in. Not among them: playlists and scripts that open other files, pictures, devices.
DEMUXERS = "matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,asf,flv,ogg"

# Decoders by FFmpeg's names; FFmpeg opens no other, for no track.
DECODERS = (
    "h264,hevc,vp8,vp9,libdav1d,av1,mpeg4,mpeg1video,mpeg2video,msmpeg4v1,msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,h263,flv,"
    "theora,mjpeg,prores,dnxhd,ffv1,huffyuv,ffvhuff"
)

# Titles in a wrong encoding are no reason to refuse a video; PyAV 19 never does.
TOLERANT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# Containers that store presentation times, by FFmpeg's first name for each.
CLOCKED = ("mov", "matroska", "mpegts", "flv")

# Containers that list all packets before or beside them.
LISTED = ("mov", "avi")

# Reading on over so many packets costs about as much as a seek.
PACKETS_PER_SEEK = 100


def read(
    path: str, indices: list[int] | None, *, limits: Limits, index: VideoIndex | None
) -> UInt8[np.ndarray, "frames height width 3"]:
    """The asked frames, or all when `indices` is None. See `zoo.data.decode.read_frames`.

    Raises:
        DecodeError: the file, an index or a budget does not allow it.
    """
    with explained(path), Source(path, limits.seconds) as source, contextlib.closing(Track(source, limits)) as track:
        table = track.tabulate() if index is None else track.trust(index)
        frames = checked_indices(path, indices, len(table.order))
        check_output(path, len(frames), *track.size, limits)
        if indices is not None:
            # A plan that leaves packets out rests on what the headers say of them. Where it does not come out exactly,
            # decoding everything decides: a file that is only odd gives its frames, a damaged one its error.
            with contextlib.suppress(DecodeError, av.FFmpegError):
                return _collect(track, plan(table, frames), frames)
            source.check_time()
        return _collect(track, [whole(table)], frames)


def probe(path: str, *, limits: Limits) -> VideoIndex:
    """The index of a file's video track. See `zoo.data.decode.probe`.

    Raises:
        DecodeError: the file or a budget does not allow it.
    """
    with explained(path), Source(path, limits.seconds) as source, contextlib.closing(Track(source, limits)) as track:
        table = track.tabulate(inspect=True)
        checked_indices(path, [0], len(table.order))
        with contextlib.closing(track.decode(plan(table, [0])[0])) as frames:
            return track.describe(orientation_of(next(frames)[1]))


def sweep(path: str, *, limits: Limits, take: Callable[[VideoIndex, av.VideoFrame], None] | None = None) -> VideoIndex:
    """Decode every frame, one at a time in presentation order, and keep none. See `zoo.data.decode.decode_all`.

    Args:
        path: video file.
        limits: budgets; nothing is collected, so `output_pixels` plays no part.
        take: gets the index and each frame as the decoder made it, neither converted nor turned.

    Raises:
        DecodeError: the file or a budget does not allow it.
    """
    with explained(path), Source(path, limits.seconds) as source, contextlib.closing(Track(source, limits)) as track:
        table = track.tabulate(inspect=True)
        checked_indices(path, None, len(table.order))
        index: VideoIndex | None = None
        shown = Orientation(0, False)
        for number, frame in track.decode(whole(table)):
            orientation = orientation_of(frame)
            if index is None:
                index, shown = track.describe(orientation), orientation
            if orientation != shown:
                raise DecodeError(path, f"the display rotation changes at frame {number}")
            if take is not None:
                take(index, frame)
        if index is None:
            raise DecodeError(path, "no frame came out of the decoder")
        return index


def _collect(track: "Track", runs: Sequence[Run], frames: Sequence[int]) -> UInt8[np.ndarray, "frames height width 3"]:
    """Decode the runs and put the asked frames in the asked order."""
    places: dict[int, list[int]] = {}
    for place, number in enumerate(frames):
        places.setdefault(number, []).append(place)
    converter = VideoReformatter()
    answer: tuple[np.ndarray, Orientation] | None = None
    for run in runs:
        for number, frame in track.decode(run):
            if number not in places:
                continue
            orientation = orientation_of(frame)
            # One thread: swscale's own default is one per processor.
            picture = orientation.apply(converter.reformat(frame, format="rgb24", threads=1).to_ndarray())
            answer = answer or (np.empty((len(frames), *picture.shape), np.uint8), orientation)
            if orientation != answer[1]:
                raise DecodeError(track.source.path, f"the display rotation changes at frame {number}")
            answer[0][places.pop(number)] = picture
    if answer is None or places:
        raise DecodeError(track.source.path, f"frames {sorted(places)[:8]} did not come out of the decoder")
    return answer[0]


class Track:
    """The video track of an open file, with the decoder for it. Lives within one call.

    Attributes:
        source: the file.
        size: height and width of the stored pictures in pixels.
        table: its packets, once `tabulate` or `trust` has been called.
    """

    table: PacketTable

    def __init__(self, source: Source, limits: Limits) -> None:
        self.source = source
        self._limits = limits
        # ISO files only when their tables were checked: FFmpeg would believe any.
        self._demuxers = f"mov,{DEMUXERS}" if check_framing(source, limits) else DEMUXERS
        self._kept: list[av.Packet] | None = None
        self._demuxer: Iterator[av.Packet] | None = None
        self._setups: set[bytes] = set()
        self._unclean = 0
        self._numbers: dict[tuple[int, int, int], int] = {}
        self._open()
        if self.size[0] * self.size[1] > limits.frame_pixels:
            raise self._error(f"frames of {self._shape()} are over the limit of frame_pixels={limits.frame_pixels}")

    def close(self) -> None:
        """Free what FFmpeg holds; without it some memory would stay until the garbage collector's next round."""
        self._kept, self._demuxer = None, None
        self._container.close()

    def tabulate(self, *, inspect: bool = False) -> PacketTable:
        """Read all packets once, without decoding; keep them for decoding where they are few enough bytes.

        Args:
            inspect: also collect the size descriptions that the packets carry, for `describe`.
        """
        codec, record = self._stream.codec.canonical_name, self._decoder.extradata
        classify, describe = classifier(codec, record), setups(codec, record)
        numbers = FrameNumbers(record) if codec == "h264" else None
        hidden = False
        rows: list[Packet] = []
        kept: list[av.Packet] = []
        size = 0
        for packet in self._packets():
            if not rows and not packet.is_keyframe:
                raise self._error("the track does not begin with a key frame")
            if len(rows) >= self._limits.packets:
                raise self._error(f"more packets than the limit of packets={self._limits.packets}")
            rows.append(_row(packet, classify(bytes(packet), packet.is_keyframe)))
            self._unclean += packet.is_keyframe and not rows[-1].start
            if numbers and not numbers.follows(bytes(packet)):
                raise self._error(f"pictures are missing before {self._time(packet.pts)}: their count has a gap")
            hidden = hidden or packet.is_discard
            if inspect:
                self._setups.update(describe(bytes(packet)))
            size += packet.size
            if size <= self._limits.kept_bytes:
                kept.append(packet)
        listed = len(self._stream.index_entries) if self._container.format.name.startswith(LISTED) else 0
        if self._seen < listed:
            raise self._error(f"cut short: {listed} packets are listed, {self._seen} are there")
        self._kept = kept if size <= self._limits.kept_bytes else None
        self.table = tabulate(rows, depth=self._decoder.reorder_depth if self._clocked() else None)
        if hidden and self._clocked() and not self.table.timed:
            raise self._error("damaged times: an edit list applies, but times contradict the order of the pictures")
        return self.table

    def trust(self, index: VideoIndex) -> PacketTable:
        """Take the packets from an index made before; every packet read later is compared with it."""
        if index.stamp != self.source.stamp:
            raise self._error("the file has changed since it was indexed")
        self.table = index.packets
        return self.table

    def decode(self, run: Run) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Frame numbers and pictures of a run, in presentation order.

        Raises:
            DecodeError: the decoder did not return exactly one sound picture per packet.
            av.FFmpegError: a packet cannot be decoded.
        """
        left, last = dict(run.frames), -1
        for count, frame in enumerate(self._pictures(run)):
            self.source.check_time()
            if frame.is_corrupt:
                raise self._error(f"damaged data at {self._time(frame.pts)}")
            if (frame.height, frame.width) != self.size:
                raise self._error(f"the size changes from {self._shape()} to {frame.width} x {frame.height}")
            key = frame.pts if self.table.timed else count
            if key not in left:
                raise self._error(f"the decoder returned a frame at {self._time(frame.pts)} that no packet announces")
            number = left.pop(key)
            if number < last:
                raise self._error(f"the order of the pictures contradicts their times at {self._time(frame.pts)}")
            last = number
            yield number, frame
        if left:
            raise self._error(f"{len(left)} of {len(run.frames)} frames did not come out of the decoder")

    def describe(self, orientation: Orientation) -> VideoIndex:
        """The index of the track, given how its first frame is turned."""
        height, width = self.size if orientation.rotation % 180 == 0 else self.size[::-1]
        ticks = np.array(self.table.pts if self.table.timed else [], dtype=np.int64)
        steps = np.diff(ticks)
        clock = float(self._stream.time_base or 0)
        even = self.table.timed and int(ticks[0]) >= 0 and (len(steps) == 0 or int(np.ptp(steps)) <= 1)
        return VideoIndex(
            num_frames=len(self.table.order),
            height=height,
            width=width,
            times=ticks * clock,
            fps=len(steps) / (float(ticks[-1] - ticks[0]) * clock) if len(steps) and clock else 0.0,
            key_frames=self.table.key_frames,
            codec=self._stream.codec.canonical_name,
            container=self._container.format.name,
            rotation=orientation.rotation,
            mirrored=orientation.mirrored,
            regular=even,
            unusual=tuple(self._unusual()),
            stamp=self.source.stamp,
            packets=self.table,
            declared_rate=Fraction(self._stream.average_rate or self._stream.guessed_rate or 0),
        )

    def _clocked(self) -> bool:
        """Whether the container stores presentation times; FFmpeg makes some up for the others."""
        return self._container.format.name.split(",")[0] in CLOCKED

    def _index_misleads(self) -> bool:
        """Whether the container's own index names key frames where decoding cannot start."""
        starts = [packet for packet in self.table.packets if packet.start]
        named = [entry for entry in self._stream.index_entries if entry.is_keyframe]
        if self._container.format.name.startswith("mov"):
            return not {entry.pos for entry in named} <= {packet.position for packet in starts}
        return not {entry.timestamp for entry in named} <= {packet.pts for packet in starts}

    def _unusual(self) -> Iterator[str]:
        """What `VideoIndex.unusual` names."""
        num_packets, claimed = len(self.table.packets), self._stream.frames
        hidden = num_packets - len(self.table.order)
        if len(self._container.streams.video) > 1:
            yield f"it has {len(self._container.streams.video)} video tracks"
        if hidden:
            yield f"{hidden} of its {num_packets} packets are not shown"
        if claimed not in (0, num_packets):
            yield f"its header claims {claimed} frames, it has {num_packets} packets"
        if self._unclean or self.table.leading or self._index_misleads():
            yield "decoding cannot start cleanly at all of its key frames"
        if len(self._setups) > 1:
            yield "its picture size or other parameters change on the way"
        if self._decoder.pix_fmt not in ("yuv420p", "yuvj420p"):
            yield f"its pixels are stored as {self._decoder.pix_fmt}"

    def _open(self) -> None:
        """(Re)open the container at the file's beginning and set up a decoder."""
        self.source.seek(0)
        pixels = str(self._limits.frame_pixels)
        options = {
            "format_whitelist": self._demuxers,
            "codec_whitelist": DECODERS,
            "protocol_whitelist": "none",
            "err_detect": "explode",
        }
        try:
            self._container = av.open(
                self.source,
                "r",
                **TOLERANT,
                options={"max_pixels": pixels},
                container_options=options,
            )
        except av.FFmpegError as error:
            self.source.check_time()
            raise self._error(f"not a video container that is read here ({error.strerror})") from error
        self._stream = self._first_video()
        self._decoder = self._stream.codec_context
        self._sound = sound(self._stream.codec.canonical_name, self._decoder.extradata)
        self._decoder.thread_count = 1
        self._decoder.thread_type = "NONE"
        self._decoder.options = {"err_detect": "crccheck+explode", "max_pixels": pixels}
        self.size = (self._decoder.height, self._decoder.width)
        self._demuxer, self._next = None, -1

    def _first_video(self) -> av.VideoStream:
        """The first video track that is no cover picture."""
        cover = av.stream.Disposition.attached_pic
        tracks = [track for track in self._container.streams.video if not track.disposition & cover]
        if not tracks:
            kinds = sorted({str(stream.type) for stream in self._container.streams})
            raise self._error(f"no video track (its tracks: {', '.join(kinds) or 'none'})")
        if tracks[0].codec_context is None or tracks[0].codec_context.name not in DECODERS.split(","):
            raise self._error("the video track's codec is not among those read here")
        return tracks[0]

    def _packets(self) -> Iterator[av.Packet]:
        """Packets of the track from here on, without empty ones (repeats in AVI, and PyAV's own end mark)."""
        self._seen = 0
        for packet in self._container.demux(self._stream):
            self.source.check_time()
            if packet.is_corrupt:
                raise self._error(f"the file is cut short or damaged at {self._time(packet.pts)}")
            if not self._sound(bytes(packet)):
                raise self._error(f"damaged data at {self._time(packet.pts)}")
            self._seen += packet.pos is not None or packet.size > 0  # PyAV's end mark has neither
            if packet.size:
                yield packet
        self.source.check_time()

    def _pictures(self, run: Run) -> Iterator[av.VideoFrame]:
        """Everything the decoder returns for a run."""
        try:
            for packet in self._sent(run):
                yield from self._decoder.decode(packet)
            yield from self._decoder.decode(None)
        finally:
            self._decoder.flush_buffers()

    def _sent(self, run: Run) -> Iterator[av.Packet]:
        """The packets of a run: from memory, or from the file once more."""
        if self._kept is not None:
            yield from (self._kept[number] for number in run.send)
            return
        if not 0 <= self._next <= run.start <= self._next + PACKETS_PER_SEEK:
            self._land(run.start)
        for number in run.send:
            while self._next < number:
                self._take()
            yield self._take()

    def _take(self) -> av.Packet:
        """The next packet of the file, if it is still the one in the table."""
        packet = next(self._demuxer or iter(()), None)
        rows = self.table.packets
        if packet is None or self._next >= len(rows) or _identity(packet) != rows[self._next].identity:
            raise self._error("the file changed while it was read")
        self._next += 1
        return packet

    def _number_of(self, packet: av.Packet) -> int | None:
        """Place of a packet in the table, None when it is not there."""
        if not self._numbers:
            self._numbers = {row.identity: number for number, row in enumerate(self.table.packets)}
        return self._numbers.get(_identity(packet))

    def _land(self, start: int) -> None:
        """Make the demuxer return packet `start` or an earlier one next: seek, and where that goes wrong begin anew."""
        row, container = self.table.packets[start], self._container.format.name
        ticks = row.dts if container.startswith("mov") else row.pts if container.startswith("matroska") else NO_TIME
        if start and ticks != NO_TIME:
            with contextlib.suppress(av.FFmpegError):
                self._container.seek(ticks, stream=self._stream)
                self._demuxer = self._packets()
                first = next(self._demuxer, None)
                number = None if first is None else self._number_of(first)
                if first is not None and number is not None and number <= start:
                    self._demuxer, self._next = itertools.chain([first], self._demuxer), number
                    return
        self._container.close()
        self._open()
        self._demuxer, self._next = self._packets(), 0

    def _error(self, reason: str) -> DecodeError:
        return DecodeError(self.source.path, reason)

    def _shape(self) -> str:
        return f"{self.size[1]} x {self.size[0]}"

    def _time(self, pts: int | None) -> str:
        clock = self._stream.time_base
        return "an unknown time" if pts is None or clock is None else f"{float(pts * clock):.3f} s"


def _row(packet: av.Packet, picture: Picture) -> Packet:
    position, pts, size = _identity(packet)
    dts = NO_TIME if packet.dts is None else packet.dts
    shown = picture.shown and not packet.is_discard
    return Packet(pts, dts, position, size, picture.start, picture.disposable, shown)


def _identity(packet: av.Packet) -> tuple[int, int, int]:
    """What a packet is known by when it is read a second time: offset in the file, presentation time, size."""
    return -1 if packet.pos is None else packet.pos, NO_TIME if packet.pts is None else packet.pts, packet.size


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn whatever a file makes PyAV raise into the one error that names the file."""
    try:
        yield
    except DecodeError:
        raise
    except av.FFmpegError as error:
        raise DecodeError(path, error.strerror or str(error)) from error
    except Exception as error:
        # A hostile file can trip anything in the binding, such as a division by a clock of zero.
        raise DecodeError(path, f"{type(error).__name__}: {error}") from error
