"""Index arithmetic on raster token indices."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor


def take(
    tokens: Shaped[Tensor, "rows tokens *rest"], keep: Int64[Tensor, "batch kept"] | None
) -> Shaped[Tensor, "_ _ *rest"]:
    """Rows `keep` of `tokens`, per sample; all rows, uncopied, when `keep` is None.

    `tokens` may have batch size 1 (a table shared by all samples).
    """
    if keep is None:
        return tokens
    if tokens.shape[0] == 1:
        return tokens[0][keep]
    return tokens[torch.arange(keep.shape[0], device=keep.device)[:, None], keep]


def complement(keep: Int64[Tensor, "batch kept"], num_tokens: int) -> Int64[Tensor, "batch dropped"]:
    """Raster indices that are not in `keep`, ascending; every row keeps equally many distinct tokens."""
    dropped = torch.ones(keep.shape[0], num_tokens, dtype=torch.bool, device=keep.device).scatter_(1, keep, False)
    # A stable sort instead of nonzero: its output shape does not depend on data, so graphs can be compiled.
    order = dropped.logical_not().to(torch.int8).argsort(dim=1, stable=True)
    return order[:, : num_tokens - keep.shape[1]]
