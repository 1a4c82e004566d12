import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.ops.selective_scan import kernel
from backbones.ops.selective_scan.compiled_conv import compiled_conv_silu
from backbones.ops.selective_scan.conv import conv_silu

# Of the largest value; bfloat16 tokens are exact in float64, and outputs are rounded to 8 bits once.
TOLERANCES = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 4e-3}


@pytest.fixture(autouse=True)
def _built(request):
    """Only the slow tier builds."""
    if problem := kernel.load(build=request.node.get_closest_marker("slow") is not None):
        pytest.skip(f"no compiled kernel: {problem}")


def problem(length, dim, taps, dtype, *, bias=True, half=True):
    """Tokens as the mixer gives them: one half of the channels of a wider tensor."""
    generator = torch.Generator().manual_seed(length + dim)
    wide = torch.randn(2, length, 2 * dim, generator=generator, dtype=torch.float64).to(dtype)
    x = wide.chunk(2, -1)[1] if half else wide[..., :dim].mT.contiguous().mT
    dtype = torch.float32 if dtype == torch.bfloat16 else dtype
    weight, offset = torch.randn(dim, taps, generator=generator), torch.randn(dim, generator=generator)
    return x, weight.to(dtype), offset.to(dtype) if bias else None


def results(function, x, weight, bias, reverse):
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, *([] if bias is None else [bias]))]
    out = function(leaves[0], leaves[1], leaves[2] if bias is not None else None, reverse)
    signs = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16().to(out.dtype)
    return [out, *torch.autograd.grad((out * signs).sum(), leaves)]


def assert_equal_to_torch(x, weight, bias, reverse, tolerance):
    exact = (x.double(), weight.double(), None if bias is None else bias.double())
    found, expected = results(compiled_conv_silu, x, weight, bias, reverse), results(conv_silu, *exact, reverse)
    for index, (ours, true) in enumerate(zip(found, expected, strict=True)):
        assert (ours - true).abs().max() <= tolerance * true.abs().max(), index


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_outputs_and_gradients_are_those_of_torch(dtype, reverse):
    assert_equal_to_torch(*problem(67, 21, 4, dtype), reverse, TOLERANCES[dtype])


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 64, 65])
@pytest.mark.parametrize(("dim", "taps"), [(16, 4), (5, 1), (33, 2), (20, 8)])
def test_any_length_width_and_number_of_taps(length, dim, taps):
    assert_equal_to_torch(*problem(length, dim, taps, torch.float64, bias=False, half=False), length % 2 == 0, 1e-13)


def test_what_the_kernel_does_not_take_goes_to_torch():
    x, weight, bias = problem(9, 4, 9, torch.float32)
    assert torch.equal(compiled_conv_silu(x, weight, bias), conv_silu(x, weight, bias))


def test_under_autocast_tokens_are_short_numbers_on_both_paths():
    x, weight, bias = problem(40, 16, 4, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = compiled_conv_silu(x, weight, bias), conv_silu(x, weight, bias)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)


def test_the_operators_keep_what_they_promise():
    x, weight, bias = problem(9, 4, 4, torch.float64)
    leaves = [t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.zoo.compiled_conv_silu.default, (*leaves, True), test_utils=tests)


def test_its_work_is_counted_like_that_of_torch():
    x, weight, bias = problem(9, 4, 4, torch.float32)
    counts = []
    for function in (compiled_conv_silu, conv_silu):
        with FlopCounterMode(display=False) as counter:
            function(x, weight, bias)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] == 2 * 2 * 9 * 4 * 4
    with FlopCounterMode(display=False) as counter:
        compiled_conv_silu(x, weight.requires_grad_(), bias).sum().backward()
    assert counter.get_total_flops() == 3 * counts[0]  # forward, and two products of its size
