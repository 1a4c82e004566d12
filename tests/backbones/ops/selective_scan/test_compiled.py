import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, kernel, scan_flops, selective_scan
from tests.backbones.ops.selective_scan.mixer import Mixer, assert_one_graph_agrees_with_eager

LAYOUTS = {
    "per token": {},
    "two groups": {"groups": 2},
    "a group per channel": {"groups": 6},
    "constant B": {"constant": "B"},
    "neither": {"without": "Db"},
    "published state": {"dim": 21, "state": 16},
}
# Of the largest value: performance.md, section A4. bfloat16 inputs are exact in float32, and outputs and gradients are
# rounded to 8 bits once.
TOLERANCES = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-4), torch.bfloat16: (4e-3, 4e-3)}


@pytest.fixture(autouse=True)
def _built(request):
    """Only the slow tier builds (half a minute, once per machine and version of the sources, then from the cache)."""
    if problem := kernel.load(build=request.node.get_closest_marker("slow") is not None):
        pytest.skip(f"no compiled kernel: {problem}")


def outputs_and_gradients(name, inputs, z, *, reverse=False):
    """Outputs, last states and gradients of everything given, of one direction."""
    copies = [None if t is None else t.detach().clone().requires_grad_() for t in (*inputs, z)]
    leaves = [t for t in copies if t is not None]
    out, last = selective_scan(
        ScanInputs(*copies[:-1]),
        copies[-1],
        delta_softplus=True,
        return_last_state=True,
        reverse=reverse,
        implementation=name,
    )
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape).bfloat16().to(out.dtype)  # exact in every dtype
    loss = (out * weights).sum().to(last.dtype) + last.sum()
    return [out, last, *torch.autograd.grad(loss, leaves)]


def assert_equal_to_the_reference(problem, options, *, reverse=False, gated=True, dtype=torch.float64):
    """Against the loop in float64 on the same numbers."""
    inputs, z = problem(**options, dtype=torch.float64)
    narrow = ScanInputs(*(t if t is None or t.ndim < 3 else t.to(dtype) for t in inputs))
    if dtype != torch.bfloat16:
        narrow = ScanInputs(*(None if t is None else t.to(dtype) for t in narrow))
    else:  # what does not vary along the sequence stays in float32, as in a model under autocast
        narrow = ScanInputs(*(t.float() if t is not None and t.dtype == torch.float64 else t for t in narrow))
    gate = z.to(dtype) if gated else None
    exact = ScanInputs(*(None if t is None else t.double() for t in narrow))
    found = outputs_and_gradients("compiled", narrow, gate, reverse=reverse)
    expected = outputs_and_gradients("reference", exact, None if gate is None else gate.double(), reverse=reverse)
    output, gradient = TOLERANCES[dtype]
    for index, (ours, true) in enumerate(zip(found, expected, strict=True)):
        error = (ours - true).abs().max()
        assert error <= (gradient if index > 1 else output) * true.abs().max() + 1e-30, index


@pytest.mark.parametrize(
    ("layout", "length", "reverse", "gated"),
    [
        ("per token", 65, False, True),
        ("two groups", 33, True, True),
        ("neither", 5, True, False),
        ("published state", 34, False, True),
        ("constant B", 3, False, True),
    ],
)
def test_outputs_states_and_gradients_equal_the_reference(problem, layout, length, reverse, gated):
    assert_equal_to_the_reference(problem, {**LAYOUTS[layout], "length": length}, reverse=reverse, gated=gated)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_lower_precisions_are_summed_in_float32(problem, reverse, dtype):
    assert_equal_to_the_reference(problem, {"dim": 17, "state": 16, "length": 40}, reverse=reverse, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("gated", [True, False], ids=["gate", "no gate"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", [1, 63, 64, 65, 197])
def test_every_layout_length_and_precision_equals_the_reference(problem, length, layout, reverse, gated, dtype):
    options = {**LAYOUTS[layout], "length": length}
    assert_equal_to_the_reference(problem, options, reverse=reverse, gated=gated, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 7, 8, 15, 16, 17, 63, 64, 65, 130])
@pytest.mark.parametrize("state", [1, 5, 16, 19])
def test_odd_widths_and_states_equal_the_reference(problem, dim, state):
    assert_equal_to_the_reference(problem, {"dim": dim, "state": state, "length": 35}, dtype=torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_length_of_a_video_equals_the_reference(problem, reverse, dtype):
    options = {"batch": 1, "dim": 16, "state": 16, "length": 1569}
    assert_equal_to_the_reference(problem, options, reverse=reverse, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_both_directions_in_one_call_equal_the_reference(problem, dtype):
    (ahead, z), (back, _) = problem(dim=21, length=40, dtype=dtype), problem(dim=21, length=40, seed=1, dtype=dtype)

    def run(name, dtype):
        copies = [t.detach().to(dtype).requires_grad_() for t in (*ahead, *back, z)]
        out = bidirectional_scan(
            ScanInputs(*copies[:7]), ScanInputs(*copies[7:14]), copies[-1], delta_softplus=True, implementation=name
        )
        return [out, *torch.autograd.grad((out * torch.linspace(-1, 1, 40, dtype=dtype)).sum(), copies)]

    for ours, true in zip(run("compiled", dtype), run("reference", torch.float64), strict=True):
        assert ours.dtype == dtype
        assert (ours - true).abs().max() <= TOLERANCES[dtype][1] * 2 * true.abs().max()


@pytest.mark.parametrize(("smallest", "largest"), [(5.0, 20.0), (1e-7, 1e-6), (200.0, 1e5)])
def test_steps_of_any_size_are_accurate_in_float32(problem, smallest, largest):
    """Decays from next to 1 to far below the smallest number; tolerances of performance.md, section A4."""
    inputs, z = problem(dim=8, length=50, state=16, without="b", dtype=torch.float32)
    steps = torch.rand(inputs.delta.shape, generator=torch.Generator().manual_seed(2))
    rates = -torch.arange(1.0, 17.0).repeat(8, 1)
    inputs = inputs._replace(delta=smallest + (largest - smallest) * steps, A=rates)
    ours = selective_scan(inputs, z, implementation="compiled")
    exact = ScanInputs(*(None if t is None else t.double() for t in inputs))
    true = selective_scan(exact, z.double(), implementation="reference")
    assert (ours - true).abs().max() < 1e-5 * true.abs().max()


def test_the_softplus_is_exact_where_it_is_tiny_and_where_it_is_large(problem):
    inputs, _ = problem(1, 1, 64, 1, without="Db", dtype=torch.float64)
    raw = torch.linspace(-60, 60, 64, dtype=torch.float64).view(1, 1, 64)
    ones = torch.ones_like(inputs.B)
    # Without memory and with B = C = 1 the output is softplus(delta) u.
    inputs = inputs._replace(u=torch.ones_like(raw), delta=raw, A=torch.full((1, 1), -1e30), B=ones, C=ones)
    # An exponential is off by half a unit in the last place times its exponent.
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 5e-6)):
        narrow = ScanInputs(*(None if t is None else t.to(dtype) for t in inputs))
        found = selective_scan(narrow, delta_softplus=True, implementation="compiled")
        true = torch.nn.functional.softplus(narrow.delta.double(), threshold=60)
        torch.testing.assert_close(found.double(), true, rtol=tolerance, atol=0)


@pytest.mark.slow
def test_gradients_are_those_of_finite_differences(problem):
    inputs, z = problem(batch=2, dim=2, length=3, state=2)
    leaves = [t.requires_grad_() for t in (*inputs, z)]

    def scan(*leaves):
        return selective_scan(
            ScanInputs(*leaves[:-1]), leaves[-1], delta_softplus=True, return_last_state=True, implementation="compiled"
        )

    assert torch.autograd.gradcheck(scan, leaves)


def test_transposed_views_and_slices_give_the_numbers_of_their_copies(problem):
    inputs, z = problem(groups=2, dtype=torch.float32)

    def views(t):
        return t if t.ndim < 3 else torch.cat([t.mT, t.mT], -1)[..., : t.shape[-2]].mT

    assert views(z).stride() != z.stride()
    expected = selective_scan(inputs, z, implementation="compiled")
    found = selective_scan(ScanInputs(*map(views, inputs)), views(z), implementation="compiled")
    assert torch.equal(found, expected)


def test_the_number_of_threads_changes_no_bit(problem):
    inputs, z = problem(3, 70, 40, 16, dtype=torch.float32)
    alone = outputs_and_gradients("compiled", inputs, z)
    torch.set_num_threads(2)
    for one, two in zip(alone, outputs_and_gradients("compiled", inputs, z), strict=True):
        assert torch.equal(one, two)


def test_no_state_per_token_is_kept_for_backward(problem):
    inputs, z = problem(batch=2, dim=96, length=400, state=16, dtype=torch.float32)
    inputs.u.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        selective_scan(inputs, z, delta_softplus=True, implementation="compiled")
    tokens = inputs.u.numel()
    assert max(kept) <= tokens
    assert sum(kept) < 5 * tokens


def test_the_flop_counter_sees_the_closed_form(problem):
    batch, dim, length, state = 3, 6, 19, 4
    inputs, z = problem(batch, dim, length, state)
    inputs.u.requires_grad_()
    one_direction = scan_flops(batch, dim, length, state)
    with FlopCounterMode(display=False) as counter:
        out = selective_scan(inputs, z, implementation="compiled")
        assert counter.get_total_flops() == one_direction
        out = out + bidirectional_scan(inputs, inputs, z, implementation="compiled")
        assert counter.get_total_flops() == 3 * one_direction
        out.sum().backward()
    assert counter.get_total_flops() == 9 * one_direction


def test_a_second_derivative_is_refused(problem):
    inputs, z = problem()
    out = selective_scan(inputs._replace(u=inputs.u.requires_grad_()), z, implementation="compiled")
    (gradient,) = torch.autograd.grad(out.square().sum(), inputs.u, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; implementation='reference' has"):
        gradient.sum().backward()


def test_tensors_elsewhere_are_refused(problem):
    inputs, _ = problem()
    with pytest.raises(ValueError, match="runs on cpu, not on 'meta'"):
        selective_scan(ScanInputs(*(t.to("meta") for t in inputs)), implementation="compiled")


@pytest.mark.compiled
def test_torch_compile_sees_one_graph_and_agrees_with_eager():
    assert_one_graph_agrees_with_eager("compiled")


@pytest.mark.slow
@pytest.mark.compiled
def test_torch_export_agrees_with_eager():
    mixer = Mixer("compiled")
    exported = torch.export.export(mixer, (torch.randn(3, 30, 12),))
    scans = [node for node in exported.graph.nodes if node.target is torch.ops.zoo.compiled_scan.default]
    assert len(scans) == 1
    x = torch.randn(3, 30, 12)
    torch.testing.assert_close(exported.module()(x), mixer(x))


@pytest.mark.slow
@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own
@pytest.mark.parametrize("layout", ["per token", "two groups"])
def test_the_operator_is_registered_as_torch_wants_it(problem, layout):
    inputs, z = problem(**LAYOUTS[layout], dtype=torch.float32)
    B, C = (w.view(2, -1, 4, 19).permute(0, 3, 1, 2) for w in (inputs.B, inputs.C))
    tensors = [inputs.u.mT, inputs.delta.mT, inputs.A, B, C, inputs.D, inputs.delta_bias]
    leaves = [t.clone().requires_grad_() for t in tensors]
    for reverse in (False, True):
        torch.library.opcheck(torch.ops.zoo.compiled_scan.default, (leaves, z.mT, True, [reverse], True))
