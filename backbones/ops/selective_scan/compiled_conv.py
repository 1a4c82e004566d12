"""The convolution and SiLU in front of a scan in C++ on a CPU: `conv.cpp`, in the library that `kernel` builds.

One pass over the tokens in place of padding, convolving and gating; nothing is kept for a backward but the inputs.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from backbones.ops.selective_scan.conv import Tokens, conv_silu

FORWARD = "zoo::compiled_conv_silu"
BACKWARD = "zoo::compiled_conv_silu_backward"
MOST_TAPS = 8  # conv.cpp keeps them in registers
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def compiled_conv_silu(x: Tokens, weight: Tensor, bias: Tensor | None, reverse: bool = False) -> Tokens:
    """See `conv.conv_silu`; sums are float32, or float64 for float64 tokens."""
    if not x.is_cpu or x.dtype not in DTYPES or weight.shape[1] > MOST_TAPS:
        return conv_silu(x, weight, bias, reverse)
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.get_autocast_dtype("cpu"))
    out: Tensor = torch.ops.zoo.compiled_conv_silu(x, weight, bias, reverse)
    return out


def _shape(x: Tensor, weight: Tensor, bias: Tensor | None, reverse: bool) -> Tensor:
    return x.new_empty(x.shape)


def _shapes_of_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape), weight.new_empty(weight.shape[0])


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, ctx.reverse = inputs
    ctx.save_for_backward(x, weight, bias)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight, bias = ctx.saved_tensors
    grad_x, grad_weight, grad_bias = torch.ops.zoo.compiled_conv_silu_backward(grad, x, weight, bias, ctx.reverse)
    return grad_x, grad_weight, None if bias is None else grad_bias, None


def _refuse(ctx: Any, *grads: Tensor | None) -> None:
    raise RuntimeError("the compiled convolution has no second derivative; implementation='reference' has")


def _flops(x: tuple[int, ...], weight: tuple[int, ...], *rest: object, out_shape: object = None) -> int:
    batch, length, dim = x
    return 2 * batch * length * dim * weight[1]


def _backward_flops(
    grad: tuple[int, ...], x: tuple[int, ...], weight: tuple[int, ...], *rest: object, out_shape: object = None
) -> int:
    return 2 * _flops(x, weight)


torch.library.define(
    FORWARD, "(Tensor x, Tensor weight, Tensor? bias, bool reverse) -> Tensor", tags=torch.Tag.pt2_compliant_tag
)
torch.library.define(
    BACKWARD,
    "(Tensor grad, Tensor x, Tensor weight, Tensor? bias, bool reverse) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
torch.library.register_fake(FORWARD, _shape)
torch.library.register_fake(BACKWARD, _shapes_of_backward)
torch.library.register_autograd(FORWARD, _differentiate, setup_context=_save_for_backward)
torch.library.register_autograd(BACKWARD, _refuse)
register_flop_formula(torch.ops.zoo.compiled_conv_silu)(_flops)
register_flop_formula(torch.ops.zoo.compiled_conv_silu_backward)(_backward_flops)
