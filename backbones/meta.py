"""Networks without memory: shapes and names of the largest models within milliseconds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FILLING = {
    f"{name}_"
    for name in ("add", "bernoulli", "clamp", "copy", "erfinv", "fill", "mul", "normal", "sub", "uniform", "zero")
}


class _Unfilled(TorchFunctionMode):
    """Start values of tensors without memory are not computed, which took most of the time of making them."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        filled = args[0] if args else named.get("tensor")  # torch.nn.init names it
        if getattr(func, "__name__", "") in FILLING and isinstance(filled, Tensor) and filled.is_meta:
            return filled
        return func(*args, **named)


@contextmanager
def meta_device() -> Iterator[None]:
    """What is made within lies on the meta device: it has shapes, formats and names, and no values."""
    with torch.device("meta"), _Unfilled():
        yield
