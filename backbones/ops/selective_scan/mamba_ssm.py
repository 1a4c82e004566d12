"""Adapters for mamba-ssm and causal-conv1d; the only file that imports them.

Their CUDA kernels know one direction, so the other one costs copies that flip the sequence. They are here to compare
with; "auto" never takes them.

Installation (performance.md B1, for mamba-ssm 2.3.2.post1 and causal-conv1d 1.7.0). Both exist as source only and are
built against the torch that is there, which needs nvcc, `wheel` and `ninja`:

    export MAMBA_FORCE_BUILD=TRUE CAUSAL_CONV1D_FORCE_BUILD=TRUE    # else the build asks GitHub for a wheel first
    export MAMBA_SKIP_CUDA_BUILD=FALSE                              # the released source: builds CUDA unless TRUE
    export MAMBA_KEEP_CUDA_BUILD=TRUE                               # GitHub's main: builds no CUDA unless TRUE
    pip install --no-build-isolation --no-deps causal-conv1d mamba-ssm

`--no-deps`, because mamba-ssm asks for many packages that the scan does not use. TORCH_CUDA_ARCH_LIST is ignored: to
build for one GPU only, edit `cc_flag` in its setup.py (10 files, 1 to 3 minutes each, times nine with all of them).
The released package cannot be imported without its CUDA part.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import backbones.ops.selective_scan.conv as conv
from backbones.ops.selective_scan.contract import ScanInputs, Scanned
from backbones.ops.selective_scan.conv import Tokens

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_faults: dict[str, str | None] = {}


def takes(u: Tensor) -> bool:
    """Whether it can take an input where ZOO_SCAN asks for it; "auto" alone prefers what needs no flips."""
    return u.is_cuda


def unusable() -> str | None:
    """Why mamba-ssm's scan cannot be used here, found by running it once; None where it can."""
    return _probed("mamba_ssm.ops.selective_scan_interface", _try_scan)


def conv_unusable() -> str | None:
    """Why causal-conv1d cannot be used here, found by running it once; None where it can."""
    return _probed("causal_conv1d", _try_conv)


def mamba_ssm_scan(
    directions: Sequence[ScanInputs], reverse: Sequence[bool], z: Tensor | None, delta_softplus: bool
) -> Scanned:
    """Scan every direction by mamba-ssm, add the results; see `contract.Implementation`.

    Every direction is gated and rounded to the dtype of u before the sum, as in VideoMamba's own code.

    Raises:
        ValueError: for tensors that are not on a GPU, and for float64.
    """
    u = directions[0].u
    if not u.is_cuda or u.dtype not in DTYPES:
        raise ValueError(
            f"mamba_ssm takes float32, bfloat16 and float16 on a CUDA device, got {u.dtype} on {u.device}; "
            f"'chunked' takes all"
        )
    results = [_scan(one, backwards, z, delta_softplus) for one, backwards in zip(directions, reverse, strict=True)]
    out = results[0][0]
    for other, _ in results[1:]:
        out = out + other
    return Scanned(out, torch.stack([last for _, last in results]))


def conv_silu(x: Tokens, weight: Tensor, bias: Tensor | None, reverse: bool = False) -> Tokens:
    """Convolution and SiLU by causal-conv1d where it is usable and takes the tokens, else by torch; see `conv`.

    Against the order of the tokens it takes a flip before and one after.
    """
    if conv_unusable() or not x.is_cuda or x.dtype not in DTYPES:
        return conv.conv_silu(x, weight, bias, reverse)
    from causal_conv1d import causal_conv1d_fn

    tokens = (x.flip(1) if reverse else x).mT
    weight, bias = weight.to(x.dtype), None if bias is None else bias.to(x.dtype)
    out = causal_conv1d_fn(tokens, weight, bias, activation="silu").mT
    return out.flip(1) if reverse else out


def _scan(inputs: ScanInputs, reverse: bool, z: Tensor | None, delta_softplus: bool) -> tuple[Tensor, Tensor]:
    """One call of selective_scan_fn, whose B and C are per token in the dtype of u or constant in that of A."""
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    u, delta, A, B, C, D, bias = inputs
    dtype = u.dtype
    sequences = [u, delta.to(dtype), B, C, *([] if z is None else [z.to(dtype)])]
    sequences = [t if t.ndim == 2 else (t.flip(-1) if reverse else t).to(dtype).contiguous() for t in sequences]
    u, delta, B, C, *gate = sequences
    B, C = (w.float() if w.ndim == 2 else w for w in (B, C))
    D, bias = (None if vector is None else vector.float() for vector in (D, bias))
    out, last = selective_scan_fn(
        u, delta, A.float(), B, C, D, gate[0] if gate else None, bias, delta_softplus, return_last_state=True
    )
    return out.flip(-1) if reverse else out, last


def _probed(module: str, try_out: Callable[[], Any]) -> str | None:
    """What `_fault` found the first time. torch.compile cannot trace imports, so it reads what was found before."""
    if module not in _faults:
        if torch.compiler.is_compiling():
            return "not looked for yet: call `implementations()` once before torch.compile"
        _faults[module] = _fault(module, try_out)
    return _faults[module]


def _fault(module: str, try_out: Callable[[], Any]) -> str | None:
    if not torch.cuda.is_available():
        return "no CUDA device"
    package = module.partition(".")[0].replace("_", "-")
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module.partition(".")[0]:
            return f"{package} is not installed (pip install --no-build-isolation 'video-backbone-zoo[mamba]')"
        return f"{package} was built without its CUDA part or lacks a package: {error}"
    except ImportError as error:
        return f"{package} was built for another torch or CUDA: {error}"
    try:
        try_out()
    except Exception as error:
        return f"{package} fails on a tiny input: {error}"
    return None


def _try_scan() -> None:
    u = torch.ones(1, 8, 4, device="cuda")
    weights = u.new_ones(1, 4, 4)
    _scan(ScanInputs(u, u, -u.new_ones(8, 4), weights, weights), False, u, True)


def _try_conv() -> None:
    from causal_conv1d import causal_conv1d_fn

    x = torch.ones(1, 8, 4, device="cuda")
    expected = F.silu(torch.arange(1.0, 5, device="cuda").expand(1, 8, 4))
    torch.testing.assert_close(causal_conv1d_fn(x, x.new_ones(8, 4), None, activation="silu"), expected)
