"""What a frozen teacher is: it looks at whole clips and says what features a student should have, and where to look."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Features


class Lesson(NamedTuple):
    """What a teacher says of some clips.

    Attributes:
        features: after each taught layer, in ascending depth; patch tokens of the whole clip, and one prefix token
            where the method teaches the class token too.
        saliency: how much each position of each frame matters, not normalised; None from a teacher that cannot say.
    """

    features: list[Features]
    saliency: Float[Tensor, "batch time positions"] | None


class Teacher(nn.Module, ABC):
    """A trained network that stays as it is: in evaluation mode, without gradients.

    Attributes:
        out_dim: width of the taught features.
        num_layers: number of taught layers.
    """

    out_dim: int
    num_layers: int

    @abstractmethod
    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Lesson:
        """Features and saliency of normalised clips, on a grid of the teacher's own."""
