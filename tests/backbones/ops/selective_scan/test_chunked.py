import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, scan_flops, selective_scan
from tests.backbones.ops.selective_scan.mixer import Mixer, assert_one_graph_agrees_with_eager

ROOT = Path(__file__).parents[4]
LAYOUTS = {
    "per token": {},
    "one group": {"groups": 1},
    "two groups": {"groups": 2},
    "a group per channel": {"groups": 6},
    "constant B": {"constant": "B"},
    "constant C in groups": {"constant": "C", "groups": 3},
    "constant B and C": {"constant": "BC"},
    "no D": {"without": "D"},
    "no bias": {"without": "b"},
    "neither": {"without": "Db"},
    "one channel": {"dim": 1},
    "one state": {"state": 1},
    "one token": {"length": 1},
    # From 400 state values per token and group on, the state is read by matrix products: every published size.
    "wide": {"dim": 32, "state": 16},
    "wide groups": {"dim": 64, "state": 16, "groups": 2},
}


def leaves_of(inputs, z):
    """Copies of everything that is there, with gradients, in the places of the originals."""
    copies = [None if t is None else t.detach().clone().requires_grad_() for t in (*inputs, z)]
    return ScanInputs(*copies[:-1]), copies[-1], [t for t in copies if t is not None]


def outputs_and_gradients(scan, inputs, z):
    inputs, z, leaves = leaves_of(inputs, z)
    out = scan(inputs, z)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return out, *torch.autograd.grad((out * weights).sum(), leaves)


def assert_same(ours, expected, *, rtol=1e-9, atol=1e-11):
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("gated", [True, False], ids=["gate", "no gate"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_and_gradients_equal_the_reference(problem, layout, reverse, gated):
    inputs, z = problem(**LAYOUTS[layout])
    ours, expected = (
        outputs_and_gradients(
            lambda i, z, name=name: selective_scan(
                i, z, reverse=reverse, delta_softplus=layout != "no bias", implementation=name
            ),
            inputs,
            z if gated else None,
        )
        for name in ("chunked", "reference")
    )
    assert_same(ours, expected)


@pytest.mark.parametrize("layout", ["per token", "two groups", "constant B and C", "neither", "wide"])
def test_both_directions_equal_the_reference_and_flipped_scans(problem, layout):
    forward, z = problem(**LAYOUTS[layout])
    backward, _ = problem(**LAYOUTS[layout], seed=1)

    def ours(forward, z, name="chunked"):
        return bidirectional_scan(forward, backward, z, delta_softplus=True, implementation=name)

    def flipped(forward, z):
        other = ScanInputs(*(t if t is None or t.ndim < 3 else t.flip(-1) for t in backward))
        y = selective_scan(forward, z, delta_softplus=True, implementation="reference")
        return y + selective_scan(other, z.flip(-1), delta_softplus=True, implementation="reference").flip(-1)

    found = outputs_and_gradients(ours, forward, z)
    assert_same(found, outputs_and_gradients(lambda f, z: ours(f, z, "reference"), forward, z))
    assert_same(found, outputs_and_gradients(flipped, forward, z))


def test_the_gradient_of_the_last_state_alone_reaches_the_inputs(problem):
    inputs, _, leaves = leaves_of(*problem())
    leaves = [leaves[0], leaves[1], leaves[2], leaves[3]]
    ours, expected = (
        torch.autograd.grad(
            selective_scan(inputs, return_last_state=True, implementation=name)[1].square().sum(), leaves
        )
        for name in ("chunked", "reference")
    )
    assert_same(ours, expected)


def test_gradients_are_those_of_finite_differences(problem):
    *_, leaves = leaves_of(*problem(batch=2, dim=2, length=3, state=2))

    def scan(*leaves):
        return selective_scan(
            ScanInputs(*leaves[:-1]), leaves[-1], delta_softplus=True, return_last_state=True, implementation="chunked"
        )

    assert torch.autograd.gradcheck(scan, leaves)


def test_inputs_that_need_no_gradient_get_none(problem):
    inputs, z = problem()
    inputs.A.requires_grad_()
    selective_scan(inputs, z, implementation="chunked").sum().backward()
    assert inputs.A.grad is not None
    assert inputs.u.grad is None


@pytest.mark.parametrize(("smallest", "largest"), [(5.0, 20.0), (0.5, 6.0), (1e-7, 1e-6)])
def test_steps_of_any_size_are_accurate_in_float32(problem, smallest, largest):
    """Tolerances of 1e-5 and 1e-4 of the largest value: performance.md, section A4."""
    inputs, z = problem(dim=8, length=150, state=16, without="b", dtype=torch.float32)
    steps = torch.rand(inputs.delta.shape, generator=torch.Generator().manual_seed(2))
    rates = -torch.arange(1.0, 17.0).repeat(8, 1)
    inputs = inputs._replace(delta=smallest + (largest - smallest) * steps, A=rates)
    exact = ScanInputs(*(None if t is None else t.double() for t in inputs))
    found, expected = (
        outputs_and_gradients(lambda i, z, name=name: selective_scan(i, z, implementation=name), given, gate)
        for name, given, gate in (("chunked", inputs, z), ("reference", exact, z.double()))
    )
    for index, (ours, true) in enumerate(zip(found, expected, strict=True)):
        assert ours.isfinite().all()
        error = (ours - true).abs().max() / true.abs().max()
        assert error < (1e-4 if index else 1e-5), index


def test_bfloat16_inputs_are_summed_in_float32_and_rounded_once(problem):
    inputs, z = problem(length=100, dtype=torch.float32)
    halves = ScanInputs(*(t.bfloat16() if t.ndim > 2 else t for t in inputs))
    wide = ScanInputs(*(t.float() for t in halves))

    def scan(inputs, gate):
        return selective_scan(inputs, gate, delta_softplus=True, implementation="chunked")

    def scan_rounded(inputs, gate):
        return scan(inputs, gate).bfloat16()

    found = outputs_and_gradients(scan, halves, z.bfloat16())
    expected = outputs_and_gradients(scan_rounded, wide, z.bfloat16().float())
    assert [t.dtype for t in found] == [torch.bfloat16, *(t.dtype for t in halves), torch.bfloat16]
    for ours, float32 in zip(found, expected, strict=True):
        assert torch.equal(ours, float32.to(ours.dtype))


def test_autocast_changes_nothing(problem):
    def scan(inputs, z):
        return selective_scan(inputs, z, delta_softplus=True, implementation="chunked")

    given = problem(dtype=torch.float32)
    expected = outputs_and_gradients(scan, *given)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs_and_gradients(scan, *given)
    for ours, plain in zip(found, expected, strict=True):
        assert torch.equal(ours, plain)


def test_transposed_views_give_the_numbers_of_their_copies(problem):
    inputs, z = problem(groups=2)

    def views(t):
        return t if t.ndim < 3 else t.mT.contiguous().mT

    def scan(inputs, z):
        return selective_scan(inputs, z, delta_softplus=True, implementation="chunked")

    assert views(z).stride() != z.stride()
    expected = outputs_and_gradients(scan, inputs, z)
    found = outputs_and_gradients(lambda i, z: scan(ScanInputs(*map(views, i)), views(z)), inputs, z)
    assert_same(found, expected)


def test_no_state_per_token_is_kept_for_backward(problem):
    inputs, z, _ = leaves_of(*problem(batch=2, dim=96, length=400, state=16, dtype=torch.float32))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        selective_scan(inputs, z, delta_softplus=True, implementation="chunked")
    tokens = inputs.u.numel()
    assert max(kept) <= 2 * tokens  # u, delta, z and the like, and one state per block; all states would be 16 of them
    assert sum(kept) < 8 * tokens


@pytest.mark.parametrize("constant", ["", "BC"])
def test_the_flop_counter_sees_the_closed_form(problem, constant):
    batch, dim, length, state = 3, 6, 19, 4
    inputs, z, _ = leaves_of(*problem(batch, dim, length, state, constant=constant))
    one_direction = scan_flops(batch, dim, length, state)
    assert one_direction == 9 * 3 * 6 * 19 * 4
    with FlopCounterMode(display=False) as counter:
        out = selective_scan(inputs, z, implementation="chunked")
        assert counter.get_total_flops() == one_direction
        bidirectional_scan(inputs, inputs, z, implementation="chunked")
        assert counter.get_total_flops() == 3 * one_direction
        out.sum().backward()
    assert counter.get_total_flops() == (3 + 2) * one_direction


def test_a_second_derivative_is_refused_and_the_reference_has_it(problem):
    for name in ("chunked", "reference"):
        inputs, z, leaves = leaves_of(*problem())
        out = selective_scan(inputs, z, implementation=name)
        (gradient,) = torch.autograd.grad(out.square().sum(), leaves[:1], create_graph=True)
        if name == "reference":
            gradient.sum().backward()
        else:
            with pytest.raises(RuntimeError, match="no second derivative; implementation='reference' has"):
                gradient.sum().backward()


@pytest.mark.slow
def test_a_first_scan_does_not_load_the_compiler():
    """It takes seconds, and torch.library.custom_op would load it at the first call."""
    code = """
import sys, torch
from backbones.ops.selective_scan import ScanInputs, selective_scan
u = torch.ones(1, 2, 3)
selective_scan(ScanInputs(u, u, -torch.ones(2, 4), torch.ones(1, 4, 3), torch.ones(1, 4, 3)))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.compiled
def test_torch_compile_sees_one_graph_and_agrees_with_eager():
    assert_one_graph_agrees_with_eager("chunked")


@pytest.mark.compiled
@pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < "2.7", reason="torch 2.6 exports batches up to 31 only"
)
def test_torch_export_agrees_with_eager_for_any_batch():
    mixer, batch = Mixer("chunked"), torch.export.Dim("batch", min=1, max=512)
    exported = torch.export.export(mixer, (torch.randn(3, 30, 12),), dynamic_shapes={"x": {0: batch}})
    scans = [node for node in exported.graph.nodes if node.target is torch.ops.zoo.chunked_scan.default]
    assert len(scans) == 2
    for size in (1, 3, 80):
        x = torch.randn(size, 30, 12)
        torch.testing.assert_close(exported.module()(x), mixer(x))


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["per token", "two groups", "constant B and C", "neither"])
def test_the_operator_is_registered_as_torch_wants_it(problem, layout):
    inputs, _ = problem(**LAYOUTS[layout], dtype=torch.float32)
    B, C = (w if w.ndim == 2 else w.view(2, -1, 4, 19).permute(0, 3, 1, 2) for w in (inputs.B, inputs.C))
    tensors = (inputs.u.mT, inputs.delta.mT, inputs.A, B, C, inputs.D, inputs.delta_bias)
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    for reverse in (False, True):
        torch.library.opcheck(torch.ops.zoo.chunked_scan.default, (*leaves, True, reverse, True))
