"""What every implementation of the selective scan takes and returns."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class ScanInputs(NamedTuple):
    """Inputs of one direction of a selective scan.

    Any tensor may be strided: a mixer that works on `[batch, length, dim]` passes transposed views, and the fast
    implementations read those without a copy of the sequence.

    Attributes:
        u: input `[batch, dim, length]`.
        delta: step before bias and softplus `[batch, dim, length]`.
        A: decay rates `[dim, state]`, negative.
        B: input weights, per token `[batch, groups, state, length]` or `[batch, state, length]`, or constant
            `[dim, state]`. Group g serves channels g * dim / groups up to (g + 1) * dim / groups.
        C: output weights, in the same layouts as `B` and independent of it.
        D: weight of the direct path from u to the output `[dim]`; None for no such path.
        delta_bias: added to delta before the softplus `[dim]`; None for zero.
    """

    u: Float[Tensor, "batch dim length"]
    delta: Float[Tensor, "batch dim length"]
    A: Float[Tensor, "dim state"]
    B: Float[Tensor, "batch groups state length"] | Float[Tensor, "batch state length"] | Float[Tensor, "dim state"]
    C: Float[Tensor, "batch groups state length"] | Float[Tensor, "batch state length"] | Float[Tensor, "dim state"]
    D: Float[Tensor, " dim"] | None = None
    delta_bias: Float[Tensor, " dim"] | None = None


class Scanned(NamedTuple):
    """Result of a scan over one or several directions.

    Attributes:
        out: `[batch, dim, length]` in the dtype of u: the sum over directions, gated where z was given.
        last_states: `[directions, batch, dim, state]` in the dtype of accumulation.
    """

    out: Float[Tensor, "batch dim length"]
    last_states: Float[Tensor, "directions batch dim state"]


Implementation = Callable[[Sequence[ScanInputs], Sequence[bool], Tensor | None, bool], Scanned]
"""`(directions, reverse, z, delta_softplus) -> Scanned`: directions that share one sequence, whether each runs from the
last token to the first, the gate they share, and whether softplus is applied to delta. Inputs come validated, with B
and C either `[batch, groups, state, length]` or `[dim, state]`."""


def accumulation_dtype(u: Tensor) -> torch.dtype:
    """float64 for float64 inputs, float32 for all others, also under autocast."""
    return torch.float64 if u.dtype == torch.float64 else torch.float32


def with_groups(inputs: ScanInputs) -> ScanInputs:
    """The same inputs with per-token B and C in their four-axis layout.

    Raises:
        ValueError: for shapes that do not fit together.
    """
    batch, dim, length = inputs.u.shape
    _require("delta", inputs.delta, (batch, dim, length))
    if batch == 0 or length == 0:
        raise ValueError(f"u is {tuple(inputs.u.shape)}: there is nothing to scan")
    if inputs.A.ndim != 2 or inputs.A.shape[0] != dim:
        raise ValueError(f"A is {tuple(inputs.A.shape)}; with {dim} channels it must be [{dim}, state]")
    for name, vector in (("D", inputs.D), ("delta_bias", inputs.delta_bias)):
        if vector is not None:
            _require(name, vector, (dim,))
    B, C = (_grouped(name, weights, inputs) for name, weights in (("B", inputs.B), ("C", inputs.C)))
    if B.ndim == C.ndim == 4 and B.shape[1] != C.shape[1]:
        raise ValueError(f"B has {B.shape[1]} groups and C has {C.shape[1]}; they must have the same number")
    # Spelt out, because torch.compile of torch 2.6 cannot see into `_replace`.
    return ScanInputs(inputs.u, inputs.delta, inputs.A, B, C, inputs.D, inputs.delta_bias)


def require_gate(z: Tensor | None, u: Tensor) -> None:
    """Refuse a gate of another shape than the input, which would broadcast.

    Raises:
        ValueError: for such a gate.
    """
    if z is not None:
        _require("z", z, tuple(u.shape))


def _require(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} is {tuple(tensor.shape)} and must be {shape}")


def _grouped(name: str, weights: Tensor, inputs: ScanInputs) -> Tensor:
    batch, dim, length = inputs.u.shape
    state = inputs.A.shape[1]
    if weights.ndim == 2:
        _require(f"constant {name}", weights, (dim, state))
        return weights
    if weights.ndim == 3:
        weights = weights.unsqueeze(1)  # indexing would be two operators of an exported program
    groups = weights.shape[1] if weights.ndim == 4 else 0
    if groups == 0 or dim % groups or weights.shape != (batch, groups, state, length):
        raise ValueError(
            f"{name} is {tuple(weights.shape)} and must be ({dim}, {state}), ({batch}, {state}, {length}) or "
            f"({batch}, groups, {state}, {length}) with groups dividing {dim}"
        )
    return weights
