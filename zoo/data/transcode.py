"""A smaller copy of a video that is fast to read anywhere: short side, key frames, the same frames at the same times.

H.264 in mp4, 8 bits, 4:2:0, upright, of even size, without sound. No frame is dropped, doubled or moved: the copy
is read back and compared before it gets its name.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.decode import probe
from zoo.data.orientation import Orientation
from zoo.data.video_file import Limits, VideoIndex

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")

# Files under a temporary name, which a killed process leaves behind.
PARTIAL = ".zoo-partial"

# No key frames at cuts, and none but I and P frames: pictures are stored in the order in which they are shown, so that
# times are trusted by every reader. x264 announces a reordering that it then does not make in short or still videos.
PLAIN = {"sc_threshold": "0", "bf": "0"}

# Frames per second that are written where a file tells neither times nor a rate; only players care.
UNKNOWN_RATE = 25


class TranscodeError(RuntimeError):
    """A copy that did not come out equal to its source."""


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How copies are encoded.

    Attributes:
        short_side: shorter side of the copy in pixels, even; smaller videos keep their size.
        gop: frames from one key frame to the next; no others are made at cuts, so a reader never decodes more than that
            many for one frame.
        crf: quality of x264, 0 (lossless) to 51; x264's own default is 23, and 18 is hard to tell from the source.
        preset: effort of x264: slower presets make smaller files.
    """

    short_side: int = 320
    gop: int = 16
    crf: int = 18
    preset: str = "medium"

    def __post_init__(self) -> None:
        if self.short_side < 16 or self.short_side % 2:
            raise ValueError(f"the short side must be an even number of pixels from 16 on, got {self.short_side}")
        if self.gop < 1:
            raise ValueError(f"the distance of key frames must be at least 1 frame, got {self.gop}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be from 0 to 51, got {self.crf}")
        if self.preset not in PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}; known: {', '.join(PRESETS)}")

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the copy of an upright picture, both even."""
        scale = min(1.0, self.short_side / min(height, width))
        return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def transcode(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    encoding: Encoding | None = None,
    limits: Limits | None = None,
) -> VideoIndex:
    """Write a copy of a video; it appears under its name when it is complete and was compared, and never before.

    Times are those of the source to the tick, except that a source which begins before 0 is moved to 0, and that a
    source without times gets the even ones of the rate it claims. Pixels that are not square stay so: sizes are scaled,
    shapes are not mended. An old file at `target` is replaced.

    Args:
        source: video file; only read.
        target: mp4 file to write; its folder must exist.
        encoding: size and quality; the defaults of `Encoding` when None.
        limits: budgets for reading.

    Returns:
        The index of the copy.

    Raises:
        DecodeError: the source cannot be read exactly from end to end.
        TranscodeError: the copy has other frames or times than the source.
        ValueError: the target has another ending than .mp4, or is the source.
        OSError: the target cannot be written.
    """
    from zoo.data import decode_pyav

    target, encoding, limits = Path(target), encoding or Encoding(), limits or Limits()
    if target.suffix != ".mp4":
        raise ValueError(f"copies are mp4 files, and {str(target)!r} has another ending")
    if target.exists() and os.path.samefile(source, target):
        raise ValueError(f"{str(target)!r} is the source itself")
    partial = target.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        with _Writer(partial, encoding) as writer:
            index = decode_pyav.sweep(os.fsdecode(source), limits=limits, take=writer.take)
        _sync(partial)
        copy = probe(partial, limits=limits)
        _compare(index, copy, encoding)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return copy


class _Writer:
    """The copy while it is written: opened at the first frame, which tells size, clock and colours."""

    def __init__(self, path: Path, encoding: Encoding) -> None:
        self.path, self.encoding = path, encoding
        self._container: Any = None
        self._stream: Any = None
        self._picture: Callable[[Any], Any] = lambda frame: frame
        self._begin, self._clock, self._number = 0, Fraction(0), 0

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._container is None:
            return
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()

    def take(self, index: VideoIndex, frame: Any) -> None:
        """Encode the next frame."""
        if self._container is None:
            self._open(index, frame)
        picture = self._picture(frame)
        # The source's choice of I, P and B frames would otherwise be forced on the encoder.
        picture.pict_type = 0
        picture.pts = frame.pts - self._begin if index.packets.timed else self._number
        picture.time_base = self._clock
        self._number += 1
        self._container.mux(self._stream.encode(picture))

    def _open(self, index: VideoIndex, frame: Any) -> None:
        import av

        timed = index.packets.timed
        rate = index.declared_rate if index.declared_rate > 0 else Fraction(UNKNOWN_RATE)
        if timed and index.fps > 0:
            rate = Fraction(index.fps).limit_denominator(1001)
        self._clock = frame.time_base if timed else 1 / rate
        self._begin = min(0, frame.pts) if timed else 0
        height, width = self.encoding.size(index.height, index.width)
        ticks = str(self._clock.denominator)
        # Both clocks of the file are the source's: by default edit lists are rounded to milliseconds.
        options = {"fflags": "+bitexact", "video_track_timescale": ticks, "movie_timescale": ticks}
        self._container = av.open(str(self.path.absolute()), "w", format="mp4", container_options=options)
        known = {"crf": str(self.encoding.crf), "preset": self.encoding.preset, "g": str(self.encoding.gop)}
        self._stream = self._container.add_stream("libx264", rate=rate, options={**known, **PLAIN})
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"
        self._stream.time_base = Fraction(1, self._clock.denominator)
        context = self._stream.codec_context
        context.time_base, context.thread_count = self._clock, 1
        if not frame.format.is_rgb:
            context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
            context.colorspace = frame.colorspace
        self._picture = _converter(Orientation(index.rotation, index.mirrored), height, width)


def _converter(orientation: Orientation, height: int, width: int) -> Callable[[Any], Any]:
    """Scales and turns frames into 4:2:0 pictures of a size."""
    import av
    from av.video.reformatter import ColorRange, VideoReformatter

    reformatter = VideoReformatter()
    stored = (height, width) if orientation.rotation % 180 == 0 else (width, height)

    def convert(frame: Any) -> Any:
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        picture = reformatter.reformat(
            frame,
            height=stored[0],
            width=stored[1],
            format="yuv420p",
            interpolation="BICUBIC",
            src_color_range="JPEG" if full else "MPEG",
            dst_color_range="MPEG",
            threads=1,
        )
        if orientation == Orientation(0, False):
            return picture
        planes = _planes(picture.to_ndarray(), *stored)
        turned = [orientation.apply(plane).reshape(-1, width) for plane in planes]
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(np.concatenate(turned)), format="yuv420p")

    return convert


def _planes(packed: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """The three planes of a 4:2:0 picture as PyAV packs them, one below the other."""
    flat, luma, chroma = packed.reshape(-1), height * width, height * width // 4
    half = (height // 2, width // 2)
    return [
        flat[:luma].reshape(height, width),
        flat[luma : luma + chroma].reshape(half),
        flat[luma + chroma :].reshape(half),
    ]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _compare(source: VideoIndex, copy: VideoIndex, encoding: Encoding) -> None:
    """Raise TranscodeError unless frames, times, size and key frames of a copy are as they should be."""
    if copy.num_frames != source.num_frames:
        raise TranscodeError(f"the copy has {copy.num_frames} frames, the source {source.num_frames}")
    if (copy.height, copy.width) != encoding.size(source.height, source.width):
        raise TranscodeError(f"the copy is {copy.width} x {copy.height} of {source.width} x {source.height}")
    if copy.key_frames != tuple(range(0, copy.num_frames, encoding.gop)):
        raise TranscodeError(f"the copy has its key frames at {list(copy.key_frames[:8])}, not every {encoding.gop}")
    if len(copy.times) != copy.num_frames:
        raise TranscodeError("the copy has no times that can be trusted")
    if len(source.times) == 0:
        return
    # Both clocks tick alike; what is left is the rounding of seconds to floating point.
    off = np.abs(copy.times - (source.times - min(0.0, float(source.times[0]))))
    if float(off.max()) > 1e-6:
        raise TranscodeError(f"frame {int(off.argmax())} of the copy is shown {float(off.max()):.6f} s off")
