"""Reading exactly the asked frames of a video file, or one error that names the file."""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8


class DecodeError(Exception):
    """A file that cannot be read exactly.

    Attributes:
        path: the file, as it was asked for.
        reason: what is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path!r}: {self.reason}"


def read_frames(
    path: str | os.PathLike[str], indices: Sequence[int] | None = None, *, decoder: str = "pyav"
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Frames of a file in presentation order, or those named by `indices` in that order.

    Args:
        path: video file.
        indices: frame numbers from 0; any order, repeats allowed. All frames when None.
        decoder: backend by name.

    Raises:
        DecodeError: the file or an index cannot be read exactly.
    """
    import av

    try:
        with av.open(os.path.abspath(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return np.stack(frames if indices is None else [frames[index] for index in indices])
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise DecodeError(os.fspath(path), str(error)) from error
