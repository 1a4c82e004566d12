"""Display matrices: eight ways to lie on the grid, everything else refused. Whole files are in test_decode_pyav."""

import struct

import numpy as np
import pytest

from zoo.data.orientation import BY_SIGNS, Orientation, orientation_of


class _Frame:
    def __init__(self, matrix=None, rotation=0, unknown=False):
        self.rotation = rotation
        self._data = None if matrix is None else struct.pack("=9i", *matrix)
        self._unknown = unknown

    @property
    def side_data(self):
        if self._unknown:
            raise ValueError("99 is not a valid Type")
        return {} if self._data is None else {"DISPLAYMATRIX": self._data}


def _matrix(a, b, c, d, scale=65536):
    return (a * scale, b * scale, 0, c * scale, d * scale, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("signs", BY_SIGNS, ids=str)
def test_every_pixel_goes_where_the_matrix_sends_it(signs):
    orientation = orientation_of(_Frame(_matrix(*signs)))
    a, b, c, d = signs
    stored = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    places = {(a * x + c * y, b * x + d * y): stored[y, x] for x in range(3) for y in range(2)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shown = orientation.apply(stored)
    for (x, y), pixel in places.items():
        np.testing.assert_array_equal(shown[y - top, x - left], pixel)


def test_no_matrix_means_upright():
    assert orientation_of(_Frame()) == Orientation(0, False)


@pytest.mark.parametrize("matrix", [(1, 1, -1, 1), (1, 0, 0, 0), (2, 0, 0, 1), (0, 0, 0, 0)], ids=str)
def test_other_matrices_are_refused(matrix):
    with pytest.raises(ValueError, match="not made of quarter turns and flips"):
        orientation_of(_Frame(_matrix(*matrix)))


def test_the_scale_of_the_matrix_does_not_matter():
    assert orientation_of(_Frame(_matrix(0, 1, -1, 0, scale=2 * 65536))) == Orientation(90, False)


def test_side_data_newer_than_pyav_leaves_the_angle():
    assert orientation_of(_Frame(unknown=True, rotation=-90)) == Orientation(90, False)
    assert orientation_of(_Frame(unknown=True)) == Orientation(0, False)
    with pytest.raises(ValueError, match="no quarter turn"):
        orientation_of(_Frame(unknown=True, rotation=45))
