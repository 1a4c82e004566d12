"""The selective scan of Mamba-1: one public op, an explicit table of implementations and a FLOP formula.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t,    y_t = C_t h_t + D u_t,    out_t = y_t silu(z_t)

per channel, with delta = softplus(delta + delta_bias) where asked for, and h_0 = 0.

`selective_scan` runs one direction. `bidirectional_scan` runs the two directions of VideoMamba's mixer over one
sequence, adds them and gates the sum: silu(z) (y_forward + y_backward). Both scan backwards by index, so nobody flips
a sequence: inputs and outputs of the backward direction stay in the order of the tokens.

State and sums are float32, also under autocast and for bfloat16 inputs, and float64 for float64 inputs; the output has
the dtype of u. Inputs are public as `[batch, dim, length]` and may be transposed views of `[batch, length, dim]`, which
is the faster layout; the output is such a view.

The environment variable ZOO_SCAN names what "auto" stands for; see `table.choose`.
"""

from typing import Literal, overload

from jaxtyping import Float
from torch import Tensor

from backbones.ops.selective_scan.chunked import scan_flops
from backbones.ops.selective_scan.contract import ScanInputs, require_gate, with_groups
from backbones.ops.selective_scan.table import Row, choose, implementations

__all__ = ["Row", "ScanInputs", "bidirectional_scan", "implementations", "scan_flops", "selective_scan"]


@overload
def selective_scan(
    inputs: ScanInputs,
    z: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    return_last_state: Literal[False] = False,
    reverse: bool = False,
    implementation: str = "auto",
) -> Tensor: ...


@overload
def selective_scan(
    inputs: ScanInputs,
    z: Tensor | None = None,
    *,
    delta_softplus: bool = False,
    return_last_state: Literal[True],
    reverse: bool = False,
    implementation: str = "auto",
) -> tuple[Tensor, Tensor]: ...


def selective_scan(
    inputs: ScanInputs,
    z: Float[Tensor, "batch dim length"] | None = None,
    *,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    reverse: bool = False,
    implementation: str = "auto",
) -> Float[Tensor, "batch dim length"] | tuple[Float[Tensor, "batch dim length"], Float[Tensor, "batch dim state"]]:
    """Selective scan over the tokens in one direction.

    Args:
        inputs: u, delta, A, B, C, D and delta_bias, as mamba_ssm's selective_scan_fn takes them.
        z: gate; the output is multiplied by silu(z). None for no gate.
        delta_softplus: pass delta (with its bias) through a softplus.
        return_last_state: return (out, state after the last token scanned).
        reverse: scan from the last token to the first; the output stays in the order of the tokens.
        implementation: a name from `implementations()`, or "auto".

    Raises:
        ValueError: for shapes that do not fit together, and for an unknown or unavailable implementation.
    """
    inputs = with_groups(inputs)
    require_gate(z, inputs.u)
    scanned = choose(implementation, inputs.u).function([inputs], [reverse], z, delta_softplus)
    return (scanned.out, scanned.last_states[0]) if return_last_state else scanned.out


def bidirectional_scan(
    forward: ScanInputs,
    backward: ScanInputs,
    z: Float[Tensor, "batch dim length"] | None = None,
    *,
    delta_softplus: bool = False,
    implementation: str = "auto",
) -> Float[Tensor, "batch dim length"]:
    """Sum of a scan from the first token and one from the last, gated: silu(z) (y_forward + y_backward).

    Args:
        forward: inputs of the direction that starts at the first token.
        backward: inputs of the direction that starts at the last token, in the order of the tokens like everything
            else: the caller flips nothing.
        z: gate that both directions share; None for no gate.
        delta_softplus: pass delta (with its bias) through a softplus, in both directions.
        implementation: a name from `implementations()`, or "auto".

    Raises:
        ValueError: for shapes that do not fit together, and for an unknown or unavailable implementation.
    """
    directions = [with_groups(forward), with_groups(backward)]
    require_gate(z, forward.u)
    if forward.u.shape != backward.u.shape:
        raise ValueError(f"the directions differ in shape: {tuple(forward.u.shape)} and {tuple(backward.u.shape)}")
    return choose(implementation, forward.u).function(directions, [False, True], z, delta_softplus).out
