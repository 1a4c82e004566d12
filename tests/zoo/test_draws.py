import random

import numpy as np
import pytest
import torch

from zoo.draws import borrowed, seed_from


def states():
    return random.getstate(), [part.tolist() for part in np.random.get_state()[1:2]], torch.get_rng_state().tolist()


def draws():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_draws_whatever_came_before():
    with borrowed(5):
        first = draws()
    draws()
    with borrowed(5):
        assert draws() == first
    with borrowed(6):
        other = draws()
    assert all(one != two for one, two in zip(first, other, strict=True))


def test_global_generators_are_as_they_were_also_after_an_error():
    before = states()
    with borrowed(5):
        draws()
    assert states() == before
    with pytest.raises(ZeroDivisionError), borrowed(5):
        draws()[0] / 0
    assert states() == before


def test_seeds_come_from_the_generator_and_fit_all_libraries():
    generator = torch.Generator().manual_seed(1)
    first, second = seed_from(generator), seed_from(generator)
    assert first != second
    assert first == seed_from(torch.Generator().manual_seed(1))
    for seed in (0, first, 2**63 - 2):
        with borrowed(seed):
            draws()
    torch.manual_seed(4)
    mine = seed_from(None)
    torch.manual_seed(4)
    assert seed_from(None) == mine
