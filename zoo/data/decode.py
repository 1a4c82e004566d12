"""Reading exactly the asked frames of a video file, or one error that names the file.

    frames = read_frames("clip.mp4", [0, 30, 60])    # uint8 [3, height, width, 3]
    index = probe("clip.mp4")                        # frames, size, times, key frames, without decoding the clip

Every frame that comes back has been identified by its presentation time, and nothing on the way to it was reported as
damaged. See `zoo.data.decode_pyav` for how, and `Limits` for what bounds the work.
"""

import operator
import os
from collections.abc import Iterable
from types import ModuleType
from typing import SupportsIndex

import numpy as np
from jaxtyping import UInt8

from zoo.data import images
from zoo.data.video_file import DecodeError, Limits, VideoIndex

__all__ = ["DECODERS", "DecodeError", "Limits", "VideoIndex", "decode_all", "probe", "read_frames"]

DECODERS = ("pyav", "decord")


def read_frames(
    path: str | os.PathLike[str],
    indices: Iterable[SupportsIndex] | None = None,
    *,
    decoder: str = "pyav",
    limits: Limits | None = None,
    index: VideoIndex | None = None,
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Exactly the asked frames of a video file.

    Frames are numbered from 0 in presentation order. Frames that an edit list hides are not counted, a repeated or
    dropped frame of a variable-rate file is what the file holds, and pictures are turned as the file's display matrix
    says (quarter turns and flips). A file with several video tracks gives the first that is no cover picture. Opens the
    file, reads on one thread and closes everything within the call: nothing is left that a fork could share.

    Args:
        path: video file. Only regular files are read: an address such as http://... is looked up as a file name.
        indices: frame numbers; any order, repeats allowed, none negative. All frames when None.
        decoder: "pyav", or "decord", which refuses files that it is not known to read right and does not notice damaged
            data; Linux on x86-64 only.
        limits: budgets; the defaults of `Limits` when None.
        index: what `probe` returned for this file. Saves a pass over long files.

    Returns:
        RGB frames, 0..255, in the order asked for: an array of its own in memory that `torch.from_numpy` can share.

    Raises:
        DecodeError: the file cannot be read exactly, whatever the reason.
        ImportError: the decoder's package is missing.
        ValueError: an unknown decoder, or no indices at all.
        TypeError: an index that is no integer.
    """
    numbers = None if indices is None else [operator.index(number) for number in indices]
    if numbers == []:
        raise ValueError(f"no frame indices were asked for of {os.fsdecode(path)!r}; pass None for all frames")
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; known: {', '.join(DECODERS)}")
    name, limits = os.fsdecode(path), limits or Limits()
    if images.is_image(name):
        return images.read(name, numbers, limits=limits)
    if decoder == "decord":
        from zoo.data import decode_decord

        decode_decord.check_available()
        return decode_decord.read(name, numbers, limits=limits, index=index or _pyav().probe(name, limits=limits))
    return _pyav().read(name, numbers, limits=limits, index=index)


def probe(path: str | os.PathLike[str], *, limits: Limits | None = None) -> VideoIndex:
    """Index of a file's video track: number of frames, size, times, key frames, codec.

    Reads every packet of the track but decodes only the first frame, to learn how it is turned; so a probe that
    succeeds does not prove that the rest can be decoded.

    Raises:
        DecodeError: the file cannot be indexed.
        ImportError: PyAV is missing.
    """
    name, limits = os.fsdecode(path), limits or Limits()
    return images.probe(name, limits=limits) if images.is_image(name) else _pyav().probe(name, limits=limits)


def decode_all(path: str | os.PathLike[str], *, limits: Limits | None = None) -> VideoIndex:
    """Decode every frame of a file and keep none: whether all of it can be read, however long it is.

    Raises:
        DecodeError: the file cannot be read exactly from end to end.
        ImportError: PyAV is missing.
    """
    return _pyav().sweep(os.fsdecode(path), limits=limits or Limits())


def _pyav() -> ModuleType:
    try:
        from zoo.data import decode_pyav
    except ImportError as error:
        raise ImportError("reading videos needs PyAV: pip install av") from error
    return decode_pyav
