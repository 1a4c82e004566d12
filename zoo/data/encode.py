"""Writing small real video files, the same bytes every time: the embedded suite and the tests are made of them."""

import difflib
import itertools
import os
import secrets
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from jaxtyping import UInt8

# x264 gave different bytes from run to run at tiny sizes until these four were off.
STEADY_X264 = {"weightp": "0", "mbtree": "0", "rc-lookahead": "0", "sc_threshold": "0"}

# Encoder options that keep the bytes the same: one thread where `thread_count` alone does not reach it, and coding
# units of 16 pixels for x265, which writes other bytes each time, and wrong picture hashes, when one unit covers the
# picture.
STEADY = {
    "libx264": STEADY_X264,
    "libx265": {"x265-params": "pools=none:frame-threads=1:ctu=16:max-tu-size=16:log-level=none"},
    "libsvtav1": {"svtav1-params": "lp=1"},
}

# Muxers by file ending; the names are FFmpeg's.
MUXERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".ts": "mpegts",
    ".mpg": "mpeg",
    ".flv": "flv",
    ".asf": "asf",
    ".wmv": "asf",
    ".h264": "h264",
    ".hevc": "hevc",
}


def write_video(
    path: str | os.PathLike[str],
    frames: UInt8[np.ndarray, "frames height width 3"],
    *,
    fps: int | Fraction,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    pixel_format: str = "yuv420p",
    muxer: str | None = None,
    muxer_options: Mapping[str, str] | None = None,
) -> None:
    """Encode frames into a video file that appears under its name only when it is complete.

    The same frames and options give the same bytes on one machine and one version of PyAV: one thread, no dates and no
    random identifiers in the file, and none of the x264 searches that were seen to vary.

    Args:
        path: file to write; its folder must exist, an old file of that name is replaced.
        frames: RGB frames, uint8, at least one; 4:2:0 formats need an even height and width.
        fps: frames per second; a Fraction for rates such as 30000/1001.
        codec: encoder by FFmpeg's name.
        options: encoder options by FFmpeg's names, stronger than the steady ones. All-intra H.264 at a constant
            quantiser is `{"g": "1", "qp": "18"}`.
        pixel_format: format of the stored pixels by FFmpeg's name.
        muxer: container by FFmpeg's name; taken from the file's ending when None.
        muxer_options: container options by FFmpeg's names, such as `{"movflags": "faststart"}`.

    Raises:
        ValueError: no frames, odd sizes for 4:2:0, a rate that is not positive, an unknown ending or encoder, or
            options that the encoder does not take.
        ImportError: PyAV (`pip install av`) is missing.
    """
    _check_frames(frames, Fraction(fps), pixel_format)
    write_stream(
        path,
        frames,
        fps=fps,
        codec=codec,
        options=options,
        pixel_format=pixel_format,
        muxer=muxer,
        muxer_options=muxer_options,
    )


def write_stream(
    path: str | os.PathLike[str],
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    *,
    fps: int | Fraction,
    codec: str = "libx264",
    options: Mapping[str, str] | None = None,
    pixel_format: str = "yuv420p",
    muxer: str | None = None,
    muxer_options: Mapping[str, str] | None = None,
) -> None:
    """`write_video` for frames that come one by one, of which only one is kept; the first gives the size.

    What `frames` raises on the way, Ctrl-C too, leaves no file behind.

    Raises:
        ValueError: as `write_video`.
        ImportError: likewise.
    """
    path, frames = Path(path), iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError(f"a video needs at least one frame; there is none for {str(path)!r}")
    _check_frames(first[None], Fraction(fps), pixel_format)
    muxer = muxer or _muxer_of(path)
    # A process-unique name in the same folder: two writers never share a temporary file, and os.replace stays atomic.
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "wb") as file:
            _encode(
                file,
                first,
                frames,
                muxer,
                dict(muxer_options or {}),
                rate=Fraction(fps),
                codec=codec,
                options=_steady(codec, options or {}),
                pixel_format=pixel_format,
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _pyav() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("writing videos needs PyAV: pip install av") from error
    return av


def _check_frames(frames: np.ndarray, fps: Fraction, pixel_format: str) -> None:
    count, height, width, _ = frames.shape
    if min(count, height, width) < 1:
        raise ValueError(f"a video needs at least one frame of at least one pixel, got shape {frames.shape}")
    if "420" in pixel_format and (height % 2 or width % 2):
        raise ValueError(f"{pixel_format} needs an even height and width, got {height} x {width}; use yuv444p")
    if fps <= 0:
        raise ValueError(f"fps must be positive, got {fps}")


def _muxer_of(path: Path) -> str:
    if path.suffix.lower() not in MUXERS:
        raise ValueError(f"no container for the ending of {str(path)!r}; known: {', '.join(MUXERS)}; or pass muxer")
    return MUXERS[path.suffix.lower()]


def _steady(codec: str, options: Mapping[str, str]) -> dict[str, str]:
    """The caller's options over the steady ones; lists of the form `a=1:b=2` are joined, the later entry wins there."""
    steady = STEADY.get(codec, {})
    joined = {
        name: f"{steady[name]}:{options[name]}" for name in steady if name in options and name.endswith("-params")
    }
    return {**steady, **options, **joined}


def _encode(
    file: object,
    first: np.ndarray,
    rest: Iterable[np.ndarray],
    muxer: str,
    muxer_options: dict[str, str],
    *,
    rate: Fraction,
    codec: str,
    options: dict[str, str],
    pixel_format: str,
) -> None:
    av = _pyav()
    if codec not in av.codecs_available:
        close = difflib.get_close_matches(codec, av.codecs_available, n=3)
        raise ValueError(f"this PyAV has no encoder {codec!r}; close: {', '.join(close) or 'none'}")
    try:
        # bitexact leaves out dates, version strings and random identifiers.
        with av.open(file, "w", format=muxer, container_options={"fflags": "+bitexact", **muxer_options}) as container:
            stream = container.add_stream(codec, rate=rate, options=options)
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = pixel_format
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
            for picture in itertools.chain([first], rest):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            unused = set(options) & set(stream.codec_context.options)
    except (av.FFmpegError, ValueError) as error:
        raise ValueError(f"{codec} in {muxer} with {options} refused {first.shape} {pixel_format}: {error}") from error
    if unused:
        raise ValueError(f"{codec} takes no option {', '.join(sorted(unused))}")
