import sys
import types

import pytest
import torch

from backbones.ops.selective_scan import implementations, mamba_ssm, selective_scan
from backbones.ops.selective_scan.contract import with_groups
from backbones.ops.selective_scan.conv import conv_silu

SCAN, CONV = "mamba_ssm.ops.selective_scan_interface", "causal_conv1d"


@pytest.fixture
def gpu(monkeypatch):
    """As if a GPU were there and nothing had been probed yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(mamba_ssm, "_faults", {})


def test_without_a_gpu_the_row_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(mamba_ssm, "_faults", {})
    row = implementations()["mamba_ssm"]
    assert (row.available, row.reason) == (False, "no CUDA device")
    assert mamba_ssm.conv_unusable() == "no CUDA device"
    x, weight = torch.randn(1, 3, 2), torch.randn(2, 4)
    torch.testing.assert_close(row.conv(x, weight, None, True), conv_silu(x, weight, None, True))


@pytest.mark.parametrize("unusable", [mamba_ssm.unusable, mamba_ssm.conv_unusable])
def test_a_missing_package_is_named_with_the_command_that_installs_it(gpu, monkeypatch, unusable):
    for name in (SCAN, CONV, "mamba_ssm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    assert "is not installed (pip install --no-build-isolation 'video-backbone-zoo[mamba]')" in unusable()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'selective_scan_cuda'", name="selective_scan_cuda"), "without its CUDA"),
        (ImportError("undefined symbol: _ZN3c10"), "built for another torch or CUDA: undefined symbol"),
    ],
)
def test_a_package_that_does_not_load_is_told_from_one_that_is_missing(gpu, monkeypatch, error, message):
    def broken(name):
        raise error

    monkeypatch.setattr(mamba_ssm.importlib, "import_module", broken)
    assert message in mamba_ssm.unusable()


def test_a_kernel_that_fails_when_run_is_not_usable_and_is_asked_once(gpu, monkeypatch):
    calls = []

    def fails():
        calls.append(1)
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(mamba_ssm.importlib, "import_module", lambda name: None)
    monkeypatch.setattr(mamba_ssm, "_try_scan", fails)
    for _ in range(2):
        assert mamba_ssm.unusable() == "mamba-ssm fails on a tiny input: no kernel image is available"
    assert len(calls) == 1


def test_tensors_on_a_cpu_are_refused(problem):
    with pytest.raises(ValueError, match=r"got torch\.float32 on cpu"):
        mamba_ssm.mamba_ssm_scan([with_groups(problem(dtype=torch.float32)[0])], [False], None, True)


@pytest.mark.parametrize("constant", ["", "B"])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_call_of_their_function_is_the_scan_of_ours(problem, monkeypatch, reverse, constant):
    """Their function in the form of their documentation, by our reference; the adapter flips for it."""

    def selective_scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
    ):
        assert u.is_contiguous()
        inputs = with_groups(type(given)(u, delta, A, B, C, D, delta_bias))
        return selective_scan(
            inputs, z, delta_softplus=delta_softplus, return_last_state=return_last_state, implementation="reference"
        )

    module = types.ModuleType(SCAN)
    module.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, SCAN, module)
    given, z = problem(dtype=torch.float32, constant=constant, groups=2)
    out, last = mamba_ssm._scan(with_groups(given), reverse, z, True)
    expected = selective_scan(
        given, z, delta_softplus=True, reverse=reverse, return_last_state=True, implementation="reference"
    )
    torch.testing.assert_close((out, last), expected)


@pytest.mark.gpu
@pytest.mark.skipif(mamba_ssm.unusable() is not None, reason="mamba-ssm is not usable")
@pytest.mark.parametrize("reverse", [False, True])
def test_their_kernel_equals_the_reference(problem, reverse):
    inputs, z = problem(dtype=torch.float32, length=200, dim=16, state=16)
    inputs, z = type(inputs)(*(t.cuda() for t in inputs)), z.cuda()
    ours, theirs = (
        selective_scan(inputs, z, delta_softplus=True, reverse=reverse, implementation=name)
        for name in ("reference", "mamba_ssm")
    )
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(mamba_ssm.conv_unusable() is not None, reason="causal-conv1d is not usable")
@pytest.mark.parametrize("reverse", [False, True])
def test_their_convolution_equals_ours(reverse):
    x, weight, bias = (torch.randn(*shape, device="cuda") for shape in ((2, 50, 16), (16, 4), (16,)))
    expected = conv_silu(x, weight, bias, reverse)
    torch.testing.assert_close(mamba_ssm.conv_silu(x, weight, bias, reverse), expected, rtol=1e-4, atol=1e-4)
