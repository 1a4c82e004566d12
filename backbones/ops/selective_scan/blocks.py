"""The arithmetic of the chunked scan: forward, and a backward that recomputes the states block by block.

A block is some samples times some tokens, small enough for its buffers `[steps, samples, groups, state, channels]` to
stay in the processor's cache. Within a block everything but the recurrence is one operation over the whole block; the
recurrence is one in-place `addcmul` per token over contiguous memory. Tokens always lie in their natural order: a
reverse scan only visits them from the end. Decays are multiplied one after the other, never divided, so large steps
are safe.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Measured by benchmarks/speed/selective_scan.py. A forward pass works in two buffers of this size and a backward pass
# in three, which should fit the second-level cache of a core (1 to 2 MiB on servers). On a GPU every step is a kernel
# launch, so there a block holds as much as memory allows.
BUFFER_BYTES = {"cpu": 384 * 1024, "cuda": 256 * 1024 * 1024}
# Fewer tokens per block and the work around the recurrence is not worth its calls. More samples per block are better
# than more tokens, as they share the calls of the recurrence itself, but only from FULL_STEPS on.
MIN_STEPS, FULL_STEPS, MAX_STEPS = 8, 12, 64


class Cut(NamedTuple):
    """How a scan is cut into blocks: samples and tokens per block, both balanced over the blocks."""

    samples: int
    steps: int


class Direction(NamedTuple):
    """A scan, channels last and split into groups, in any floating dtype and with any strides.

    Attributes:
        u: `[batch, length, groups, 1, channels]`.
        delta: step before bias and softplus, like `u`.
        A: `[groups, state, channels]` in the dtype of accumulation, as is all that does not vary along the sequence.
        B: per token `[batch, length, groups, state, 1]`, or constant `[groups, state, channels]`.
        C: like `B`.
        D: `[groups, 1, channels]` or None.
        delta_bias: `[groups, 1, channels]` or None.
        delta_softplus: whether delta passes through a softplus.
        reverse: whether the scan starts at the last token.
        floor: no exponent delta A is taken below this; None where none could be (see `exponent_floor`).
    """

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    delta_bias: Tensor | None
    delta_softplus: bool
    reverse: bool
    floor: float | None


class Gradients(NamedTuple):
    """Gradients of a `Direction`, in its layouts and dtypes; those of absent inputs are left untouched."""

    u: Tensor
    delta: Tensor
    A: Tensor
    B: Tensor
    C: Tensor
    D: Tensor
    delta_bias: Tensor


class _Chunk(NamedTuple):
    """Some tokens of some samples: `[steps, samples, ...]`, in the dtype of accumulation."""

    u: Tensor
    raw_delta: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor


class _Work:
    """Work space of a block, and its views step by step in the order of the scan.

    Making a view costs a fifth of the step that uses it, so all blocks share them.

    Attributes:
        start: the state before the block `[samples, groups, state, channels]`.
        states: the states of the block `[steps, samples, groups, state, channels]`.
        previous: the state before every one of these: the same memory, one token apart.
        decay: exp(delta A), of the same shape.
        adjoint: gradients of the states, of the same shape.
    """

    def __init__(self, scan: Direction, steps: int, samples: int, *, backward: bool) -> None:
        shape = (samples, *scan.A.shape)
        line = scan.A.new_empty(steps + 1, *shape)
        self.start, self.states, self.previous = (
            (line[-1], line[:-1], line[1:]) if scan.reverse else (line[0], line[1:], line[:-1])
        )
        self.decay = scan.A.new_empty(steps, *shape)
        self.adjoint = scan.A.new_empty(steps if backward else 0, *shape)
        views = (self.states, self.decay, self.adjoint)
        self.state_at, self.decay_at, self.adjoint_at = (
            list(view.unbind(0))[:: -1 if scan.reverse else 1] for view in views
        )


def choose_cut(batch: int, length: int, values: int, itemsize: int, device: str) -> Cut:
    """Choose the blocks of a scan with `values` state values per token of a sample.

    torch.sym_min and sym_max keep a symbolic batch symbolic where min and max would fix it under torch.export.
    """
    budget = BUFFER_BYTES["cpu" if device == "cpu" else "cuda"]
    token_bytes = values * itemsize
    samples = torch.sym_min(batch, max(1, budget // (FULL_STEPS * token_bytes)))
    steps = torch.sym_max(MIN_STEPS, torch.sym_min(MAX_STEPS, budget // (samples * token_bytes)))
    return Cut(_balanced(batch, samples), _balanced(length, steps))


def exponent_floor(delta: Tensor, A: Tensor, delta_bias: Tensor | None, delta_softplus: bool) -> float | None:
    """Floor for the exponents of a scan on a CPU, or None if no exponent can lie below it.

    A CPU computes with numbers near the smallest one many times slower (exp 100 times, where 5 % of its results were
    such numbers). The floor is 0.7 of the logarithm of the smallest normal number: in float32 a decay of 3e-27 stands
    for all smaller ones, far below what rounding leaves of the state it is added to.
    """
    if delta.device.type != "cpu":
        return None
    largest = float(delta.amax()) + (0.0 if delta_bias is None else float(delta_bias.amax()))
    if delta_softplus:
        largest = max(largest, 0.0) + math.log(2)
    floor = 0.7 * math.log(torch.finfo(A.dtype).tiny)
    return floor if largest * float(A.amin()) < floor else None


def _balanced(total: int, size: Any) -> int:
    """Size of equal parts, none larger than `size`, which may be symbolic."""
    return -(-total // -(-total // size))


def scan_blocks(scan: Direction, blocks: Cut, y: Tensor, last_state: Tensor, starts: Tensor | None) -> None:
    """Fill y `[batch, length, groups, 1, channels]`, last_state and, where given, the state before every block.

    Args:
        scan: what to scan.
        blocks: how to cut it.
        y: output, like `scan.u`.
        last_state: output `[batch, groups, state, channels]`.
        starts: output, `[chunks, batch, groups, state, channels]` flattened.
    """
    kept = None if starts is None else starts.unflatten(0, (-1, *last_state.shape))
    works = _works(scan, blocks, backward=False)
    for samples in _sample_blocks(scan, blocks):
        chunks = _chunks(scan, samples, blocks.steps)
        outputs = _by_step(y, samples).split(blocks.steps)
        carry = torch.zeros_like(last_state[samples])
        for index in _order(len(chunks), scan.reverse):
            chunk = _load(scan, chunks[index])
            work = works[chunk.u.shape[0], chunk.u.shape[1]]
            work.start.copy_(carry)
            if kept is not None:
                kept[index, samples] = carry
            carry = _recur(scan, chunk, work)
            read = _over_state(chunk.C, work.states)
            if scan.D is None:
                outputs[index].copy_(read)
            else:
                torch.addcmul(read, chunk.u, scan.D, out=outputs[index])
        last_state[samples] = carry


def differentiate_blocks(
    scan: Direction, blocks: Cut, grad_y: Tensor, grad_last_state: Tensor, starts: Tensor, grads: Gradients
) -> None:
    """Fill `grads`, recomputing the states of every block from the one before it; shapes as in `scan_blocks`."""
    kept = starts.unflatten(0, (-1, *grad_last_state.shape))
    works = _works(scan, blocks, backward=True)
    for samples in _sample_blocks(scan, blocks):
        chunks = _chunks(scan, samples, blocks.steps)
        grads_y = _by_step(grad_y, samples).split(blocks.steps)
        targets = _gradient_chunks(grads, samples, blocks.steps)
        carry = grad_last_state[samples].clone()
        for index in _order(len(chunks), not scan.reverse):
            chunk = _load(scan, chunks[index])
            work = works[chunk.u.shape[0], chunk.u.shape[1]]
            work.start.copy_(kept[index, samples])
            _recur(scan, chunk, work)
            dy = _contiguous(grads_y[index], scan.A.dtype)
            # Its buffer still is free: fewer buffers stay in the cache longer.
            _add_weights(targets[index].C, chunk.C, torch.mul(work.states, dy, out=work.adjoint))
            _adjoint(chunk, work, dy, carry)
            _collect(scan, chunk, work, dy, targets[index])


def _recur(scan: Direction, chunk: _Chunk, work: _Work) -> Tensor:
    """Fill `work.decay` and `work.states` from `work.start`; returns the state after the block."""
    torch.mul(chunk.delta, scan.A, out=work.decay)
    if scan.floor is not None:
        work.decay.clamp_(min=scan.floor)
    work.decay.exp_()
    torch.mul(chunk.delta * chunk.u, chunk.B, out=work.states)
    last = work.start
    for decay, state in zip(work.decay_at, work.state_at, strict=True):
        last = state.addcmul_(decay, last)
    return last


def _adjoint(chunk: _Chunk, work: _Work, dy: Tensor, carry: Tensor) -> None:
    """Fill `work.adjoint`; `carry`, the gradient of the state after the block, becomes that of the one before."""
    torch.mul(dy, chunk.C, out=work.adjoint)
    last = work.adjoint_at[-1].add_(carry)
    for decay, adjoint in zip(work.decay_at[:0:-1], work.adjoint_at[-2::-1], strict=True):
        last = adjoint.addcmul_(decay, last)
    torch.mul(work.decay_at[0], last, out=carry)


def _collect(scan: Direction, chunk: _Chunk, work: _Work, dy: Tensor, grads: Gradients) -> None:
    """Turn the gradients of the states into those of the inputs but C; overwrites the states and their decay."""
    d_exponent = work.decay.mul_(work.adjoint).mul_(work.previous)
    grads.A.add_(torch.mul(d_exponent, chunk.delta, out=work.states).sum((0, 1)))
    _add_weights(grads.B, chunk.B, torch.mul(work.adjoint, chunk.delta * chunk.u, out=work.states))
    d_input = _over_state(chunk.B, work.adjoint)
    d_delta = d_exponent.mul_(scan.A).sum(-2, keepdim=True).addcmul_(d_input, chunk.u)
    if scan.delta_softplus:
        d_delta.mul_(torch.sigmoid(chunk.raw_delta))
    if scan.delta_bias is not None:
        grads.delta_bias.add_(d_delta.sum((0, 1)))
    grads.delta.copy_(d_delta)
    if scan.D is None:
        torch.mul(d_input, chunk.delta, out=grads.u)
    else:
        torch.addcmul(d_input.mul_(chunk.delta), dy, scan.D, out=grads.u)
        grads.D.add_((dy * chunk.u).sum((0, 1)))


def _over_state(weights: Tensor, block: Tensor) -> Tensor:
    """Sum over the state axis of weights times block: `[steps, samples, groups, 1, channels]`."""
    # On CPUs torch.bmm multiplies matrices of fewer than 400 terms one by one, three times slower than this.
    if weights.ndim == 3 or block.shape[3] * block.shape[4] < 400:
        return (weights * block).sum(-2, keepdim=True)
    rows = weights.reshape(-1, 1, block.shape[3])
    return torch.bmm(rows, block.flatten(0, 2)).unflatten(0, block.shape[:3])


def _add_weights(grad: Tensor, weights: Tensor, product: Tensor) -> None:
    """Gradient of weights from its product with the block: written per token, added up for constant weights."""
    if weights.ndim == 3:
        grad.add_(product.sum((0, 1)))
    else:
        grad.copy_(product.sum(-1, keepdim=True))


def _order(count: int, reverse: bool) -> range:
    return range(count - 1, -1, -1) if reverse else range(count)


def _sample_blocks(scan: Direction, blocks: Cut) -> Iterator[slice]:
    batch = scan.u.shape[0]
    return (slice(start, min(start + blocks.samples, batch)) for start in range(0, batch, blocks.samples))


def _works(scan: Direction, blocks: Cut, *, backward: bool) -> dict[tuple[int, int], _Work]:
    """Work spaces for all sizes of blocks (tokens, samples): there are full ones, and last ones on both axes."""
    batch, length = scan.u.shape[:2]
    steps, samples = ({size, total % size or size} for size, total in ((blocks.steps, length), (blocks.samples, batch)))
    return {sizes: _Work(scan, *sizes, backward=backward) for sizes in product(steps, samples)}


def _chunks(scan: Direction, samples: slice, steps: int) -> list[tuple[Tensor, ...]]:
    """Per chunk u, delta, B, C; B and C are small, and copied once in the layout that the matrix products want."""
    u, delta = (_by_step(tensor, samples) for tensor in (scan.u, scan.delta))
    B, C = (w if w.ndim == 3 else _by_step(w, samples).to(scan.A.dtype).contiguous() for w in scan[3:5])
    return list(zip(*(_split(tensor, len(u), steps) for tensor in (u, delta, B, C)), strict=True))


def _gradient_chunks(grads: Gradients, samples: slice, steps: int) -> list[Gradients]:
    """Per chunk the views that its gradients are written to."""
    length = grads.u.shape[1]
    u, delta = (_by_step(tensor, samples).split(steps) for tensor in (grads.u, grads.delta))
    B, C = (_split(w if w.ndim == 3 else _by_step(w, samples), length, steps) for w in (grads.B, grads.C))
    return [grads._replace(u=u[i], delta=delta[i], B=B[i], C=C[i]) for i in range(len(u))]


def _by_step(tensor: Tensor, samples: slice) -> Tensor:
    """View `[length, samples, ...]` of a tensor `[batch, length, ...]`."""
    return tensor[samples].transpose(0, 1)


def _split(tensor: Tensor, length: int, steps: int) -> Sequence[Tensor]:
    """Views of the chunks of a tensor `[length, ...]`; constant weights are the same in all chunks."""
    return [tensor] * -(-length // steps) if tensor.ndim == 3 else tensor.split(steps)


def _load(scan: Direction, views: tuple[Tensor, ...]) -> _Chunk:
    u, raw_delta = (_contiguous(view, scan.A.dtype) for view in views[:2])
    if scan.delta_bias is not None:
        raw_delta = raw_delta + scan.delta_bias
    delta = F.softplus(raw_delta) if scan.delta_softplus else raw_delta
    return _Chunk(u, raw_delta, delta, *views[2:])


def _contiguous(view: Tensor, dtype: torch.dtype) -> Tensor:
    """The view in the dtype of accumulation, with channels innermost: a copy only where it is not so already."""
    view = view.to(dtype)
    return view if view.stride(-1) == 1 else view.contiguous()
