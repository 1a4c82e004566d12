"""The arithmetic of the chunked scan: forward, and a backward that recomputes the states block by block.

A block is some samples times some tokens, small enough for its buffers `[steps, samples, groups, state, channels]` to
stay in the processor's cache. Within a block everything but the recurrence is one operation over the whole block; the
recurrence is one in-place `addcmul` per token over contiguous memory. Tokens always lie in their natural order: a
reverse scan only visits them from the end. Decays are multiplied one after the other, never divided, so large steps
are safe.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Measured by benchmarks/speed/selective_scan.py: a forward pass works in two buffers of this size, a backward pass in
# four, and they should fit the second-level cache of a core (1 to 2 MiB on servers). On a GPU every step is a kernel
# launch, so blocks hold as many samples as memory allows.
BUFFER_BYTES = {"cpu": 768 * 1024, "cuda": 256 * 1024 * 1024}
MIN_STEPS = 8
MAX_STEPS = 32


class Cut(NamedTuple):
    """How a scan is cut into blocks: samples and tokens per block, both balanced over the blocks."""

    samples: int
    steps: int


class Direction(NamedTuple):
    """A scan, channels last and split into groups, in any floating dtype and with any strides.

    Attributes:
        u: `[batch, length, groups, channels]`.
        delta: step before bias and softplus, like `u`.
        A: `[groups, state, channels]` in the dtype of accumulation.
        B: per token `[batch, length, groups, state]`, or constant `[groups, state, channels]`.
        C: like `B`.
        D: `[groups, channels]` or None.
        delta_bias: `[groups, channels]` or None.
        delta_softplus: whether delta passes through a softplus.
        reverse: whether the scan starts at the last token.
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
    """Some tokens of some samples, in the dtype of accumulation: `[steps, samples, groups, ...]`."""

    u: Tensor
    raw_delta: Tensor
    delta: Tensor
    B: Tensor
    C: Tensor


class _Buffers(NamedTuple):
    """Work space `[steps, samples, groups, state, channels]` of the blocks of some samples."""

    decay: Tensor
    states: Tensor
    adjoint: Tensor
    product: Tensor

    def first(self, steps: int) -> "_Buffers":
        return self if steps == self.states.shape[0] else _Buffers(*(buffer[:steps] for buffer in self))


def cut(batch: int, length: int, values: int, itemsize: int, device: str) -> Cut:
    """Choose the blocks; the number of tokens does not depend on the batch, so that batches may be symbolic."""
    budget = BUFFER_BYTES["cpu" if device == "cpu" else "cuda"]
    token_bytes = values * itemsize
    steps = max(MIN_STEPS, min(MAX_STEPS, budget // token_bytes))
    steps = -(-length // -(-length // steps))
    return Cut(max(1, budget // (steps * token_bytes)), steps)


def forward(scan: Direction, blocks: Cut, y: Tensor, last_state: Tensor, starts: Tensor | None) -> None:
    """Fill y `[batch, length, groups, channels]`, last_state and, where given, the state before every block.

    Args:
        scan: what to scan.
        blocks: how to cut it.
        y: output.
        last_state: output `[batch, groups, state, channels]`.
        starts: output `[chunks, batch, groups, state, channels]`.
    """
    for samples in _sample_blocks(scan, blocks):
        buffers = _buffers(scan, samples, blocks, count=2)
        chunks = _chunks(scan, samples, blocks.steps)
        outputs = _by_step(y, samples).split(blocks.steps)
        carry = torch.zeros_like(last_state[samples])
        for index in _scan_order(len(chunks), scan.reverse):
            if starts is not None:
                starts[index, samples] = carry
            chunk = _load(scan, chunks[index])
            work = buffers.first(chunk.u.shape[0])
            carry.copy_(_recur(scan, chunk, work, carry))
            read = _over_state(chunk.C, work.states)
            if scan.D is None:
                outputs[index].copy_(read)
            else:
                torch.addcmul(read, chunk.u, scan.D, out=outputs[index])
        last_state[samples] = carry


def backward(
    scan: Direction, blocks: Cut, grad_y: Tensor, grad_last_state: Tensor, starts: Tensor, grads: Gradients
) -> None:
    """Fill `grads`, recomputing the states of every block from the state before it; see `forward` for the shapes."""
    for samples in _sample_blocks(scan, blocks):
        buffers = _buffers(scan, samples, blocks, count=4)
        chunks = _chunks(scan, samples, blocks.steps)
        grads_y = _by_step(grad_y, samples).split(blocks.steps)
        targets = _gradient_chunks(grads, samples, blocks.steps)
        carry = grad_last_state[samples].clone()
        for index in _scan_order(len(chunks), not scan.reverse):
            chunk = _load(scan, chunks[index])
            work = buffers.first(chunk.u.shape[0])
            start = starts[index, samples]
            _recur(scan, chunk, work, start)
            dy = _contiguous(grads_y[index], scan.A.dtype)
            _adjoint(scan, chunk, work, dy, carry)
            _collect(scan, chunk, work, dy, start, targets[index])


def _recur(scan: Direction, chunk: _Chunk, work: _Buffers, start: Tensor) -> Tensor:
    """Fill `work.decay` and `work.states`; returns the state after the block."""
    torch.mul(chunk.delta.unsqueeze(-2), scan.A, out=work.decay)
    work.decay.exp_()
    torch.mul((chunk.delta * chunk.u).unsqueeze(-2), chunk.B, out=work.states)
    state = start
    decays, states = work.decay.unbind(0), work.states.unbind(0)
    for index in _scan_order(len(states), scan.reverse):
        state = states[index].addcmul_(decays[index], state)
    return state


def _adjoint(scan: Direction, chunk: _Chunk, work: _Buffers, dy: Tensor, carry: Tensor) -> None:
    """Fill `work.adjoint` with the gradients of the states; `carry` comes from the next block and goes to the last."""
    torch.mul(dy.unsqueeze(-2), chunk.C, out=work.adjoint)
    decays, adjoints = work.decay.unbind(0), work.adjoint.unbind(0)
    order = list(_scan_order(len(adjoints), not scan.reverse))
    adjoint = adjoints[order[0]].add_(carry)
    for after, index in itertools.pairwise(order):
        adjoint = adjoints[index].addcmul_(decays[after], adjoint)
    torch.mul(decays[order[-1]], adjoint, out=carry)


def _collect(scan: Direction, chunk: _Chunk, work: _Buffers, dy: Tensor, start: Tensor, grads: Gradients) -> None:
    """Turn states and their gradients into the gradients of the inputs of this block; destroys `work`."""
    _add_weights(grads.C, chunk.C, torch.mul(work.states, dy.unsqueeze(-2), out=work.product))
    input_ = (chunk.delta * chunk.u).unsqueeze(-2)
    _add_weights(grads.B, chunk.B, torch.mul(work.adjoint, input_, out=work.product))
    d_input = _over_state(chunk.B, work.adjoint)

    d_exponent = work.decay.mul_(work.adjoint)
    if scan.reverse:
        d_exponent[:-1].mul_(work.states[1:])
        d_exponent[-1].mul_(start)
    else:
        d_exponent[1:].mul_(work.states[:-1])
        d_exponent[0].mul_(start)
    grads.A.add_(torch.mul(d_exponent, chunk.delta.unsqueeze(-2), out=work.product).sum((0, 1)))
    d_delta = d_exponent.mul_(scan.A).sum(-2).addcmul_(d_input, chunk.u)
    if scan.delta_softplus:
        d_delta.mul_(torch.sigmoid(chunk.raw_delta))
    if scan.delta_bias is not None:
        grads.delta_bias.add_(d_delta.sum((0, 1)))
    grads.delta.copy_(d_delta)
    d_u = d_input.mul_(chunk.delta)
    if scan.D is not None:
        d_u.addcmul_(dy, scan.D)
        grads.D.add_((dy * chunk.u).sum((0, 1)))
    grads.u.copy_(d_u)


def _over_state(weights: Tensor, block: Tensor) -> Tensor:
    """Sum over the state axis of weights times block: `[steps, samples, groups, channels]`."""
    if weights.ndim == 3:
        return (weights * block).sum(-2)
    return torch.bmm(weights.flatten(0, 2).mT, block.flatten(0, 2)).view(*block.shape[:3], -1)


def _add_weights(grad: Tensor, weights: Tensor, product: Tensor) -> None:
    """Gradient of weights from its product with the block: written per token, added up for constant weights."""
    if weights.ndim == 3:
        grad.add_(product.sum((0, 1)))
    else:
        grad.copy_(product.sum(-1))


def _scan_order(count: int, reverse: bool) -> range:
    return range(count - 1, -1, -1) if reverse else range(count)


def _sample_blocks(scan: Direction, blocks: Cut) -> Iterator[slice]:
    batch = scan.u.shape[0]
    size = -(-batch // -(-batch // blocks.samples))
    return (slice(start, min(start + size, batch)) for start in range(0, batch, size))


def _buffers(scan: Direction, samples: slice, blocks: Cut, *, count: int) -> _Buffers:
    shape = (blocks.steps, samples.stop - samples.start, *scan.A.shape)
    return _Buffers(*(scan.A.new_empty(shape if index < count else 0) for index in range(4)))


def _chunks(scan: Direction, samples: slice, steps: int) -> list[tuple[Tensor, ...]]:
    """Per chunk u, delta, B, C; B and C are small, and copied once in the layout that the matrix products want."""
    u, delta = (_by_step(tensor, samples) for tensor in (scan.u, scan.delta))
    B, C = (w if w.ndim == 3 else _by_step(w, samples).to(scan.A.dtype).contiguous()[..., None] for w in scan[3:5])
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
