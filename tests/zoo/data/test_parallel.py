import os
from functools import partial

import numpy as np
import pytest
import torch

from zoo.data.parallel import ITEMS_PER_WORKER, in_order


def tell(number):
    return number, os.getpid()


def refuse(number, *, bad):
    if number == bad:
        raise ValueError(f"number {number} is bad")
    return number


def test_answers_come_in_the_order_of_the_items_from_several_processes():
    answers = list(in_order(tell, range(3 * ITEMS_PER_WORKER), workers=2))
    assert [number for number, _ in answers] == list(range(3 * ITEMS_PER_WORKER))
    assert len({process for _, process in answers} - {os.getpid()}) == 2


@pytest.mark.parametrize(("count", "workers"), [(2 * ITEMS_PER_WORKER - 1, None), (4 * ITEMS_PER_WORKER, 1), (0, 4)])
def test_few_items_or_one_worker_stay_in_this_process(count, workers):
    answers = list(in_order(tell, range(count), workers=workers))
    assert answers == [(number, os.getpid()) for number in range(count)]


# After an error torch waits 5 s for each worker before it ends it.
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_the_function_raises_is_raised_here(workers):
    with pytest.raises(ValueError, match="number 70 is bad"):
        list(in_order(partial(refuse, bad=70), range(100), workers=workers))


def test_answers_are_not_turned_into_tensors():
    [answer] = in_order(np.zeros, [(2, 3)])
    assert type(answer) is np.ndarray


@pytest.mark.parametrize("workers", [1, 2])
def test_the_callers_random_numbers_are_left_alone(workers):
    before = torch.get_rng_state()
    list(in_order(tell, range(2 * ITEMS_PER_WORKER), workers=workers))
    assert torch.equal(torch.get_rng_state(), before)
