"""The scan as a recursion over pairs of tokens, in torch's own operators alone: what exported programs run.

A program that torch.export or torch.onnx writes holds operators by name. The other implementations are operators of
this library, which nobody has who only has the program. Here h_t = a_t h_(t-1) + b_t is solved for every second token
from pairs of tokens, (a_2 a_1, a_2 b_1 + b_2), which is a scan of half the length, and for the others from their
neighbours. So a program has some ten operators for each halving of the sequence, and runs everywhere. It holds the
states of all tokens at once, several times: about 4 `[batch, length, dim, state]` tensors.

Source: Blelloch, "Prefix sums and their applications" (CMU-CS-90-190, 1990), sections 1.2 and 1.4. Decays are
multiplied, never divided, so large steps are safe.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.ops.selective_scan.contract import ScanInputs, Scanned, accumulation_dtype

States = Float[Tensor, "batch length groups channels state"]


def associative_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`."""
    results = [_scan(inputs, backwards, delta_softplus) for inputs, backwards in zip(directions, reverse, strict=True)]
    y = results[0][0]
    for other, _ in results[1:]:
        y = y + other
    if z is not None:
        y = y * F.silu(z.to(y.dtype))
    return Scanned(y.to(directions[0].u.dtype), torch.stack([last for _, last in results]))


def _scan(
    inputs: ScanInputs, reverse: bool, delta_softplus: bool
) -> tuple[Float[Tensor, "batch dim length"], Float[Tensor, "batch dim state"]]:
    dtype = accumulation_dtype(inputs.u)
    u, delta, A = inputs.u.to(dtype), inputs.delta.to(dtype), inputs.A.to(dtype)
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias.to(dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    groups = next((w.shape[1] for w in (inputs.B, inputs.C) if w.ndim == 4), 1)
    B, C = (_by_channel(w.to(dtype), groups) for w in (inputs.B, inputs.C))
    steps, weighted = (t.mT.unflatten(2, (groups, -1)).unsqueeze(-1) for t in (delta, delta * u))
    a, b = torch.exp(steps * A.unflatten(0, (groups, -1))), weighted * B
    states = _all_states(a.flip(1), b.flip(1)).flip(1) if reverse else _all_states(a, b)
    y = (states * C).sum(-1).flatten(2).mT
    if inputs.D is not None:
        y = y + inputs.D.to(dtype)[:, None] * u
    return y, states[:, 0 if reverse else -1].flatten(1, 2)


def _by_channel(weights: Tensor, groups: int) -> Tensor:
    """`[batch, length, groups, 1, state]`, or `[groups, channels, state]` of constant weights."""
    return weights.unflatten(0, (groups, -1)) if weights.ndim == 2 else weights.permute(0, 3, 1, 2).unsqueeze(3)


def _all_states(a: States, b: States) -> States:
    """h_t = a_t h_(t-1) + b_t after every token."""
    length = b.shape[1]
    if length == 1:
        return b
    (a_1, a_2), (b_1, b_2) = (t[:, : length - length % 2].unflatten(1, (-1, 2)).unbind(2) for t in (a, b))
    seconds = _all_states(a_2 * a_1, a_2 * b_1 + b_2)
    firsts = torch.cat([b[:, :1], a[:, 2::2] * seconds[:, : (length - 1) // 2] + b[:, 2::2]], 1)
    pairs = torch.stack([firsts[:, : length // 2], seconds], 2).flatten(1, 2)
    return torch.cat([pairs, firsts[:, -1:]], 1) if length % 2 else pairs
