"""A tokenizer small enough to train in a test, and clips in which only one thing moves."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid, clip_sides
from backbones.tokenizer import Codes, Tokenizer

SQUARE, SPEED = 6, 2.0


class ConvTokenizer(Tokenizer):
    """A strided convolution, rounding to a few levels, and a decoder that sees the whole clip in time."""

    tubelet = (2, 4, 4)

    def __init__(self, width: int = 32, dims: int = 6, level: int = 7) -> None:
        super().__init__()
        self.code_dim, self.codebook_size, self.levels = dims, level**dims, (level,) * dims
        self.half = level // 2
        self.encoder = nn.Sequential(
            nn.Conv3d(3, width, self.tubelet, self.tubelet), nn.GELU(), nn.Conv3d(width, dims, 1)
        )
        self.rise = nn.Linear(dims, width)
        self.mix = nn.ModuleList(
            nn.Conv3d(width, width, (3, 3, 3) if dilation == 1 else (3, 1, 1), dilation=(dilation, 1, 1),
                      padding=(dilation, 1, 1) if dilation == 1 else (dilation, 0, 0))
            for dilation in (1, 2, 4)
        )  # fmt: skip
        self.last = nn.ConvTranspose3d(width, 3, self.tubelet, self.tubelet)

    def grid(self, video: Tensor) -> Grid:
        return Grid(*(side // size for side, size in zip(clip_sides(video), self.tubelet, strict=True)))

    def latents(self, video: Tensor) -> Tensor:
        return self.encoder(video - 0.5).movedim(1, -1)

    def quantize(self, latents: Tensor) -> Codes:
        bounded = latents.tanh() * self.half
        digits = bounded.round()
        basis = torch.tensor([self.levels[0] ** place for place in range(self.code_dim)])
        indices = ((digits.long() + self.half) * basis).sum(-1)
        return Codes(indices, (bounded + (digits - bounded).detach()) / self.half, latents, {})

    def reconstruct(self, codes: Tensor) -> Tensor:
        x = self.up_project(codes).movedim(-1, 1)
        for layer in self.mix:
            x = x + layer(F.gelu(x))
        return self.last(x) + 0.5

    def embed(self, indices: Tensor) -> Tensor:
        digits = [indices // self.levels[0] ** place % self.levels[0] for place in range(self.code_dim)]
        return (torch.stack(digits, -1) - self.half) / self.half

    def up_project(self, codes: Tensor) -> Tensor:
        return self.rise(codes)


def moving_square(
    count: int,
    generator: torch.Generator,
    *,
    frames: int = 16,
    side: int = 32,
    noise: float = 0.03,
    uneven: bool = False,
) -> tuple[Tensor, Tensor]:
    """Clips of a bright square on a still, textured ground, and which tokens of 2 x 4 x 4 px it touches.

    A token counts as touched when the square is in it now or was there a slot before, as both change it.

    Args:
        count: clips.
        generator: of everything.
        frames: of a clip.
        side: of a clip.
        noise: its deviation.
        uneven: the right half has six times the noise.

    Returns:
        Clips `[count, 3, frames, side, side]` and booleans `[count, slots, rows, columns]`.
    """
    ground = F.interpolate(torch.rand(count, 3, 8, 8, generator=generator), size=(side, side), mode="bilinear") * 0.6
    ground = ground + 0.2 * torch.rand(count, 3, side, side, generator=generator)
    video = ground[:, :, None].repeat(1, 1, frames, 1, 1)
    touched = torch.zeros(count, frames, side, side, dtype=torch.bool)
    for clip in range(count):
        angle = torch.rand(1, generator=generator).item() * 6.2832
        speed = torch.tensor([angle]).sin().item() * SPEED, torch.tensor([angle]).cos().item() * SPEED
        start = torch.rand(2, generator=generator) * (side - SQUARE)
        color = 0.8 + 0.2 * torch.rand(3, 1, 1, generator=generator)
        for frame in range(frames):
            y, x = (int(_bounce(start[axis].item() + frame * speed[axis], side - SQUARE)) for axis in (0, 1))
            video[clip, :, frame, y : y + SQUARE, x : x + SQUARE] = color
            touched[clip, frame, y : y + SQUARE, x : x + SQUARE] = True
    grain = noise * torch.randn(video.shape, generator=generator)
    if uneven:
        grain[..., side // 2 :] *= 6
    tokens = F.max_pool3d(touched[:, None].float(), (2, 4, 4))[:, 0] > 0
    truth = tokens.clone()
    truth[:, 1:] |= tokens[:, :-1]
    return (video + grain).clamp(0, 1), truth


def _bounce(position: float, span: float) -> float:
    folded = position % (2 * span)
    return folded if folded <= span else 2 * span - folded
