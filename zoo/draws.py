"""Other libraries' random draws, taken from our generators.

timm's augmentations and mixing draw from the global generators of Python and numpy, torchvision's from torch's. Here is
the one place where these are seeded for a moment and put back.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_from(generator: torch.Generator | None) -> int:
    """A seed drawn from a generator; from torch's global one when None."""
    return int(torch.randint(2**63 - 1, (), generator=generator))


@contextmanager
def borrowed(seed: int) -> Iterator[None]:
    """Let Python's, numpy's and torch's global CPU generators start at a seed; their own states come back afterwards.

    Args:
        seed: from 0; the same seed gives the same draws. numpy takes its lowest 32 bits.
    """
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)
