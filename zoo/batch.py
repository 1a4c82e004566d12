"""What the data module hands to objectives and classifiers."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor


class Batch(NamedTuple):
    """Clips of one step. Masks are no part of it: objectives draw their own.

    Attributes:
        video: normalised clips `[B, 3, T, H, W]`.
        label: class index per clip, -1 where there is none.
        row: row of each clip's video in its list, so that several views of one video are merged by identity.
        target: what a regression should give per clip; None where classes are asked for.
    """

    video: Float[Tensor, "batch 3 frames height width"]
    label: Int64[Tensor, "batch"]
    row: Int64[Tensor, "batch"]
    target: Float[Tensor, "batch"] | None = None
