"""The Triton scan as a torch operator: both directions, their sum and the gate in one launch, with its own backward.

Like `chunked.py` it works channels last, passes through torch.compile and torch.export in one piece, and is counted by
`torch.utils.flop_counter.FlopCounterMode`. It needs a GPU, or the environment variable TRITON_INTERPRET=1, set before
triton is first imported, for Triton's interpreter, which is for tests: it takes milliseconds per token.

The step projection (rank 12 to 48, to all channels) stays a matrix product outside. By the roofline of an H100, for
VideoMamba-M, 16 frames, 1 clip (1,152 channels, 3,137 tokens, bfloat16, both directions): the forward kernel moves 20
bytes per token and channel, 72 MB, 24 us at the 3.0 TB/s of a copy; its 38 exponentials and reciprocals take 37 us; its
instructions, 215 per token, direction and 32 channels, take 52 us at one per cycle and scheduler. So traffic is not
what it waits for. Projecting inside would save the product's writing of delta, 14 MB or 5 us, and two launches, and
would add 36 multiply-adds to the 215 instructions, 9 us, where the kernel is bound; three times that in the backward,
which computes every step three times at 700 instructions. The gate and the sum of directions are inside: they would be
passes over all channels outside, and cost 20 instructions.
"""

import importlib.util
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from backbones.ops.selective_scan.chunked import scan_flops
from backbones.ops.selective_scan.contract import ScanInputs, Scanned

FORWARD = "zoo::fused_scan"
BACKWARD = "zoo::fused_scan_backward"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Tokens between stored states: in float32 they take 64 / CHUNK bytes per token and channel, as much as one bfloat16
# tensor of the size of u.
CHUNK = 32
# Tokens whose states and decays a backward program holds in registers at once. The kernel is written for 4.
GROUP = 4
# State values per program: 16 per lane of its one warp, for which the backward needs most of its 255 registers.
TILE = 512
# A whole-sequence launch should have at least one warp for each of the 4 schedulers of a multiprocessor; where it has
# fewer, segments make up twice as many, to hide the latency of loads.
ENOUGH_PER_SM, WANTED_PER_SM = 4, 8
# `combine_kernel` walks the segments one after the other.
MAX_SEGMENTS = 32
LOG2_E = 1.4426950408889634
# Both are read once, at import, because torch.compile cannot trace the reading.
INSTALLED = importlib.util.find_spec("triton") is not None
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class Plan(NamedTuple):
    """How a scan is laid over programs of one warp.

    Attributes:
        block: channels of a program.
        group_blocks: blocks of a group of B and C.
        slots: backward programs that share the blocks of a group, and copies of the gradients of B and C.
        segments: parts of the sequence, forward and backward.
        segment_chunks: chunks of a segment, forward and backward.
    """

    block: int
    group_blocks: int
    slots: int
    segments: tuple[int, int]
    segment_chunks: tuple[int, int]


class _Scan(NamedTuple):
    """A scan as the kernels read it: sequences per direction, the second repeating the first where there is one."""

    u: list[Tensor]
    delta: list[Tensor]
    B: list[Tensor]
    C: list[Tensor]
    A: Tensor
    D: Tensor
    bias: Tensor
    z: Tensor | None
    strides: tuple[int, ...]
    groups: int
    directions: int

    @property
    def pointers(self) -> tuple[Tensor, ...]:
        """Arguments of the kernels, from u to bias."""
        return (*self.u, *self.delta, *self.B, *self.C, self.A, self.D, self.bias)


def unusable() -> str | None:
    """Why the Triton scan cannot run here; None where it can."""
    if not INSTALLED:
        return "triton is not installed (it comes with torch for CUDA on Linux)"
    if INTERPRETED or torch.cuda.is_available():
        return None
    return "no CUDA device; TRITON_INTERPRET=1 runs it in Triton's interpreter, for tests"


def takes(u: Tensor) -> bool:
    """Whether "auto" gives these inputs to the Triton scan: on a GPU, and not in double precision."""
    return u.is_cuda and u.dtype in DTYPES


def triton_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction, add the results and gate the sum; see `contract.Implementation`.

    Raises:
        ValueError: for float64, and for directions whose B or C have different layouts.
    """
    u = directions[0].u
    if u.dtype not in DTYPES or not (u.is_cuda or INTERPRETED):
        raise ValueError(
            f"the triton scan takes float32, bfloat16 and float16 on a CUDA device, got {u.dtype} on {u.device}; "
            f"'chunked' takes all"
        )
    layouts = [tuple(w.shape[1] if w.ndim == 4 else 0 for w in (one.B, one.C)) for one in directions]
    if len(set(layouts)) > 1:
        raise ValueError(f"both directions must have B and C in the same layout, got groups of (B, C) {layouts}")
    sequences = [
        tensor
        for one in directions
        for tensor in (one.u.mT, one.delta.mT, *(w if w.ndim == 2 else w.permute(0, 3, 1, 2) for w in (one.B, one.C)))
    ]
    A = torch.stack([one.A.float() for one in directions])
    vectors = [[one.D for one in directions], [one.delta_bias for one in directions]]
    D, bias = (torch.stack([A.new_zeros(A.shape[1]) if v is None else v.float() for v in some]) for some in vectors)
    gate = None if z is None else z.mT
    tensors = [*sequences, A, D, bias, *([] if gate is None else [gate])]
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    bits = sum(int(backwards) << index for index, backwards in enumerate(reverse))
    out, last, _, _ = torch.ops.zoo.fused_scan(sequences, A, D, bias, gate, delta_softplus, bits, keep)
    return Scanned(out.mT, last.mT)


def make_plan(
    shape: tuple[int, int, int], groups: int, state: int, *, itemsize: int, directions: int, multiprocessors: int
) -> Plan:
    """Lay a scan of `shape` (batch, length, dim) over programs; see the constants above for the reasons.

    `slots` keeps the copies of the gradients of B and C (float32, before they are added) as small as u itself.
    """
    batch, length, dim = shape
    block = max(1, min(TILE // _power_of_2(state), max(16, _power_of_2(dim // groups))))
    group_blocks = -(-(dim // groups) // block)
    slots = max(1, min(group_blocks, dim * itemsize // (8 * state * groups)))
    chunks = -(-length // CHUNK)
    cuts = []
    for programs in (batch * groups * group_blocks, batch * groups * slots * directions):
        wanted = 1 if programs >= ENOUGH_PER_SM * multiprocessors else -(-WANTED_PER_SM * multiprocessors // programs)
        segment_chunks = -(-chunks // min(chunks, wanted, MAX_SEGMENTS))
        cuts.append((-(-chunks // segment_chunks), segment_chunks))
    forward, backward = cuts
    return Plan(block, group_blocks, slots, (forward[0], backward[0]), (forward[1], backward[1]))


def scan_forward(
    sequences: list[Tensor],
    A: Tensor,
    D: Tensor,
    bias: Tensor,
    z: Tensor | None,
    delta_softplus: bool,
    reverse: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scan, channels last.

    Args:
        sequences: per direction u and delta `[batch, length, dim]`, then B and C `[batch, length, groups, state]` or
            `[dim, state]`.
        A: decay rates `[directions, dim, state]` in float32, like D and bias.
        D: `[directions, dim]`.
        bias: `[directions, dim]`.
        z: gate `[batch, length, dim]` or None.
        delta_softplus: pass delta through a softplus.
        reverse: bit d says that direction d starts at the last token.
        keep: return what a backward needs.

    Returns:
        The gated sum `[batch, length, dim]` in the dtype of u, last states `[directions, batch, state, dim]`, states
        before every chunk, and the sum before the gate where there is one.
    """
    scan, plan = _prepare(sequences, A, D, bias, z)
    batch, length, dim = scan.u[0].shape
    out, last, starts, kept = _empty_outputs(sequences, A, D, bias, z, delta_softplus, reverse, keep)
    partial = out if out.dtype == torch.float32 else torch.empty_like(out, dtype=torch.float32)
    options = _options(scan, plan, delta_softplus, reverse)
    with _on(out.device):
        states = _entering(scan, plan, torch.zeros_like(last), options, grad_out=None)
        _kernels().forward_kernel[(scan.groups * plan.group_blocks, plan.segments[0], batch)](
            *scan.pointers, _or(scan.z, out), out, partial, kept, states, starts, last,
            length, dim, dim // scan.groups, plan.group_blocks, plan.segment_chunks[0], *scan.strides,
            DIRECTIONS=scan.directions, GATED=z is not None, KEEP=keep, **_constant(scan), CHUNK=CHUNK,
            **options,
        )  # fmt: skip
    return out, last, starts, kept


def scan_backward(
    grad_out: Tensor,
    grad_last: Tensor,
    starts: Tensor,
    kept: Tensor,
    sequences: list[Tensor],
    parameters: list[Tensor],
    z: Tensor | None,
    delta_softplus: bool,
    reverse: int,
) -> tuple[Tensor, ...]:
    """Gradients of u, delta, B, C, A, D, bias, stacked over directions, and of z, which is empty without a gate.

    Args:
        grad_out: gradient of the gated sum.
        grad_last: gradient of the last states.
        starts: what `scan_forward` kept, like the next one.
        kept: see there.
        sequences: as given to `scan_forward`, like the rest.
        parameters: A, D and bias.
        z: see there.
        delta_softplus: see there.
        reverse: see there.
    """
    A, D, bias = parameters
    scan, plan = _prepare(sequences, A, D, bias, z)
    batch, length, dim = scan.u[0].shape
    state, groups, directions = scan.A.shape[1], scan.groups, scan.directions
    grad_out, segments = grad_out.contiguous(), plan.segments[1]
    stacked = [torch.empty(directions, *t.shape, dtype=t.dtype, device=t.device) for t in (scan.u[0], scan.delta[0])]
    dz = torch.empty_like(grad_out, dtype=z.dtype) if z is not None else grad_out.new_empty(0)
    tables = (directions, batch, segments, state, dim)
    rows = (directions, plan.slots, batch, length, groups, state)
    dA, dB, dC = (scan.A.new_empty(tables if w.ndim == 2 else rows) for w in (scan.A[0], scan.B[0], scan.C[0]))
    dD, dbias = (scan.A.new_empty(directions, batch, segments, dim) for _ in range(2))
    programs = (groups * plan.slots, segments, batch * directions)
    options = _options(scan, plan, delta_softplus, reverse)
    scratch = scan.A.new_empty(*programs, CHUNK // GROUP, options["STATES"], plan.block)
    with _on(grad_out.device):
        adjoints = _entering(scan, plan, grad_last.contiguous(), options, grad_out=grad_out)
        _kernels().backward_kernel[programs](
            *scan.pointers, _or(scan.z, grad_out), kept, grad_out, starts, adjoints, scratch,
            *stacked, dz, dA, dB, dC, dD, dbias,
            length, dim, groups, dim // groups, plan.group_blocks, plan.slots, plan.segment_chunks[1], batch,
            *scan.strides, GATED=z is not None, **_constant(scan), CHUNK=CHUNK, GROUP=GROUP, **options,
        )  # fmt: skip
    over_tables = [g.sum((1, 2)).mT if g.shape == tables else g.sum(1) for g in (dB, dC)]
    weights = (g.to(w.dtype).contiguous() for g, w in zip(over_tables, sequences[2:4], strict=True))
    return *stacked, *weights, dA.sum((1, 2)).mT.contiguous(), dD.sum((1, 2)), dbias.sum((1, 2)), dz


def _entering(scan: _Scan, plan: Plan, initial: Tensor, options: dict[str, Any], *, grad_out: Tensor | None) -> Tensor:
    """The states that enter the segments, or with `grad_out` the gradients of those that leave them.

    Args:
        scan: what is scanned.
        plan: how.
        initial: what enters the first segment, `[directions, batch, state, dim]`.
        options: sizes and flags of the kernels.
        grad_out: gradient of the output.

    Returns:
        `[directions, batch, segments, state, dim]`.
    """
    adjoint = grad_out is not None
    segments, chunks = plan.segments[adjoint], plan.segment_chunks[adjoint]
    if segments == 1:
        return initial.unsqueeze(2)
    directions, batch, state, dim = initial.shape
    _, length, _ = scan.u[0].shape
    states = initial.new_empty(directions, batch, segments, state, dim)
    sums = initial.new_empty(directions, batch, segments, dim)
    x_strides, rest = scan.strides[:2], scan.strides[2:]
    x, weights = (scan.u, scan.B)
    if grad_out is not None:
        x, weights, x_strides = [grad_out, grad_out], scan.C, grad_out.stride()[:2]
    gated = adjoint and scan.z is not None
    _kernels().segment_kernel[(scan.groups * plan.group_blocks, segments, directions * batch)](
        *x, *scan.delta, *weights, scan.A, scan.bias, _or(scan.z, x[0]), states, sums,
        length, dim, dim // scan.groups, plan.group_blocks, chunks, batch, *x_strides, *rest,
        ADJOINT=int(adjoint), GATED=gated, CONSTANT=int(weights[0].ndim == 2), CHUNK=CHUNK, **options,
    )  # fmt: skip
    sizes = {name: value for name, value in options.items() if name != "SOFTPLUS"}
    _kernels().combine_kernel[(-(-dim // plan.block), directions * batch)](
        states, sums, scan.A, initial, dim, segments, batch, ADJOINT=int(adjoint), **sizes
    )
    return states


def _prepare(sequences: list[Tensor], A: Tensor, D: Tensor, bias: Tensor, z: Tensor | None) -> tuple[_Scan, Plan]:
    directions = len(sequences) // 4
    u, delta, B, C = ([sequences[4 * d + which] for d in range(directions)] for which in range(4))
    u, delta = _alike(u), _alike(delta)
    z = None if z is None else _alike([z])[0]
    per_token = [w for w in (*B, *C) if w.ndim == 4]
    groups = per_token[0].shape[2] if per_token else 1
    same = iter(_alike(per_token))
    B, C = ([next(same) if w.ndim == 4 else w.float().mT.contiguous() for w in some] for some in (B, C))
    w_strides = next((w.stride()[:3] for w in (*B, *C) if w.ndim == 4), (0, 0, 0))
    z_strides = (0, 0) if z is None else z.stride()[:2]
    strides = (*u[0].stride()[:2], *delta[0].stride()[:2], *w_strides, *z_strides)
    u, delta, B, C = ([some[0], some[-1]] for some in (u, delta, B, C))
    # Decays are powers of 2 in the kernels, which is what the hardware computes.
    rates = (A * LOG2_E).mT.contiguous()
    scan = _Scan(u, delta, B, C, rates, D.contiguous(), bias.contiguous(), z, strides, groups, directions)
    batch, length, dim = u[0].shape
    plan = make_plan(
        (batch, length, dim),
        groups,
        A.shape[2],
        itemsize=u[0].element_size(),
        directions=directions,
        multiprocessors=_multiprocessors(u[0].device),
    )
    return scan, plan


def _alike(tensors: list[Tensor]) -> list[Tensor]:
    """The tensors with strides that are the same for all, and 1 along the last axis; copies only where needed."""
    if tensors and all(t.stride() == tensors[0].stride() and t.stride(-1) == 1 for t in tensors):
        return tensors
    return [t.contiguous() for t in tensors]


def _options(scan: _Scan, plan: Plan, delta_softplus: bool, reverse: int) -> dict[str, Any]:
    """Sizes and flags that kernels are compiled for; Triton 3.10 fuses multiply-adds only where asked to."""
    state = scan.A.shape[1]
    return {
        "SOFTPLUS": delta_softplus,
        "REVERSE": reverse,
        "STATE": state,
        "STATES": _power_of_2(state),
        "BLOCK": plan.block,
        "num_warps": 1,
        "enable_fp_fusion": True,
    }


def _constant(scan: _Scan) -> dict[str, int]:
    return {"B_CONSTANT": int(scan.B[0].ndim == 2), "C_CONSTANT": int(scan.C[0].ndim == 2)}


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """A pointer that is not read stands for an absent tensor."""
    return other if tensor is None else tensor


def _power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Triton launches on the current device, whatever the tensors say."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _kernels() -> Any:
    from backbones.ops.selective_scan import triton  # half a second, and only for those who scan with it

    return triton


def _empty_outputs(
    sequences: list[Tensor],
    A: Tensor,
    D: Tensor,
    bias: Tensor,
    z: Tensor | None,
    delta_softplus: bool,
    reverse: int,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Outputs of `scan_forward`, without values."""
    u = sequences[0]
    directions, dim, state = A.shape
    starts = directions * u.shape[0] * -(-u.shape[1] // CHUNK) * state * dim if keep else 0
    return (
        u.new_empty(u.shape),
        A.new_empty(directions, u.shape[0], state, dim),
        A.new_empty(starts),
        u.new_empty(u.shape if keep and z is not None else 0),
    )


def _shapes_of_backward(
    grad_out: Tensor,
    grad_last: Tensor,
    starts: Tensor,
    kept: Tensor,
    sequences: list[Tensor],
    parameters: list[Tensor],
    z: Tensor | None,
    delta_softplus: bool,
    reverse: int,
) -> tuple[Tensor, ...]:
    directions = parameters[0].shape[0]
    return (
        *(tensor.new_empty(directions, *tensor.shape) for tensor in sequences[:4]),
        *(tensor.new_empty(tensor.shape) for tensor in parameters),
        grad_out.new_empty(0) if z is None else z.new_empty(z.shape),
    )


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    sequences, A, D, bias, z, ctx.delta_softplus, ctx.reverse, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*sequences, A, D, bias, z, output[2], output[3])


def _differentiate(
    ctx: Any, grad_out: Tensor | None, grad_last: Tensor | None, grad_starts: Tensor | None, grad_kept: Tensor | None
) -> tuple[Any, ...]:
    *sequences, A, D, bias, z, starts, kept = ctx.saved_tensors
    u = sequences[0]
    if grad_out is None:
        grad_out = u.new_zeros(u.shape)
    if grad_last is None:
        grad_last = A.new_zeros(A.shape[0], u.shape[0], A.shape[2], A.shape[1])
    *stacked, dA, dD, dbias, dz = torch.ops.zoo.fused_scan_backward(
        grad_out, grad_last, starts, kept, sequences, [A, D, bias], z, ctx.delta_softplus, ctx.reverse
    )
    of_sequences = [grad[direction] for direction in range(A.shape[0]) for grad in stacked]
    return of_sequences, dA, dD, dbias, None if z is None else dz, None, None, None


def _refuse(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError("the triton selective scan has no second derivative; implementation='reference' has")


def _forward_flops(
    sequences: list[tuple[int, ...]], A: tuple[int, ...], *rest: object, out_shape: object = None
) -> int:
    batch, length, dim = sequences[0]
    return A[0] * scan_flops(batch, dim, length, A[2])


def _backward_flops(
    grad_out: tuple[int, ...], grad_last: tuple[int, ...], *rest: object, out_shape: object = None
) -> int:
    batch, length, dim = grad_out
    return 2 * grad_last[0] * scan_flops(batch, dim, length, grad_last[2])


# Not torch.library.custom_op, for the reason given in `chunked.py`.
torch.library.define(
    FORWARD,
    "(Tensor[] sequences, Tensor A, Tensor D, Tensor bias, Tensor? z, bool delta_softplus, int reverse, bool keep) "
    "-> (Tensor out, Tensor last, Tensor starts, Tensor kept)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.define(
    BACKWARD,
    "(Tensor grad_out, Tensor grad_last, Tensor starts, Tensor kept, Tensor[] sequences, Tensor[] parameters, "
    "Tensor? z, bool delta_softplus, int reverse) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.impl(FORWARD, "default", scan_forward)
torch.library.impl(BACKWARD, "default", scan_backward)
torch.library.register_fake(FORWARD, _empty_outputs)
torch.library.register_fake(BACKWARD, _shapes_of_backward)
torch.library.register_autograd(FORWARD, _differentiate, setup_context=_save_for_backward)
torch.library.register_autograd(BACKWARD, _refuse)
register_flop_formula(torch.ops.zoo.fused_scan)(_forward_flops)
register_flop_formula(torch.ops.zoo.fused_scan_backward)(_backward_flops)
