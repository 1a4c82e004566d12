"""The smallest tokenizer that keeps the contract: the signs of random projections of each tubelet."""

import torch
from einops import rearrange
from torch import Tensor, nn

from backbones.contract import Grid, clip_sides
from backbones.tokenizer import Codes, Tokenizer


class ToyTokenizer(Tokenizer):
    """Tubelets to bits and back by two linear maps, with a learnable importance: the mean brightness of a tubelet."""

    tubelet = (2, 8, 8)

    def __init__(self, bits: int = 6) -> None:
        super().__init__()
        self.code_dim, self.codebook_size, self.levels = bits, 2**bits, (2,) * bits
        frames, height, width = self.tubelet
        self.project = nn.Linear(3 * frames * height * width, bits)
        self.back = nn.Linear(bits, 3 * frames * height * width)

    def grid(self, video: Tensor) -> Grid:
        return Grid(*(side // size for side, size in zip(clip_sides(video), self.tubelet, strict=True)))

    def latents(self, video: Tensor) -> Tensor:
        return self.project(self._tubelets(video) - 0.5)

    def quantize(self, latents: Tensor) -> Codes:
        signs = torch.where(latents > 0, 1.0, -1.0)
        indices = ((signs > 0).long() << torch.arange(self.code_dim)).sum(-1)
        return Codes(indices, latents + (signs - latents).detach(), latents, {})

    def reconstruct(self, codes: Tensor) -> Tensor:
        frames, height, width = self.tubelet
        return rearrange(
            self.back(codes), "b t h w (c f y x) -> b c (t f) (h y) (w x)", c=3, f=frames, y=height, x=width
        )

    def embed(self, indices: Tensor) -> Tensor:
        return ((indices[..., None] >> torch.arange(self.code_dim)) & 1) * 2.0 - 1.0

    def importance(self, video: Tensor) -> Tensor:
        return self._tubelets(video).mean(-1)

    def _tubelets(self, video: Tensor) -> Tensor:
        frames, height, width = self.tubelet
        return rearrange(video, "b c (t f) (h y) (w x) -> b t h w (c f y x)", f=frames, y=height, x=width)
