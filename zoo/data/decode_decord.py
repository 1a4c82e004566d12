"""The second decoder, decord: only for files that it is known to read right. It does not notice damaged data."""

import importlib.util
import os
import platform
import sys

import numpy as np
from jaxtyping import UInt8

from zoo.data.video_file import DecodeError, Limits, VideoIndex, check_output, checked_indices

CODECS = ("h264", "vp9", "mpeg4")
CONTAINERS = ("mov", "matroska")  # FFmpeg's names of what mp4, and mkv and webm, are read with


def check_available() -> None:
    """Raise ImportError, with the reason, where decord cannot be used."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        machine = f"{sys.platform} on {platform.machine()}"
        raise ImportError(f"decord has builds for Linux on x86-64 only, not for {machine}; use decoder='pyav'")
    if importlib.util.find_spec("decord") is None:
        raise ImportError("decord is not installed: pip install decord")


def refusal(index: VideoIndex) -> str:
    """Why decord must not read a file, judged by its index; empty where it may.

    decord 0.6.0 returned wrong frames without an error, or ended the process, on files of each kind refused here.
    """
    reasons = list(index.unusual)
    if index.codec not in CODECS:
        reasons.append(f"the codec is {index.codec}, not one of {', '.join(CODECS)}")
    if index.container.split(",")[0] not in CONTAINERS:
        reasons.append(f"the container is {index.container}, not mp4, mkv or webm")
    if not index.regular:
        reasons.append("its times are missing, negative or irregular")
    if index.mirrored:
        reasons.append("its pictures are mirrored for display")
    return "; ".join(reasons)


def read(
    path: str, indices: list[int] | None, *, limits: Limits, index: VideoIndex
) -> UInt8[np.ndarray, "frames height width 3"]:
    """The asked frames, or all when `indices` is None. See `zoo.data.decode.read_frames`.

    Args:
        path: video file.
        indices: frame numbers.
        limits: budgets; `seconds` cannot be kept here.
        index: what PyAV says of this very file.

    Raises:
        DecodeError: decord is not offered for this file, or failed.
    """
    if reason := refusal(index):
        raise DecodeError(path, f"not offered to decord: {reason}")
    frames = checked_indices(path, indices, index.num_frames)
    check_output(path, len(frames), index.height, index.width, limits)
    try:
        count, pictures = read_unchecked(path, frames)
    except Exception as error:
        raise DecodeError(
            path, f"decord: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    if count != index.num_frames or pictures.shape != (len(frames), index.height, index.width, 3):
        raise DecodeError(path, f"decord finds {count} frames and returns {pictures.shape}; PyAV's index disagrees")
    return pictures


def read_unchecked(path: str, indices: list[int]) -> tuple[int, UInt8[np.ndarray, "frames height width 3"]]:
    """Number of frames that decord finds, and the asked ones, whatever the file: `read` without its checks.

    Raises:
        Exception: whatever decord raises; some files end the process instead.
    """
    import decord

    # An absolute path, so that no name looks like a protocol to decord.
    reader = decord.VideoReader(os.path.abspath(path), num_threads=1)
    batch = reader.get_batch(indices)
    # With decord.bridge set elsewhere it returns another library's arrays.
    return len(reader), batch.asnumpy() if hasattr(batch, "asnumpy") else np.asarray(batch)
