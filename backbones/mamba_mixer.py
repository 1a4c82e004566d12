"""The Mamba mixer of VideoMamba: a selective scan over the tokens in one direction or in both.

Sources: Gu and Dao, "Mamba" (arXiv 2312.00752), section 3; Li et al., "VideoMamba" (arXiv 2403.06977), section 3.2, and
OpenGVLab/VideoMamba, mamba/mamba_ssm/modules/mamba_simple.py. The input matrix is the simple delta * B of the code, not
the zero-order hold of the paper's equation 4.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, selective_scan
from backbones.ops.selective_scan.table import choose
from backbones.scan_order import Reordering


@dataclass(frozen=True, kw_only=True)
class SsmOptions:
    """Sizes of the state space model inside a mixer; the defaults are those of every published model.

    Attributes:
        state_dim: states per channel.
        conv_width: taps of the depthwise convolution before the scan.
        expand: inner width over the width of the tokens.
        dt_rank: rank of the projection to step sizes; None for a sixteenth of the width, rounded up.
        bias: biases on the projections into and out of the mixer.
        conv_bias: bias on the depthwise convolutions.
    """

    state_dim: int = 16
    conv_width: int = 4
    expand: int = 2
    dt_rank: int | None = None
    bias: bool = False
    conv_bias: bool = True


STEPS = (1e-3, 1e-1)


def draw_steps(dt_proj: nn.Linear) -> None:
    """Mamba's own start: steps log-uniform in `STEPS`, so that the slowest states reach back 10 to 1,000 tokens.

    Source: state-spaces/mamba, mamba_simple.py, `dt_init="random"`. `dt_proj` has one output per channel; its bias
    becomes the inverse softplus of the drawn steps.
    """
    low, high = STEPS
    nn.init.uniform_(dt_proj.weight, -(dt_proj.in_features**-0.5), dt_proj.in_features**-0.5)
    with torch.no_grad():
        steps = low * (high / low) ** torch.rand_like(dt_proj.bias)
        dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))


class Direction(nn.Module):
    """What one scan direction has of its own: convolution, projections to steps and input-dependent matrices, A and D.

    Args:
        inner_dim: channels of the scan.
        dt_rank: rank of the projection to step sizes.
        ssm: the remaining sizes.
        reverse: scan from the last token to the first.
    """

    def __init__(self, inner_dim: int, dt_rank: int, ssm: SsmOptions, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.sizes = (dt_rank, ssm.state_dim, ssm.state_dim)
        # A holder of weights in the usual layout; the scan's own convolution computes.
        self.conv = nn.Conv1d(inner_dim, inner_dim, ssm.conv_width, groups=inner_dim, bias=ssm.conv_bias)
        self.x_proj = nn.Linear(inner_dim, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(dt_rank, inner_dim)
        self.A_log = nn.Parameter(torch.arange(1.0, ssm.state_dim + 1).log().repeat(inner_dim, 1))
        self.D = nn.Parameter(torch.ones(inner_dim))

    def forward(self, x: Float[Tensor, "batch length dim"], scan: str) -> ScanInputs:
        """Everything the scan of this direction needs, in input order; convolved as the named scan does it."""
        u = choose(scan, x).conv(x, self.conv.weight[:, 0], self.conv.bias, self.reverse)
        rank, B, C = self.x_proj(u).split(self.sizes, -1)
        # The bias of the step projection is added inside the scan, in float32 and before the softplus.
        delta = F.linear(rank, self.dt_proj.weight)
        A = -torch.exp(self.A_log.to(torch.promote_types(self.A_log.dtype, torch.float32)))
        return ScanInputs(u.mT, delta.mT, A, B.mT, C.mT, self.D, self.dt_proj.bias)


class MambaMixer(nn.Module):
    """Gated selective scan over tokens. Both directions share the projections and the gate; their results are added.

    A second order of the tokens (`backbones.scan_order`) may be scanned too. Convolution and scan run along an order;
    projections and gate see single tokens, so there is one of each whatever the orders. "backward" leaves the first
    order to the causal direction and the second to the anticausal one: as many weights and as much work as with one
    order. "both" scans both orders from both ends with the same weights of each direction and adds all four: twice the
    work of convolutions and scans.

    Args:
        dim: width of the tokens.
        bidirectional: scan from both ends; False leaves the plain Mamba mixer.
        second_order: what scans the second order, when there is one: "backward" or "both".
        ssm: sizes of the state space model.
        scan: name of the scan implementation (`backbones.ops.selective_scan.implementations`).

    Raises:
        ValueError: for an unknown scan, for one that is not available on this machine, and for an unknown use of a
            second order or one that needs the direction that is not there.
    """

    def __init__(
        self,
        dim: int,
        *,
        bidirectional: bool = True,
        second_order: str = "both",
        ssm: SsmOptions = SsmOptions(),
        scan: str = "auto",
    ) -> None:
        super().__init__()
        inner_dim, dt_rank = ssm.expand * dim, ssm.dt_rank or math.ceil(dim / 16)
        choose(scan)  # a misspelt name should fail here, not in the first forward pass
        if second_order not in ("backward", "both"):
            raise ValueError(f"unknown second_order {second_order!r}; choose 'backward' or 'both'")
        if second_order == "backward" and not bidirectional:
            raise ValueError("second_order 'backward' (spatiotemporal_v1) needs a mixer with bidirectional=True")
        self.scan, self.second_order = scan, second_order
        self.in_proj = nn.Linear(dim, 2 * inner_dim, bias=ssm.bias)
        self.causal = Direction(inner_dim, dt_rank, ssm, reverse=False)
        self.anticausal = Direction(inner_dim, dt_rank, ssm, reverse=True) if bidirectional else None
        self.out_proj = nn.Linear(inner_dim, dim, bias=ssm.bias)

    def forward(
        self, x: Float[Tensor, "batch length dim"], second: Reordering | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """Mix the tokens of each sample along the sequence, and along a second order where one is given."""
        xz = self.in_proj(x)
        if second is None:
            return self.out_proj(self._along(xz))
        split = self.second_order == "backward"
        out = self._along(xz, anticausal=not split)
        return self.out_proj(out + second.undo(self._along(second.apply(xz), causal=not split)))

    def _along(
        self, xz: Float[Tensor, "batch length inner2"], *, causal: bool = True, anticausal: bool = True
    ) -> Float[Tensor, "batch length inner"]:
        """Sum of the gated scans of the wanted directions, over tokens in the order in which they come."""
        x, z = xz.chunk(2, -1)
        if self.anticausal is None or not anticausal:
            out = selective_scan(self.causal(x, self.scan), z.mT, delta_softplus=True, implementation=self.scan)
        elif causal:
            out = bidirectional_scan(
                self.causal(x, self.scan),
                self.anticausal(x, self.scan),
                z.mT,
                delta_softplus=True,
                implementation=self.scan,
            )
        else:
            out = selective_scan(
                self.anticausal(x, self.scan), z.mT, delta_softplus=True, reverse=True, implementation=self.scan
            )
        return out.mT
