"""What every video decoder here agrees on: the error, the budgets, the index, and how a file may be opened."""

import errno
import io
import os
import stat
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from zoo.data.interrupts import HeldSignals
from zoo.data.packets import PacketTable
from zoo.data.watch import Watch

# O_NONBLOCK: opening a FIFO returns at once. Neither flag exists on Windows.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

# Bytes that a window reads at a time: the headers of a file's parts are small and far apart.
WINDOW = 4096

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


class DecodeError(Exception):
    """A file that cannot be read exactly. Holds strings only, so it survives the way out of a data worker.

    Attributes:
        path: the file, as it was asked for.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path!r}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Budgets for one call; a file that needs more is refused with the budget's name in the error.

    One call into FFmpeg cannot be interrupted from Python. What bounds it is the size of one frame (`frame_pixels`,
    which FFmpeg checks itself before it allocates) and the sample tables (`packets`, checked before FFmpeg builds
    them). The deadline is looked at between frames, between packets and at every read from the file.

    Attributes:
        frame_pixels: largest height times width of one frame; 16.8 million is 4096 x 4096.
        output_pixels: largest frames x height x width of one answer, which takes three bytes each.
        packets: most packets of the video track; a million is 9 hours at 30 frames per second.
        seconds: time of one call; that of a machine that was stopped or asleep is not counted, see `zoo.data.watch`.
        kept_bytes: compressed bytes kept in memory between indexing and decoding; a larger track is read twice.
    """

    frame_pixels: int = 1 << 24
    output_pixels: int = 1 << 30
    packets: int = 1_000_000
    seconds: float = 120.0
    kept_bytes: int = 1 << 26


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoIndex:
    """What a demux-only pass over a file's video track tells.

    The track is the first video track that is not a cover picture. Frames are numbered in presentation order, and
    frames that an edit list hides are not counted.

    Attributes:
        num_frames: frames of the track, counted, never taken from a header.
        height: pixels, after the rotation.
        width: pixels, after the rotation.
        times: presentation time of each frame in seconds; empty for a stream without time stamps.
        fps: frames per second, the mean over the track; 0 where there are no times or one frame only.
        declared_rate: frames per second as the file claims, never checked: all there is of files without times; 0 where
            it claims none.
        key_frames: numbers of the frames from which decoding can start.
        codec: FFmpeg's name, such as "h264".
        container: FFmpeg's name of the demuxer, such as "mov,mp4,m4a,3gp,3g2,mj2".
        rotation: degrees clockwise by which the stored picture is turned for display: 0, 90, 180 or 270.
        mirrored: whether the stored picture is flipped left to right before it is turned.
        regular: times start at 0 or later and all steps are equal, give or take one tick of the track's clock.
        unusual: what a decoder that looks less closely may go wrong at, in words; empty for a plain file.
        stamp: size in bytes and time of last change in nanoseconds of the file that was indexed.
        packets: the track's packets, for reading the same file again without another pass.
    """

    num_frames: int
    height: int
    width: int
    times: Float64[np.ndarray, "times"] = field(repr=False)
    fps: float
    key_frames: tuple[int, ...]
    codec: str
    container: str
    rotation: int
    mirrored: bool
    regular: bool
    unusual: tuple[str, ...]
    stamp: tuple[int, int]
    packets: PacketTable = field(repr=False)
    declared_rate: Fraction = Fraction(0)

    @property
    def duration_s(self) -> float:
        """Seconds for which the frames are shown, the last as long as the mean one; 0 where nothing tells."""
        rate = self.fps or float(self.declared_rate)
        return self.num_frames / rate if rate else 0.0


class Source:
    """A regular file that FFmpeg reads through: no names, protocols or second files, and an end to waiting.

    The read and seek methods must not raise: PyAV would hand the exception to whichever call checks for errors next,
    or to nobody. Past the deadline the file ends, and the caller finds out with `check_time`, which is also where a
    Ctrl-C arrives that came while FFmpeg was at work.
    """

    name = "video"  # what FFmpeg is told: the content decides, never the name

    def __init__(self, path: str | os.PathLike[str], seconds: float) -> None:
        self.path = os.fsdecode(path)
        self._file = open_regular(self.path)
        status = os.fstat(self._file.fileno())
        self.stamp = (status.st_size, status.st_mtime_ns)
        self._seconds = seconds
        self._watch = Watch()
        self._failure = ""
        self._signals = HeldSignals()

    def __enter__(self) -> "Source":
        self._signals.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._signals.__exit__(*error)

    def check_time(self) -> None:
        """Raise DecodeError when the deadline has passed or the file could not be read, and what a signal raises."""
        self._signals.deliver()
        self._check_limits()

    def _check_limits(self) -> None:
        if not self._failure and self._watch.seconds() > self._seconds:
            self._failure = f"not done within the limit of {self._seconds:g} s"
        if self._failure:
            raise DecodeError(self.path, self._failure)

    def check_end(self, what: str, end: int) -> None:
        """Raise DecodeError when a part of the file should end beyond the file."""
        # One byte of padding after an odd RIFF chunk is often left out.
        if end > self.stamp[0] + 1:
            raise DecodeError(
                self.path, f"cut short: {what} should end at byte {end}, the file does at {self.stamp[0]}"
            )

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; none at the end of the file, past the deadline and after a failure."""
        try:
            self._check_limits()
            return self._file.read(size) or b""
        except (OSError, ValueError, DecodeError) as error:
            self._failure = self._failure or str(error)
            return b""

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from a place in the file; fewer at its end."""
        return self.read(size) if self.seek(offset) == offset else b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """New position in the file, negative where there is no such place."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1  # FFmpeg takes any negative position for a failed seek

    def tell(self) -> int:
        """Position in the file."""
        return self._file.tell()


class Window:
    """Buffered reading of a source at places that mostly go up; zeros beyond its end."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._start, self._data = 0, b""

    def read(self, position: int, size: int) -> bytes:
        """So many bytes from a place in the file.

        Raises:
            DecodeError: the deadline has passed, or the file could not be read.
        """
        offset = position - self._start
        if offset < 0 or offset + size > len(self._data):
            self.source.check_time()
            self._start, self._data, offset = position, self.source.read_at(position, WINDOW).ljust(size, b"\0"), 0
        return self._data[offset : offset + size]


def open_regular(path: str) -> io.FileIO:
    """Open a regular file that is not empty, for reading; never blocks on a FIFO and never follows a protocol prefix.

    Raises:
        DecodeError: missing, a folder, a device, a FIFO, a socket, an endless chain of links, empty, or not readable.
    """
    try:
        # Looking first keeps devices closed, whose opening may have effects; looking again defeats a swap in between.
        _check_regular(path, os.stat(path))
        handle = os.open(path, OPEN_FLAGS)
        try:
            _check_regular(path, os.fstat(handle))
            return io.FileIO(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        hint = (
            " (videos are read from files, not from addresses)" if "://" in path and error.errno == errno.ENOENT else ""
        )
        raise DecodeError(path, f"{error.strerror or error}{hint}") from error
    except ValueError as error:  # a null character in the name
        raise DecodeError(path, str(error)) from error


def _check_regular(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise DecodeError(path, f"{KINDS.get(stat.S_IFMT(status.st_mode), 'something else')}, not a regular file")
    if status.st_size == 0:
        raise DecodeError(path, "the file is empty")


def checked_indices(path: str, indices: list[int] | None, num_frames: int) -> list[int]:
    """The asked frame numbers, all when None.

    Raises:
        DecodeError: no frames in the file, or a number below 0 or past the last frame.
    """
    if num_frames == 0:
        raise DecodeError(path, "the video track has no frames")
    if indices is None:
        return list(range(num_frames))
    outside = [number for number in indices if not 0 <= number < num_frames]
    if outside:
        raise DecodeError(path, f"frames {outside[:8]} are outside 0..{num_frames - 1}")
    return indices


def check_output(path: str, num_frames: int, height: int, width: int, limits: Limits) -> None:
    """Refuse an answer larger than the budget before anything is decoded.

    Raises:
        DecodeError: too many pixels.
    """
    if num_frames * height * width > limits.output_pixels:
        claim = f"{num_frames} frames of {width} x {height}"
        raise DecodeError(path, f"{claim} are over the limit of output_pixels={limits.output_pixels}; ask for fewer")
