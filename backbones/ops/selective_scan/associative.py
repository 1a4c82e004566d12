"""The scan as a recursion over pairs of tokens, in torch's own operators alone: what exported programs run.

A program that torch.export or torch.onnx writes holds operators by name. The other implementations are operators of
this library, which nobody has who only has the program. Here h_t = a_t h_(t-1) + b_t is solved for every second token
from pairs of tokens, (a_2 a_1, a_2 b_1 + b_2), which is a scan of half the length, and for the others from their
neighbours. So a program has a dozen operators for each halving of the sequence, and runs everywhere. It holds the
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

# So many levels of halving are even; a copy of the inputs is small beside one of the states.
MULTIPLE = 16
States = Float[Tensor, "directions batch length groups channels state"]


def associative_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`."""
    dtype, length = accumulation_dtype(directions[0].u), directions[0].u.shape[2]
    groups = next((w.shape[1] for inputs in directions for w in (inputs.B, inputs.C) if w.ndim == 4), 1)
    prepared = [
        _prepared(inputs, backwards, delta_softplus, groups)
        for inputs, backwards in zip(directions, reverse, strict=True)
    ]
    # All directions in one recursion, which halves the operators of a program.
    delta, weighted, A, B, C = (torch.stack(torch.broadcast_tensors(*some)) for some in zip(*prepared, strict=True))
    states = _all_states(torch.exp(delta * A), weighted * B)
    y = directions[0].u.new_zeros((), dtype=dtype)
    # A matrix product makes no second tensor of the size of the states; constant weights are the same for all tokens.
    read = (states @ C.mT).squeeze(-1) if C.shape[4] == 1 else (states * C).sum(-1)
    for one, inputs, backwards in zip(read.flatten(3), directions, reverse, strict=True):
        one = one[:, :length]
        y = y + (one.flip(1) if backwards else one).mT
        if inputs.D is not None:
            y = y + inputs.D.to(dtype)[:, None] * inputs.u.to(dtype)
    if z is not None:
        y = y * F.silu(z.to(dtype))
    return Scanned(y.to(directions[0].u.dtype), states[:, :, length - 1].flatten(2, 3))


def _prepared(inputs: ScanInputs, reverse: bool, delta_softplus: bool, groups: int) -> tuple[Tensor, ...]:
    """delta, delta u, A, B and C as factors of `[batch, length, groups, channels, state]`, in the order of the scan."""
    dtype = accumulation_dtype(inputs.u)
    u, delta, A = inputs.u.to(dtype), inputs.delta.to(dtype), inputs.A.to(dtype)
    if inputs.delta_bias is not None:
        delta = delta + inputs.delta_bias.to(dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    sequences = [t.mT.unflatten(2, (groups, -1)).unsqueeze(-1) for t in (delta, delta * u)]
    B, C = (w.to(dtype) for w in (inputs.B, inputs.C))
    sequences += [w.permute(0, 3, 1, 2).unsqueeze(3) for w in (B, C) if w.ndim == 4]
    ordered = iter(F.pad(t.flip(1) if reverse else t, _rows(0, -t.shape[1] % MULTIPLE)) for t in sequences)
    delta, weighted = next(ordered), next(ordered)
    B, C = (next(ordered) if w.ndim == 4 else w.unflatten(0, (groups, -1))[None, None] for w in (B, C))
    return delta, weighted, A.unflatten(0, (groups, -1))[None, None], B, C


def _all_states(a: States, b: States) -> States:
    """h_t = a_t h_(t-1) + b_t after every token."""
    if b.shape[2] == 1:
        return b
    if b.shape[2] % 2:
        return _all_states(*(F.pad(t, _rows(0, 1)) for t in (a, b)))[:, :, :-1]
    (a_1, a_2), (b_1, b_2) = (t.unflatten(2, (-1, 2)).unbind(3) for t in (a, b))
    seconds = _all_states(a_2 * a_1, torch.addcmul(b_2, a_2, b_1))
    firsts = torch.addcmul(b_1, a_1, F.pad(seconds[:, :, :-1], _rows(1, 0)))
    return torch.stack([firsts, seconds], 3).flatten(2, 3)


def _rows(before: int, after: int) -> tuple[int, ...]:
    """How F.pad adds tokens of zeros, which are followed by three axes."""
    return (0, 0, 0, 0, 0, 0, before, after)
