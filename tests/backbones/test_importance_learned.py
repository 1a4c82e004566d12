"""The scorer learns what moves (spec-lvmae-magvit D.4, tests 10, 11 and 13)."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from backbones.importance import AdaptiveTokenizer, ImportanceScorer, top_k
from tests.backbones.toy_video import ConvTokenizer, moving_square

KEPT = 60  # of the 448 codes after the first slot, about as many as the square touches
# The specification's noise of 0.03 leaves nothing to learn here: an untrained scorer then has an AUC of 0.998, because
# kernels as large as their strides blur nothing. It says no learning rate; at 2e-3 AUC still rises after 400 steps.
NOISE, RATE = 0.12, 5e-3


class Found(NamedTuple):
    auc: float
    precision: float
    moving_error: float


def tokenizer_of(seed: int) -> AdaptiveTokenizer:
    torch.manual_seed(seed)
    return AdaptiveTokenizer(ConvTokenizer(), ImportanceScorer((2, 4, 4), hidden=16, dim=8), keep_tokens=64 + KEPT)


def at_random(count: int, generator: torch.Generator) -> Tensor:
    chosen = top_k(torch.rand(count, 448, generator=generator), KEPT).view(count, 7, 8, 8)
    return torch.cat([torch.ones(count, 1, 8, 8), chosen], 1)[..., None]


def train(tokenizer: AdaptiveTokenizer, steps: int, *, random: bool = False, **scene) -> None:
    generator = torch.Generator().manual_seed(0)
    tokenizer.train()
    optimizer = torch.optim.Adam(tokenizer.parameters(), lr=RATE)
    for _ in range(steps):
        video, _ = moving_square(8, generator, **scene)
        whole = tokenizer.tokenizer.latents(video) * at_random(8, generator) if random else tokenizer.latents(video)
        loss = (tokenizer.reconstruct(tokenizer.quantize(whole).codes) - video).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def judge(tokenizer: AdaptiveTokenizer, *, random: bool = False, **scene) -> Found:
    """How well scores tell what moves, and the error there with as many codes as in training."""
    generator = torch.Generator().manual_seed(999)
    video, truth = moving_square(64, generator, **scene)
    tokenizer.eval()
    scores, moves = tokenizer.importance(video)[:, 1:].flatten(1), truth[:, 1:].flatten(1)
    chosen = top_k(scores, KEPT)
    gates = at_random(64, generator) if random else tokenizer.gates(video)[..., None]
    made = tokenizer.reconstruct(tokenizer.quantize(tokenizer.tokenizer.latents(video) * gates).codes)
    pixels = truth.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
    error = (made - video).square().mean(1)[pixels].mean().item()
    auc = binary_auroc(scores.flatten(), moves.flatten().long()).item()
    return Found(auc, (chosen * moves).sum().item() / chosen.sum().item(), error)


@pytest.mark.slow  # 40 s each
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_scorer_learns_what_moves_and_spares_its_error(seed):
    tokenizer = tokenizer_of(seed)
    start = judge(tokenizer, noise=NOISE)
    train(tokenizer, 400, noise=NOISE)
    blind = tokenizer_of(seed)
    train(blind, 400, random=True, noise=NOISE)
    end, without = judge(tokenizer, noise=NOISE), judge(blind, random=True, noise=NOISE)
    print(start, end, without)
    base = 0.137  # share of the codes after the first slot that the square touches
    assert end.auc >= 0.95
    assert end.auc >= start.auc + 0.02
    assert end.precision >= max(0.7, 5 * base)
    assert end.moving_error <= 0.75 * without.moving_error


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_scorer_does_not_run_after_noise(seed):
    tokenizer = tokenizer_of(seed)
    start = judge(tokenizer, uneven=True)
    train(tokenizer, 400, uneven=True)
    end = judge(tokenizer, uneven=True)
    print(start, end)
    assert end.auc >= start.auc
