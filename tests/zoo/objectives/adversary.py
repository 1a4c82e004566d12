"""A tokenizer with a backbone, and its training against a discriminator, at a size that trains in milliseconds."""

import torch
from torch import nn

from backbones.magvit import magvit
from zoo.batch import Batch
from zoo.objectives.discriminator import Discriminator
from zoo.objectives.tokenizer import TokenizerTraining

CLIP = (4, 8, 8)


class Distance(nn.Module):
    """Mean absolute difference under fixed weights, in the place of a perceptual network."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(8, 4, bias=False)
        with torch.no_grad():
            self.project.weight.copy_(torch.linspace(-1, 1, 32).view(4, 8))

    def forward(self, made, video):
        return (self.project(made) - self.project(video)).abs().mean()


def tokenizer(**options):
    small = {"multipliers": (1, 1), "depth": 1, "time_strides": (2,), "causal": False, "version": 1}
    return magvit(**{"levels": 4, "channels": 4, **small, **options})


def judge():
    return Discriminator(num_frames=4, img_size=8, channels=2, multipliers=(1,))


def training(*, adversary=True, **options):
    torch.manual_seed(0)
    return TokenizerTraining(tokenizer(), judge() if adversary else None, **options).train()


def batch(count=2, seed=0):
    video = torch.rand(count, 3, *CLIP, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(video, torch.full((count,), -1), torch.arange(count))
