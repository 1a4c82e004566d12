"""The one rule for rotated videos: what a player would show upright is what we return."""

import struct
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8


class Orientation(NamedTuple):
    """How the stored picture is turned for display.

    Attributes:
        rotation: degrees clockwise, 0, 90, 180 or 270.
        mirrored: flipped left to right before it is turned.
    """

    rotation: int
    mirrored: bool

    def apply(self, picture: UInt8[np.ndarray, "height width *channels"]) -> UInt8[np.ndarray, "new_h new_w *channels"]:
        """The picture, or one plane of it, as it is shown; a view, no pixels are computed."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, -(self.rotation // 90))


# First two columns (a, c; b, d) of the display matrix, as signs: x' = a x + c y, y' = b x + d y with y pointing down
# (ISO/IEC 14496-12, section 6.2.2). Only these eight map the pixel grid onto itself.
BY_SIGNS = {
    (1, 0, 0, 1): Orientation(0, False),
    (0, 1, -1, 0): Orientation(90, False),
    (-1, 0, 0, -1): Orientation(180, False),
    (0, -1, 1, 0): Orientation(270, False),
    (-1, 0, 0, 1): Orientation(0, True),
    (0, 1, 1, 0): Orientation(270, True),
    (1, 0, 0, -1): Orientation(180, True),
    (0, -1, -1, 0): Orientation(90, True),
}


def orientation_of(frame: Any) -> Orientation:
    """Orientation that a decoded PyAV frame carries.

    Raises:
        ValueError: the display matrix is not made of quarter turns and flips.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV stumbles over side data newer than itself; the angle alone it still gives.
        if frame.rotation % 90:
            raise ValueError(f"the display rotation of {frame.rotation} degrees is no quarter turn") from None
        return Orientation(-frame.rotation % 360, False)
    return Orientation(0, False) if data is None else _of_matrix(bytes(data))


def _of_matrix(data: bytes) -> Orientation:
    """Orientation of a display matrix: nine 32-bit integers, row by row, a b u c d v x y w."""
    a, b, _, c, d = struct.unpack_from("=5i", data)
    signs = tuple((value > 0) - (value < 0) for value in (a, b, c, d))
    if signs not in BY_SIGNS or len({abs(value) for value in (a, b, c, d)} - {0}) != 1:
        raise ValueError(f"the display matrix [{a} {b}; {c} {d}] is not made of quarter turns and flips")
    return BY_SIGNS[signs]
