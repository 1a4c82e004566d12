"""What a frozen teacher is: it looks at whole clips and says what features a student should have, and where to look."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Features, Grid


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
        class_token: whether features have the class token as their prefix.
        unit: whether features have unit length.
    """

    out_dim: int
    num_layers: int
    class_token: bool = False
    unit: bool = True

    @abstractmethod
    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Lesson:
        """Features and saliency of normalised clips, on a grid of the teacher's own."""

    def match(self, grid: Grid) -> None:
        """Prepare for students with this grid: look at frames at the size that has as many rows and columns.

        A teacher that sees one size only has nothing to prepare.
        """


def taught_layers(depth: int, num_layers: int, interval: int) -> list[int]:
    """Indices of the last blocks in ascending order: depth - 1 - i * interval, UMT's and VideoMamba's rule.

    Raises:
        ValueError: when there are not so many.
    """
    layers = [depth - 1 - index * interval for index in range(num_layers)][::-1]
    if num_layers < 1 or interval < 1 or layers[0] < 0:
        raise ValueError(f"a network of {depth} blocks does not have {num_layers} layers at an interval of {interval}")
    return layers


def as_frames(
    video: Float[Tensor, "batch 3 frames height width"], size: tuple[int, int]
) -> Float[Tensor, "images 3 new_height new_width"]:
    """The frames of all clips as images of `size` (height, width), resized bicubically where they have another."""
    frames = video.transpose(1, 2).flatten(0, 1)
    if frames.shape[2:] == size:
        return frames
    return F.interpolate(frames, size=size, mode="bicubic", align_corners=False)
