"""The chunked scan as a torch operator: torch alone, no `[length, channels, state]` tensor, its own backward.

As an operator with a registered backward, shape function and FLOP formula it passes through torch.compile and
torch.export in one piece, and `torch.utils.flop_counter.FlopCounterMode` counts it. The operator works on
`[batch, length, dim]`, the layout of the mixers around it; the public `[batch, dim, length]` tensors are its views.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula

from backbones.ops.selective_scan.blocks import (
    Cut,
    Direction,
    Gradients,
    choose_cut,
    differentiate_blocks,
    exponent_floor,
    scan_blocks,
)
from backbones.ops.selective_scan.contract import ScanInputs, Scanned, accumulation_dtype

FORWARD = "zoo::chunked_scan"
BACKWARD = "zoo::chunked_scan_backward"


def chunked_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`."""
    results = [_scan(inputs, backwards, delta_softplus) for inputs, backwards in zip(directions, reverse, strict=True)]
    y = results[0][0]
    for other, _ in results[1:]:
        y = y + other
    if z is not None:
        y = y * F.silu(z.mT.to(y.dtype))
    return Scanned(y.to(directions[0].u.dtype).mT, torch.stack([last for _, last in results]))


def _scan(inputs: ScanInputs, reverse: bool, delta_softplus: bool) -> tuple[Tensor, Tensor]:
    """Output `[batch, length, dim]` and the last state, both in the dtype of accumulation."""
    B, C = (w if w.ndim == 2 else w.permute(0, 3, 1, 2) for w in (inputs.B, inputs.C))
    tensors = (inputs.u.mT, inputs.delta.mT, inputs.A, B, C, inputs.D, inputs.delta_bias)
    needs_grad = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    y, last_state, _ = torch.ops.zoo.chunked_scan(*tensors, delta_softplus, reverse, needs_grad)
    return y, last_state


def scan_flops(batch: int, dim: int, length: int, state: int) -> int:
    """Floating-point operations of one direction, forward: 9 per token, channel and state.

    The usual convention for Mamba-1 (github.com/state-spaces/mamba issue 110, and VMamba's counter after it), where a
    multiply-add is two. A backward counts as twice the forward, as for matrix products; what the chunked backward
    computes a second time is not counted.
    """
    return 9 * batch * dim * length * state


def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
    keep_starts: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One direction without a gate, channels last.

    Args:
        u: input `[batch, length, dim]`.
        delta: step `[batch, length, dim]`.
        A: decay rates `[dim, state]`.
        B: `[batch, length, groups, state]` or `[dim, state]`.
        C: like `B`.
        D: `[dim]` or None.
        delta_bias: `[dim]` or None.
        delta_softplus: pass delta through a softplus.
        reverse: start at the last token.
        keep_starts: return what a backward needs.

    Returns:
        y `[batch, length, dim]`, last state `[batch, dim, state]` and the states before every block, all in the dtype
        of accumulation.
    """
    scan = _direction([u, delta, A, B, C], D, delta_bias, delta_softplus, reverse)
    y, _, starts = _empty_outputs(u, A, keep_starts)
    last_state = scan.A.new_empty(u.shape[0], *scan.A.shape)
    grouped_y = y.unflatten(2, (scan.A.shape[0], 1, -1))
    with torch.autocast(u.device.type, enabled=False):  # which would read the states out in half precision
        scan_blocks(scan, _cut(u, A), grouped_y, last_state, starts if keep_starts else None)
    return y, last_state.mT.flatten(1, 2).contiguous(), starts


def _shapes_of_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
    keep_starts: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_outputs(u, A, keep_starts)


def scan_backward(
    grad_y: Tensor,
    grad_last_state: Tensor,
    starts: Tensor,
    tensors: list[Tensor],
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
) -> tuple[Tensor, ...]:
    """Gradients of u, delta, A, B, C, D and delta_bias, in their layouts and dtypes; empty for absent ones.

    Args:
        grad_y: gradient of y `[batch, length, dim]`.
        grad_last_state: gradient of the last state `[batch, dim, state]`.
        starts: what `scan_forward` kept.
        tensors: u, delta, A, B, C as given to `scan_forward`.
        D: as given to `scan_forward`, like the rest.
        delta_bias: see there.
        delta_softplus: see there.
        reverse: see there.
    """
    u, _, A, B, C = tensors
    scan = _direction(tensors, D, delta_bias, delta_softplus, reverse)
    groups, _, channels = scan.A.shape
    grads = Gradients(
        u=torch.empty_like(scan.u, memory_format=torch.contiguous_format),
        delta=torch.empty_like(scan.delta, memory_format=torch.contiguous_format),
        A=torch.zeros_like(scan.A),
        B=torch.zeros_like(scan.B, memory_format=torch.contiguous_format),
        C=torch.zeros_like(scan.C, memory_format=torch.contiguous_format),
        D=scan.A.new_zeros(0 if D is None else (groups, 1, channels)),
        delta_bias=scan.A.new_zeros(0 if delta_bias is None else (groups, 1, channels)),
    )
    grouped_last = grad_last_state.unflatten(1, (groups, channels)).mT.to(scan.A.dtype)
    grouped_y = grad_y.unflatten(2, (groups, 1, channels))
    with torch.autocast(u.device.type, enabled=False):
        differentiate_blocks(scan, _cut(u, A), grouped_y, grouped_last, starts, grads)
    return (
        grads.u.flatten(2),
        grads.delta.flatten(2),
        _dim_first(grads.A).to(A.dtype),
        *(_dim_first(g).to(w.dtype) if w.ndim == 2 else g.squeeze(-1) for g, w in ((grads.B, B), (grads.C, C))),
        *(g if t is None else g.flatten().to(t.dtype) for g, t in ((grads.D, D), (grads.delta_bias, delta_bias))),
    )


def _shapes_of_backward(
    grad_y: Tensor,
    grad_last_state: Tensor,
    starts: Tensor,
    tensors: list[Tensor],
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    reverse: bool,
) -> tuple[Tensor, ...]:
    contiguous = torch.contiguous_format
    return tuple(
        starts.new_empty(0) if tensor is None else torch.empty_like(tensor, memory_format=contiguous)
        for tensor in (*tensors, D, delta_bias)
    )


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, ctx.delta_softplus, ctx.reverse, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, output[2])


def _differentiate(
    ctx: Any,
    grad_y: Tensor | None,
    grad_last_state: Tensor | None,
    grad_starts: Tensor | None,
) -> tuple[Tensor | None, ...]:
    *tensors, D, delta_bias, starts = ctx.saved_tensors
    u, A = tensors[0], tensors[2]
    if grad_y is None:
        grad_y = starts.new_zeros(u.shape)
    if grad_last_state is None:
        grad_last_state = starts.new_zeros(u.shape[0], *A.shape)
    grads = torch.ops.zoo.chunked_scan_backward(
        grad_y, grad_last_state, starts, tensors, D, delta_bias, ctx.delta_softplus, ctx.reverse
    )
    optional = (None if t is None else grad for t, grad in zip((D, delta_bias), grads[5:], strict=True))
    return *grads[:5], *optional, None, None, None


def _refuse(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError("the chunked selective scan has no second derivative; implementation='reference' has")


def _forward_flops(
    u: tuple[int, ...], delta: tuple[int, ...], A: tuple[int, ...], *rest: object, out_shape: object = None
) -> int:
    return scan_flops(u[0], u[2], u[1], A[1])


def _backward_flops(
    grad_y: tuple[int, ...], grad_last_state: tuple[int, ...], *rest: object, out_shape: object = None
) -> int:
    return 2 * scan_flops(grad_y[0], grad_y[2], grad_y[1], grad_last_state[2])


def _direction(
    tensors: Sequence[Tensor], D: Tensor | None, delta_bias: Tensor | None, delta_softplus: bool, reverse: bool
) -> Direction:
    u, delta, A, B, C = tensors
    dtype = accumulation_dtype(u)
    groups = _groups(B, C)
    rates = A.to(dtype)
    B, C = (_channels_last(w.to(dtype), groups) if w.ndim == 2 else w.unsqueeze(-1) for w in (B, C))
    return Direction(
        u=u.unflatten(2, (groups, 1, -1)),
        delta=delta.unflatten(2, (groups, 1, -1)),
        A=_channels_last(rates, groups),
        B=B,
        C=C,
        D=None if D is None else D.to(dtype).unflatten(0, (groups, 1, -1)),
        delta_bias=None if delta_bias is None else delta_bias.to(dtype).unflatten(0, (groups, 1, -1)),
        delta_softplus=delta_softplus,
        reverse=reverse,
        floor=exponent_floor(delta, rates, delta_bias, delta_softplus),
    )


def _channels_last(table: Tensor, groups: int) -> Tensor:
    """`[dim, state]` to `[groups, state, channels]`."""
    return table.unflatten(0, (groups, -1)).mT.contiguous()


def _dim_first(table: Tensor) -> Tensor:
    """`[groups, state, channels]` to `[dim, state]`."""
    return table.mT.flatten(0, 1).contiguous()


def _groups(B: Tensor, C: Tensor) -> int:
    return next((w.shape[2] for w in (B, C) if w.ndim == 4), 1)


def _cut(u: Tensor, A: Tensor) -> Cut:
    batch, length, _ = u.shape
    return choose_cut(batch, length, A.numel(), accumulation_dtype(u).itemsize, u.device.type)


def _empty_outputs(u: Tensor, A: Tensor, keep_starts: bool) -> tuple[Tensor, Tensor, Tensor]:
    """y, last_state and starts of `scan_forward`, without values."""
    batch, length, dim = u.shape
    dtype = accumulation_dtype(u)
    # Flat, because the number of chunks may be symbolic: with more axes torch.export would ask whether it is 1.
    kept = -(-length // _cut(u, A).steps) * batch * A.numel() if keep_starts else 0
    return (
        u.new_empty(batch, length, dim, dtype=dtype),
        u.new_empty(batch, *A.shape, dtype=dtype),
        u.new_empty(kept, dtype=dtype),
    )


# Not torch.library.custom_op, which would load torch's compiler (seconds) at the first call of every process.
torch.library.define(
    FORWARD,
    "(Tensor u, Tensor delta, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? delta_bias, bool delta_softplus, "
    "bool reverse, bool keep_starts) -> (Tensor y, Tensor last_state, Tensor starts)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.define(
    BACKWARD,
    "(Tensor grad_y, Tensor grad_last_state, Tensor starts, Tensor[] tensors, Tensor? D, Tensor? delta_bias, "
    "bool delta_softplus, bool reverse) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.impl(FORWARD, "default", scan_forward)
torch.library.impl(BACKWARD, "default", scan_backward)
torch.library.register_fake(FORWARD, _shapes_of_forward)
torch.library.register_fake(BACKWARD, _shapes_of_backward)
torch.library.register_autograd(FORWARD, _differentiate, setup_context=_save_for_backward)
torch.library.register_autograd(BACKWARD, _refuse)
register_flop_formula(torch.ops.zoo.chunked_scan)(_forward_flops)
register_flop_formula(torch.ops.zoo.chunked_scan_backward)(_backward_flops)
