"""What the data module hands to objectives and classifiers."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor


class Unread(NamedTuple):
    """A video of a list that an evaluation could not read.

    Attributes:
        row: its row; where several parts of a video share one, all of it counts as failed.
        path: the file.
        reason: what is wrong with it.
    """

    row: int
    path: str
    reason: str


class Batch(NamedTuple):
    """Clips of one step. Masks are no part of it: objectives draw their own.

    Attributes:
        video: normalised clips `[B, 3, T, H, W]`.
        label: class index per clip, -1 where there is none.
        row: row of each clip's video in its list, so that several views of one video are merged by identity.
        target: what a regression should give per clip; None where classes are asked for.
        view: number of each clip among the views of its row, from 0; None where nobody counted.
        failed: videos of an evaluation that should be in this batch and could not be read.
    """

    video: Float[Tensor, "batch 3 frames height width"]
    label: Int64[Tensor, "batch"]
    row: Int64[Tensor, "batch"]
    target: Float[Tensor, "batch"] | None = None
    view: Int64[Tensor, "batch"] | None = None
    failed: tuple[Unread, ...] = ()
