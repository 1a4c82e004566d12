"""The recurrence, one token after the other, in plain autograd: slow, and the definition of correctness.

Source of the arithmetic: Gu and Dao, "Mamba", arXiv 2312.00752, Algorithm 2, with the simplified (Euler) input matrix
delta * B of the released code.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.ops.selective_scan.contract import ScanInputs, Scanned, accumulation_dtype


def reference_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`."""
    dtype = accumulation_dtype(directions[0].u)
    results = [
        _scan_one(inputs, backwards, delta_softplus) for inputs, backwards in zip(directions, reverse, strict=True)
    ]
    out = torch.stack([y for y, _ in results]).sum(0)
    if z is not None:
        out = out * F.silu(z.to(dtype))
    return Scanned(out.to(directions[0].u.dtype), torch.stack([state for _, state in results]))


def _scan_one(
    inputs: ScanInputs, reverse: bool, delta_softplus: bool
) -> tuple[Float[Tensor, "batch dim length"], Float[Tensor, "batch dim state"]]:
    dtype = accumulation_dtype(inputs.u)
    u, delta, A = inputs.u.to(dtype), inputs.delta.to(dtype), inputs.A.to(dtype)
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias.to(dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    length = u.shape[2]
    tokens = zip(
        u.unbind(-1), delta.unbind(-1), _per_token(inputs.B, inputs), _per_token(inputs.C, inputs), strict=True
    )
    state = u.new_zeros(u.shape[0], *A.shape)
    outputs = []
    for u_t, delta_t, B_t, C_t in reversed(list(tokens)) if reverse else tokens:
        state = torch.exp(delta_t[..., None] * A) * state + (delta_t * u_t)[..., None] * B_t
        outputs.append((state * C_t).sum(-1))
    y = torch.stack(outputs[::-1] if reverse else outputs, dim=-1).reshape(-1, A.shape[0], length)
    if inputs.D is not None:
        y = y + inputs.D.to(dtype)[:, None] * u
    return y, state


def _per_token(weights: Tensor, inputs: ScanInputs) -> Sequence[Tensor]:
    """One `[batch or 1, dim, state]` tensor per token."""
    weights = weights.to(accumulation_dtype(inputs.u))
    if weights.ndim == 2:
        return [weights[None]] * inputs.u.shape[2]
    channels = weights.repeat_interleave(inputs.A.shape[0] // weights.shape[1], dim=1)
    return channels.unbind(-1)
