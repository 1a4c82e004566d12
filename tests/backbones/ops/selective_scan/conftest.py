from collections.abc import Callable

import pytest
import torch

from backbones.ops.selective_scan import ScanInputs

Problem = tuple[ScanInputs, torch.Tensor]


@pytest.fixture
def problem() -> Callable[..., Problem]:
    """Random inputs of one direction, and a gate, in any layout of B and C and with any tensor left out."""

    def make(
        batch=2, dim=6, length=19, state=4, *, groups=None, constant="", without="", dtype=torch.float64, seed=0
    ) -> Problem:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        per_token = (batch, state, length) if groups is None else (batch, groups, state, length)
        inputs = ScanInputs(
            u=draw(batch, dim, length),
            delta=0.5 * draw(batch, dim, length),
            A=-draw(dim, state).abs() - 0.1,
            B=draw(dim, state) if "B" in constant else draw(*per_token),
            C=draw(dim, state) if "C" in constant else draw(*per_token),
            D=None if "D" in without else draw(dim),
            delta_bias=None if "b" in without else draw(dim),
        )
        return inputs, draw(batch, dim, length)

    return make
