"""Image files as videos of one frame, for image data sets that video networks are measured on.

A file is an image when its name and its content both say so. A JPEG called .mp4 stays what it was, a broken video, and
a video called .jpg is read as the video that it is.

Orientation tags (EXIF) are left alone and colours are made RGB by Pillow's rule, as torchvision's image folders do.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from zoo.data.packets import PacketTable
from zoo.data.video_file import DecodeError, Limits, VideoIndex, check_output, checked_indices, open_regular

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# ImageNet has a PNG and some CMYK files among its files called .JPEG; Pillow tells them by their content.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"RIFF", b"BM")
WEBP = b"WEBP"


def is_image(path: str) -> bool:
    """Whether name and content of a file are an image's.

    Raises:
        DecodeError: for a file of an image's name that cannot be opened.
    """
    if not path.lower().endswith(SUFFIXES):
        return False
    with open_regular(path) as stream:
        beginning = stream.read(12) or b""
    return beginning.startswith(BEGINNINGS) and (not beginning.startswith(b"RIFF") or beginning.endswith(WEBP))


def read(path: str, indices: list[int] | None, *, limits: Limits) -> UInt8[np.ndarray, "frames height width 3"]:
    """The image, as often as it is asked for.

    Raises:
        DecodeError: a damaged file, one over a budget, or a frame number other than 0.
    """
    frames = checked_indices(path, indices, 1)
    with _opened(path, limits) as image:
        check_output(path, len(frames), image.height, image.width, limits)
        try:
            picture = np.asarray(image.convert("RGB"))
        except Exception as error:  # Pillow's plugins raise whatever their parsers do
            raise DecodeError(path, f"damaged image: {error}") from error
    return np.repeat(picture[None], len(frames), axis=0)


def probe(path: str, *, limits: Limits) -> VideoIndex:
    """The index of a video of one frame, without decoding it.

    Raises:
        DecodeError: no image, or one over a budget.
    """
    with _opened(path, limits) as image:
        status = os.stat(path)
        return VideoIndex(
            num_frames=1,
            height=image.height,
            width=image.width,
            times=np.zeros(1),
            fps=0.0,
            key_frames=(0,),
            codec=(image.format or "").lower(),
            container="image",
            rotation=0,
            mirrored=False,
            regular=True,
            unusual=(),
            stamp=(status.st_size, status.st_mtime_ns),
            packets=PacketTable(packets=(), order=np.zeros(1, np.int64), timed=True),
        )


@contextlib.contextmanager
def _opened(path: str, limits: Limits) -> Iterator[Image.Image]:
    with open_regular(path) as stream:
        try:
            with warnings.catch_warnings():
                # Pillow only warns of sizes far beyond the budget.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(stream, formats=FORMATS)
        except Exception as error:
            raise DecodeError(path, f"not an image that is read here ({type(error).__name__})") from error
        if image.width * image.height > limits.frame_pixels:
            raise DecodeError(
                path,
                f"an image of {image.width} x {image.height} is over the limit of frame_pixels={limits.frame_pixels}",
            )
        yield image
