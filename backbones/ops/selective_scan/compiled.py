"""The scan in C++ on a CPU: `selective_scan.cpp`, built on this machine (`kernel`), as torch operators.

One call does everything behind the projections of a mixer: the steps' bias and softplus, one or two directions by
index, their sum, the direct path D u and the gate. As operators with shape functions, a backward and FLOP formulas they
pass through torch.compile and torch.export in one piece. All that is kept for a backward is the inputs and the state
before every chunk of `STEPS` tokens.

Numbers below the smallest normal one (1e-38 in float32) count as zero inside.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from backbones.ops.selective_scan.chunked import chunked_scan, scan_flops
from backbones.ops.selective_scan.contract import ScanInputs, Scanned, accumulation_dtype
from backbones.ops.selective_scan.kernel import STEPS

FORWARD = "zoo::compiled_scan"
BACKWARD = "zoo::compiled_scan_backward"
PER_DIRECTION = 7  # tensors of a direction: u, delta, A, B, C, D, delta_bias


def compiled_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`.

    The kernel vectorises over channels that share B and C. Constant ones belong to a single channel, no published model
    has them, and `chunked` does them well.

    Raises:
        ValueError: for tensors that are not on a CPU.
    """
    device = directions[0].u.device.type
    if device != "cpu":
        raise ValueError(f"implementation 'compiled' of the selective scan runs on cpu, not on {device!r}")
    if any(weights.ndim == 2 for inputs in directions for weights in (inputs.B, inputs.C)):
        return chunked_scan(directions, reverse, z, delta_softplus)
    tensors = [tensor for inputs in directions for tensor in _tensors(inputs)]
    gate = None if z is None else z.mT
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *([] if gate is None else [gate])))
    out, last_states, _ = torch.ops.zoo.compiled_scan(tensors, gate, delta_softplus, list(reverse), keep)
    return Scanned(out.mT, last_states)


def _tensors(inputs: ScanInputs) -> tuple[Tensor, ...]:
    """What the operator takes of a direction: sequences by token, and zeros for what is absent."""
    B, C = (weights.permute(0, 3, 1, 2) for weights in (inputs.B, inputs.C))
    zeros = inputs.A.new_zeros(inputs.A.shape[0])
    D, bias = (zeros if vector is None else vector for vector in (inputs.D, inputs.delta_bias))
    return inputs.u.mT, inputs.delta.mT, inputs.A, B, C, D, bias


def _shapes_of_forward(
    tensors: list[Tensor], z: Tensor | None, delta_softplus: bool, reverse: list[bool], keep_starts: bool
) -> tuple[Tensor, Tensor, Tensor]:
    u, A = tensors[0], tensors[2]
    batch, length, dim = u.shape
    dtype = accumulation_dtype(u)
    # Flat, because the number of chunks may be symbolic: with more axes torch.export would ask whether it is 1.
    kept = len(reverse) * -(-length // STEPS) * batch * A.numel() if keep_starts else 0
    return (
        u.new_empty(batch, length, dim),
        u.new_empty(len(reverse), batch, *A.shape, dtype=dtype),
        u.new_empty(kept, dtype=dtype),
    )


def _shapes_of_backward(
    grad_out: Tensor,
    grad_last_states: Tensor,
    starts: Tensor,
    tensors: list[Tensor],
    z: Tensor | None,
    delta_softplus: bool,
    reverse: list[bool],
) -> list[Tensor]:
    contiguous = torch.contiguous_format
    return [torch.empty_like(t, memory_format=contiguous) for t in (*tensors, *([] if z is None else [z]))]


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    tensors, z, ctx.delta_softplus, ctx.reverse, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, z, output[2])


def _differentiate(
    ctx: Any, grad_out: Tensor | None, grad_last_states: Tensor | None, grad_starts: Tensor | None
) -> tuple[list[Tensor] | Tensor | None, ...]:
    *tensors, z, starts = ctx.saved_tensors
    u, A = tensors[0], tensors[2]
    if grad_out is None:
        grad_out = u.new_zeros(u.shape)
    if grad_last_states is None:
        grad_last_states = starts.new_zeros(len(ctx.reverse), u.shape[0], *A.shape)
    grads = torch.ops.zoo.compiled_scan_backward(
        grad_out, grad_last_states, starts, tensors, z, ctx.delta_softplus, ctx.reverse
    )
    return list(grads[: len(tensors)]), None if z is None else grads[-1], None, None, None


def _refuse(ctx: Any, *grads: list[Tensor | None]) -> None:
    raise RuntimeError("the compiled selective scan has no second derivative; implementation='reference' has")


def _forward_flops(tensors: Sequence[Sequence[int]], *rest: object, out_shape: object = None) -> int:
    batch, length, dim = tensors[0]
    return len(tensors) // PER_DIRECTION * scan_flops(batch, dim, length, tensors[2][1])


def _backward_flops(
    grad_out: Sequence[int],
    grad_last_states: Sequence[int],
    starts: Sequence[int],
    tensors: Sequence[Sequence[int]],
    *rest: object,
    out_shape: object = None,
) -> int:
    return 2 * _forward_flops(tensors)


# Only the shapes and derivatives: the library that `kernel` loads brings the operators for tensors on a CPU.
torch.library.define(
    FORWARD,
    "(Tensor[] tensors, Tensor? z, bool delta_softplus, bool[] reverse, bool keep_starts) "
    "-> (Tensor out, Tensor last_states, Tensor starts)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.define(
    BACKWARD,
    "(Tensor grad_out, Tensor grad_last_states, Tensor starts, Tensor[] tensors, Tensor? z, bool delta_softplus, "
    "bool[] reverse) -> Tensor[]",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.register_fake(FORWARD, _shapes_of_forward)
torch.library.register_fake(BACKWARD, _shapes_of_backward)
torch.library.register_autograd(FORWARD, _differentiate, setup_context=_save_for_backward)
torch.library.register_autograd(BACKWARD, _refuse)
register_flop_formula(torch.ops.zoo.compiled_scan)(_forward_flops)
register_flop_formula(torch.ops.zoo.compiled_scan_backward)(_backward_flops)
