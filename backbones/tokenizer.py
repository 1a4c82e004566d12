"""The contract of video tokenizers: clips to integer codes and back."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Grid


class Codes(NamedTuple):
    """Clips as a tokenizer sees them.

    Attributes:
        indices: entries of the codebook, 0 to `codebook_size` - 1.
        codes: the quantized latents; gradients pass straight through to `latents`.
        latents: what was quantized.
        auxiliary: terms that the quantizer adds to a training loss, by name; weights are the objective's.
    """

    indices: Int64[Tensor, "batch t h w"]
    codes: Float[Tensor, "batch t h w dim"]
    latents: Float[Tensor, "batch t h w dim"]
    auxiliary: dict[str, Tensor]


class Reconstruction(NamedTuple):
    """What comes back of clips that went through a tokenizer.

    Attributes:
        video: pixels near 0-1; not clamped, so that a loss sees how far outside they lie.
        codes: what it was decoded from.
    """

    video: Float[Tensor, "batch 3 frames height width"]
    codes: Codes


class Tokenizer(nn.Module, ABC):
    """Clips to integers of a finite codebook and back.

    Clips hold pixels in 0-1: a tokenizer scales them as its weights expect, so that no caller has to know. Frames that
    leave are as many as entered.

    Attributes:
        codebook_size: number of different codes.
        code_dim: width of a code vector.
        tubelet: pixels per code (frames, height, width). A causal tokenizer has one slot for the first frame alone and
            one for every `tubelet[0]` frames after it.
        causal: convolutions see the past only. Codes of earlier frames then do not depend on later ones, unless norms
            take the statistics of the whole clip, as in Open-MAGVIT2's released video model.
        levels: how many values each dimension of a code takes, where indices are mixed radix with the first dimension
            running fastest; () for a codebook without such a form.
    """

    codebook_size: int
    code_dim: int
    tubelet: tuple[int, int, int]
    causal: bool = False
    levels: tuple[int, ...] = ()

    @abstractmethod
    def grid(self, video: Float[Tensor, "batch 3 frames height width"]) -> Grid:
        """Numbers of codes of a clip.

        Raises:
            ValueError: for a clip that cannot be cut into tubelets, or is no clip.
        """

    @abstractmethod
    def latents(self, video: Float[Tensor, "batch 3 frames height width"]) -> Float[Tensor, "batch t h w dim"]:
        """What the encoder makes of clips, before quantization."""

    @abstractmethod
    def quantize(self, latents: Float[Tensor, "batch t h w dim"]) -> Codes:
        """Latents rounded to code vectors, with straight-through gradients."""

    @abstractmethod
    def reconstruct(self, codes: Float[Tensor, "batch t h w dim"]) -> Float[Tensor, "batch 3 frames height width"]:
        """Clips from code vectors, pixels not clamped."""

    @abstractmethod
    def embed(self, indices: Int64[Tensor, "batch t h w"]) -> Float[Tensor, "batch t h w dim"]:
        """Code vectors of indices.

        Raises:
            ValueError: for an index outside the codebook.
        """

    def encode(self, video: Float[Tensor, "batch 3 frames height width"]) -> Int64[Tensor, "batch t h w"]:
        """Indices of clips."""
        return self.quantize(self.latents(video)).indices

    def decode(self, indices: Int64[Tensor, "batch t h w"]) -> Float[Tensor, "batch 3 frames height width"]:
        """Clips of indices, pixels in 0-1."""
        return self.reconstruct(self.embed(indices)).clamp(0, 1)

    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Reconstruction:
        """Clips through the codebook and back."""
        codes = self.quantize(self.latents(video))
        return Reconstruction(self.reconstruct(codes.codes), codes)

    def up_project(self, codes: Float[Tensor, "batch t h w dim"]) -> Float[Tensor, "batch t h w width"]:
        """Code vectors as the decoder's learned up-projection makes them wider, token by token.

        Raises:
            ValueError: for a tokenizer without such a layer.
        """
        raise ValueError(
            f"{type(self).__name__} has no up-projection of its code vectors; make one with embed_dim=WIDTH"
        )

    def importance(self, video: Float[Tensor, "batch 3 frames height width"]) -> Float[Tensor, "batch t h w"]:
        """How much each code matters for the clip; larger is more.

        Raises:
            ValueError: when the tokenizer has learned no scorer.
        """
        raise ValueError(f"{type(self).__name__} has no importance scorer; take an adaptive tokenizer")
