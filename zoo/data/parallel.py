"""One function over many items in worker processes, in order."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

Item = TypeVar("Item")
Made = TypeVar("Made")

# Starting a process costs about as much as so many small videos.
ITEMS_PER_WORKER = 32


class _Applied(Dataset[Any]):
    """The function's answers, by number."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.function(self.items[number])


def in_order(function: Callable[[Item], Made], items: Sequence[Item], *, workers: int | None = None) -> Iterator[Made]:
    """The function's answer for each item, in the order of the items; a few answers wait in memory at a time.

    Processes, because threads wait for each other here: reading or writing a small video mostly holds Python's lock,
    and two threads were slower than one. Few items are done in this process.

    Args:
        function: can be pickled, and so can its answers. What it raises is raised here.
        items: what it is applied to.
        workers: most processes; one per core when None.
    """
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(items) // ITEMS_PER_WORKER)
    yield from DataLoader(
        _Applied(function, items),
        batch_size=None,
        num_workers=workers if workers > 1 else 0,
        collate_fn=_unchanged,
        generator=torch.Generator(),  # a loader without one draws from the caller's
    )


def _unchanged(answer: Made) -> Made:
    """Keeps the loader from turning answers into tensors."""
    return answer
