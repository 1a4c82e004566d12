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
    import decord

    try:
        # An absolute path, so that no name looks like a protocol to decord.
        reader = decord.VideoReader(os.path.abspath(path), num_threads=1)
        count, batch = len(reader), reader.get_batch(frames)
        # With decord.bridge set elsewhere it returns another library's arrays.
        pictures = batch.asnumpy() if hasattr(batch, "asnumpy") else np.asarray(batch)
    except Exception as error:
        raise DecodeError(
            path, f"decord: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    if count != index.num_frames or pictures.shape != (len(frames), index.height, index.width, 3):
        raise DecodeError(path, f"decord finds {count} frames and returns {pictures.shape}; PyAV's index disagrees")
    return pictures
