"""The Triton kernels against the reference: on a GPU, and on the CPU in Triton's interpreter.

The interpreter is switched on for a whole process, before triton is imported, hence a subprocess, which runs this file.
Importing torch and triton takes seconds, so all its cases but a single token are slow tests.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, fused, selective_scan, table

ROOT = Path(__file__).parents[4]
LENGTHS = [1, 63, 64, 65, 197, 1569]
needs_triton = pytest.mark.skipif(not fused.INSTALLED, reason="triton is not installed")


def draw(shape, *, groups=None, constant="", without="", dtype=torch.float32, device="cpu", seed=0):
    """Inputs of one direction, and a gate, drawn on the CPU; `shape` is batch, dim, length, state."""
    batch, dim, length, state = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator)

    per_token = (batch, state, length) if groups is None else (batch, groups, state, length)
    inputs = ScanInputs(
        u=normal(batch, dim, length).to(dtype),
        delta=(0.5 * normal(batch, dim, length)).to(dtype),
        A=-normal(dim, state).abs() - 0.1,
        B=normal(dim, state) if "B" in constant else normal(*per_token).to(dtype),
        C=normal(dim, state) if "C" in constant else normal(*per_token).to(dtype),
        D=None if "D" in without else normal(dim),
        delta_bias=None if "b" in without else normal(dim),
    )
    z = normal(batch, dim, length).to(dtype)
    return ScanInputs(*(None if t is None else t.to(device) for t in inputs)), z.to(device)


def results(implementation, directions, z, *, reverse, softplus, dtype):
    """Output, last state and all gradients; inputs of the reference are widened to `dtype` first."""

    def leaf(tensor):
        return None if tensor is None else tensor.detach().to(dtype or tensor.dtype).clone().requires_grad_()

    directions, z = [ScanInputs(*map(leaf, one)) for one in directions], leaf(z)
    options = {"delta_softplus": softplus, "implementation": implementation}
    if len(directions) == 2:
        found = [bidirectional_scan(*directions, z, **options)]
    else:
        found = [*selective_scan(directions[0], z, reverse=reverse, return_last_state=True, **options)]
    # Different weights for every output, or an error at one token could be made up for at another.
    # They are exact in bfloat16, so that all sides start from the same gradient.
    weights = [torch.linspace(-1, 1, out.numel(), device=out.device).bfloat16().view(out.shape) for out in found]
    loss = sum((out * weight.to(out.dtype)).sum() for out, weight in zip(found, weights, strict=True))
    leaves = [t for t in (*(t for one in directions for t in one), z) if t is not None]
    return len(found), [*found, *torch.autograd.grad(loss, leaves)]


def largest_errors(
    shape, *, two=True, reverse=False, gated=True, softplus=True, bfloat16=False, device="cpu", **layout
):
    """Largest errors of outputs and of gradients, relative to the largest value of each tensor."""
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    drawn = [draw(tuple(shape), dtype=dtype, device=device, seed=seed, **layout) for seed in range(1 + two)]
    directions, z = [inputs for inputs, _ in drawn], drawn[0][1] if gated else None
    options = {"reverse": reverse, "softplus": softplus}
    outputs, ours = results("triton", directions, z, dtype=None, **options)
    _, expected = results("reference", directions, z, dtype=torch.float64, **options)
    errors = [
        (one.double() - other).abs().max().item() / max(other.abs().max().item(), 1e-30)
        for one, other in zip(ours, expected, strict=True)
    ]
    assert all(one.isfinite().all() for one in ours)
    return max(errors[:outputs]), max(errors[outputs:])


def assert_close(errors, *, bfloat16=False):
    """float32: performance.md, section A4. bfloat16: one rounding of the result is 2e-3, and dz has two."""
    out, grad = errors
    assert out < (4e-3 if bfloat16 else 1e-5), out
    assert grad < (8e-3 if bfloat16 else 1e-4), grad


def interpret(cases):
    """Run cases in a process of their own, in Triton's interpreter."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, __file__, json.dumps(cases)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


SMALL = {
    "two directions": {"shape": [1, 3, 5, 2]},
    "one direction": {"shape": [4, 3, 5, 2], "two": False},
    "reverse, no gate": {"shape": [1, 6, 35, 4], "two": False, "reverse": True, "gated": False},
    "two groups": {"shape": [1, 10, 5, 3], "groups": 2},
    "constant B and C": {"shape": [1, 6, 9, 4], "constant": "BC"},
    "constant C, no D, no bias": {"shape": [4, 3, 6, 4], "constant": "C", "without": "Db"},
    "no softplus": {"shape": [1, 3, 4, 2], "softplus": False, "two": False},
    # 2 blocks of 32 channels that one program adds up, and 3 that two programs share.
    "blocks of one program": {"shape": [1, 40, 3, 16], "two": False},
    "blocks of two programs": {"shape": [1, 70, 3, 16], "two": False},
    "bfloat16": {"shape": [1, 5, 6, 3], "bfloat16": True},
}


@needs_triton
@pytest.mark.slow
def test_small_scans_in_the_interpreter_equal_the_reference():
    for name, errors in zip(SMALL, interpret(list(SMALL.values())), strict=True):
        print(name, errors)
        assert_close(errors, bfloat16="bfloat16" in SMALL[name])


@needs_triton
@pytest.mark.parametrize("length", [1, *(pytest.param(length, marks=pytest.mark.slow) for length in (63, 64, 65))])
def test_lengths_around_chunks_and_segments_in_the_interpreter_equal_the_reference(length):
    (errors,) = interpret([{"shape": [1, 32, length, 4]}])
    assert_close(errors)


COMPILE = """
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from backbones.ops.selective_scan import triton as kernels

sequences = set("u0 u1 x0 x1 delta0 delta1 B0 B1 C0 C1 W0 W1 z out kept grad_out du ddelta dz".split())
tables = set("A D bias partial states starts last sums initial adjoints scratch dA dB dC dD dbias".split())
common = {"SOFTPLUS": True, "REVERSE": 2, "GATED": True, "STATE": 16, "STATES": 16, "BLOCK": 32, "CHUNK": 32}
flags = {
    "forward_kernel": {"DIRECTIONS": 2, "KEEP": True, "B_CONSTANT": 0, "C_CONSTANT": 0},
    "backward_kernel": {"B_CONSTANT": 0, "C_CONSTANT": 0, "GROUP": 4},
    "segment_kernel": {"ADJOINT": 1, "CONSTANT": 0},
    "combine_kernel": {"ADJOINT": 0},
}
for name, own in flags.items():
    kernel = getattr(kernels, name)
    constants = {key: value for key, value in {**common, **own}.items() if key in kernel.arg_names}
    for dtype in ("*bf16", "*fp32"):
        types = {**dict.fromkeys(sequences, dtype), **dict.fromkeys(tables, "*fp32")}
        types.update(dict.fromkeys(constants, "constexpr"))
        signature = {key: types.get(key, "i32") for key in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
        options = {"num_warps": 1, "enable_fp_fusion": True}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        print(name, dtype, len(compiled.asm["cubin"]))
"""


@needs_triton
@pytest.mark.slow
def test_the_kernels_compile_for_hopper_without_a_gpu():
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sizes = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(sizes) == 8
    assert min(sizes) > 1000


@pytest.mark.gpu
@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("dim", [7, 16, 33])
@pytest.mark.parametrize("length", LENGTHS)
def test_all_lengths_and_odd_widths_on_a_gpu_equal_the_reference(length, dim, bfloat16):
    dim = min(dim, 16) if length > 1000 else dim
    for options in ({"two": True}, {"two": False}, {"two": False, "reverse": True}):
        errors = largest_errors((2, dim, length, 16), bfloat16=bfloat16, device="cuda", **options)
        assert_close(errors, bfloat16=bfloat16)


@pytest.mark.gpu
@pytest.mark.parametrize("name", SMALL)
def test_every_layout_on_a_gpu_equals_the_reference(name):
    assert_close(largest_errors(**SMALL[name], device="cuda"), bfloat16="bfloat16" in SMALL[name])


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_twice():
    runs = []
    for _ in range(2):
        drawn = [draw((4, 96, 300, 16), device="cuda", seed=seed) for seed in range(2)]
        directions, z = [inputs for inputs, _ in drawn], drawn[0][1]
        runs.append(results("triton", directions, z, reverse=False, softplus=True, dtype=None)[1])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@pytest.mark.gpu
def test_auto_takes_it_on_a_gpu_and_it_is_the_same_as_chunked(monkeypatch):
    monkeypatch.setattr(table, "_ready_rows", [])
    monkeypatch.delenv(table.VARIABLE, raising=False)  # conftest wishes for `chunked`
    inputs, z = draw((2, 48, 200, 16), device="cuda")
    out = selective_scan(inputs, z, delta_softplus=True)
    assert torch.equal(out, selective_scan(inputs, z, delta_softplus=True, implementation="triton"))
    torch.testing.assert_close(
        out, selective_scan(inputs, z, delta_softplus=True, implementation="chunked"), rtol=1e-4, atol=1e-4
    )


COMPILED = "from tests.backbones.ops.selective_scan.mixer import assert_one_graph_agrees_with_eager as check; "


@needs_triton
@pytest.mark.slow
def test_torch_compile_takes_it_in_one_piece_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", f"{COMPILED} check('triton')"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_torch_compile_takes_it_in_one_piece_on_a_gpu(backend):
    """In a process of its own, without the shape checks, which torch.compile cannot see through."""
    words = [sys.executable, "-c", f"{COMPILED} check('triton', device='cuda', backend={backend!r})"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps([largest_errors(**case) for case in json.loads(sys.argv[1])]))
