"""The scan as a recursion over groups of tokens, in torch's own operators alone: what exported programs run.

A program that torch.export or torch.onnx writes holds operators by name. The other implementations are operators of
this library, which nobody has who only has the program. Here h_t = a_t h_(t-1) + b_t is solved for the last token of
every four from what the four do to a state, (a_4 a_3 a_2 a_1, ...), which is a scan of a quarter of the length, and for
the other three from their neighbours. What is left after few levels, short enough that work does not matter, is solved
by doubling: every token takes in what lies 1, 2, 4, ... before it. So a program has 25 operators for each level, 6 for
each doubling, and runs everywhere. It holds the states of all tokens at once, several times: about 4 `[batch, length,
dim, state]` tensors.

Sources: Blelloch, "Prefix sums and their applications" (CMU-CS-90-190, 1990), sections 1.2 and 1.4; Hillis and Steele,
"Data parallel algorithms" (CACM 29, 1986) for the doubling. Decays are multiplied, never divided, so large steps are
safe.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.ops.selective_scan.contract import ScanInputs, Scanned, accumulation_dtype

FOUR = 4
# Up to so many tokens are solved by doubling. Writing, loading and checking a program takes longer than running it, and
# all three grow with the number of its operators.
DOUBLED = 128
States = Float[Tensor, "directions batch length groups channels state"]


def associative_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`."""
    first = directions[0]
    dtype, length = accumulation_dtype(first.u), first.u.shape[2]
    groups = next((w.shape[1] for inputs in directions for w in (inputs.B, inputs.C) if w.ndim == 4), 1)
    multiple = 1
    while length > DOUBLED * multiple:
        multiple *= FOUR
    # All directions in one recursion, which halves the operators of a program.
    u, delta = (
        _stacked(some, reverse, dtype, multiple)
        for some in ([it.u for it in directions], [it.delta for it in directions])
    )
    B, C = (
        _weights(some, reverse, dtype, multiple, groups)
        for some in ([it.B for it in directions], [it.C for it in directions])
    )
    A = torch.stack([_cast(inputs.A, dtype).unflatten(0, (groups, -1)) for inputs in directions])
    if any(inputs.delta_bias is not None for inputs in directions):
        delta = delta + _vectors([inputs.delta_bias for inputs in directions], first.u, dtype)
    if delta_softplus:
        delta = F.softplus(delta)
    steps, weighted = (t.mT.unflatten(3, (groups, -1)).unsqueeze(-1) for t in (delta, delta * u))
    states = _all_states(torch.exp(steps * A[:, None, None]), weighted * B)
    # A matrix product makes no second tensor of the size of the states; constant weights are the same for all tokens.
    read = (states @ C.mT).squeeze(-1) if C.shape[4] == 1 else (states * C).sum(-1)
    read = read.flatten(3).mT
    if any(inputs.D is not None for inputs in directions):
        read = torch.addcmul(read, u, _vectors([inputs.D for inputs in directions], first.u, dtype))
    each = [
        one.flip(2) if backwards else one
        for one, backwards in zip(read.narrow(3, 0, length).unbind(), reverse, strict=True)
    ]
    y = each[0] if len(each) == 1 else each[0] + each[1]
    if z is not None:
        y = y * F.silu(_cast(z, dtype))
    return Scanned(_cast(y, first.u.dtype), states.select(2, length - 1).flatten(2, 3))


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in a dtype; a conversion to the dtype that it has would be two operators of a program."""
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _vectors(vectors: Sequence[Tensor | None], like: Tensor, dtype: torch.dtype) -> Tensor:
    """A number per channel of every direction, `[directions, 1, dim, 1]`; zeros where there is none."""
    zeros = like.new_zeros(like.shape[1], dtype=dtype)
    return torch.stack([zeros if v is None else _cast(v, dtype) for v in vectors])[:, None, :, None]


def _stacked(tensors: Sequence[Tensor], reverse: Sequence[bool], dtype: torch.dtype, multiple: int) -> Tensor:
    """Sequences in the order of the scan, one after the other, with tokens of zeros up to a multiple."""
    ordered = (t.flip(-1) if backwards else t for t, backwards in zip(tensors, reverse, strict=True))
    stacked = _cast(torch.stack(list(ordered)), dtype)
    missing = -stacked.shape[-1] % multiple
    return F.pad(stacked, (0, missing)) if missing else stacked


def _weights(
    tensors: Sequence[Tensor], reverse: Sequence[bool], dtype: torch.dtype, multiple: int, groups: int
) -> Tensor:
    """B or C as factors of the states: `[directions, batch or 1, length or 1, groups, channels or 1, state]`."""
    if all(w.ndim == 4 for w in tensors):
        return _stacked(tensors, reverse, dtype, multiple).permute(0, 1, 4, 2, 3).unsqueeze(4)
    if all(w.ndim == 2 for w in tensors):
        return torch.stack([_cast(w, dtype).unflatten(0, (groups, -1)) for w in tensors])[:, None, None]
    alone = [_weights([w], [backwards], dtype, multiple, groups) for w, backwards in zip(tensors, reverse, strict=True)]
    return torch.cat(torch.broadcast_tensors(*alone))


def _all_states(a: States, b: States) -> States:
    """h_t = a_t h_(t-1) + b_t after every token."""
    length = b.shape[2]
    if length <= DOUBLED:
        return _by_doubling(a, b)
    (a_1, a_2, a_3, a_4), (b_1, b_2, b_3, b_4) = (t.unflatten(2, (-1, FOUR)).unbind(3) for t in (a, b))
    a_12, b_12 = a_2 * a_1, torch.addcmul(b_2, a_2, b_1)
    a_13, b_13 = a_3 * a_12, torch.addcmul(b_3, a_3, b_12)
    fourths = _all_states(a_4 * a_13, torch.addcmul(b_4, a_4, b_13))
    before = _later(fourths, 1)
    others = (torch.addcmul(h, decay, before) for decay, h in ((a_1, b_1), (a_12, b_12), (a_13, b_13)))
    return torch.stack([*others, fourths], 3).flatten(2, 3)


def _by_doubling(a: States, b: States) -> States:
    """The same where the tokens are few."""
    length, reach = b.shape[2], 1
    while reach < length:
        b = torch.addcmul(b, a, _later(b, reach))
        reach *= 2
        if reach < length:
            a = a * _later(a, reach // 2)
    return b


def _later(states: States, tokens: int) -> States:
    """Every token gets what was so many tokens before it, the first ones zeros."""
    return F.pad(states.narrow(2, 0, states.shape[2] - tokens), (0, 0, 0, 0, 0, 0, tokens, 0))
