import pytest
import torch

from backbones.ops.selective_scan import bidirectional_scan, selective_scan
from backbones.ops.selective_scan.table import auto_is, choose
from tests.backbones.ops.selective_scan.mixer import Mixer
from tests.backbones.ops.selective_scan.test_chunked import LAYOUTS, assert_same, leaves_of, outputs_and_gradients


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize(
    "layout", [layout for layout in LAYOUTS if layout != "one token"]
)  # decays play no part in one
def test_outputs_and_gradients_equal_the_reference(problem, layout, reverse):
    inputs, z = problem(**LAYOUTS[layout])
    ours, expected = (
        outputs_and_gradients(
            lambda i, z, name=name: selective_scan(
                i, z, reverse=reverse, delta_softplus=layout != "no bias", implementation=name
            ),
            inputs,
            z,
        )
        for name in ("associative", "reference")
    )
    assert_same(ours, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 63, 64, 65, 130, 515])
def test_both_directions_and_last_states_equal_the_reference_at_any_length(problem, length):
    forward, z = problem(length=length)
    backward, _ = problem(length=length, seed=1)
    for reverse in (False, True):
        ours, expected = (
            selective_scan(forward, delta_softplus=True, reverse=reverse, return_last_state=True, implementation=name)
            for name in ("associative", "reference")
        )
        assert_same(ours, expected)
    ours, expected = (
        bidirectional_scan(forward, backward, z, delta_softplus=True, implementation=name)
        for name in ("associative", "reference")
    )
    torch.testing.assert_close(ours, expected)


def test_half_precision_is_summed_in_float32(problem):
    inputs, z = problem(dtype=torch.bfloat16)
    out = selective_scan(inputs, z, delta_softplus=True, implementation="associative")
    exact = selective_scan(*leaves_of(inputs, z)[:2], delta_softplus=True, implementation="reference")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, exact)


def test_very_large_steps_forget_and_stay_finite(problem):
    inputs, z = problem(length=65, dtype=torch.float32)
    inputs = inputs._replace(delta=inputs.delta.abs() * 1e4)
    ours, expected = (selective_scan(inputs, z, implementation=name) for name in ("associative", "reference"))
    torch.testing.assert_close(ours, expected)


@pytest.mark.compiled
def test_an_exported_program_has_torchs_own_operators_alone_and_takes_any_batch():
    mixer, before = Mixer("auto"), choose("auto")
    with auto_is("associative"):
        exported = torch.export.export(
            mixer, (torch.randn(3, 30, 12),), dynamic_shapes={"x": {0: torch.export.Dim.AUTO}}, strict=False
        )
    assert choose("auto") == before
    called = {node.target.namespace for node in exported.graph.nodes if hasattr(node.target, "namespace")}
    assert called == {"aten"}
    for size in (1, 3, 80):
        x = torch.randn(size, 30, 12)
        torch.testing.assert_close(exported.module()(x), mixer(x))


@pytest.mark.compiled
def test_a_sequence_four_times_as_long_adds_the_operators_of_one_level():
    """Writing, loading and checking a program of 24 blocks takes minutes, and all of it grows with their number."""
    sizes = []
    for length in (120, 480):
        x = torch.randn(2, length, 12)
        with auto_is("associative"):
            program = torch.export.export(Mixer("auto"), (x,), strict=False)
        sizes.append(len(program.graph.nodes))
    assert 0 < sizes[1] - sizes[0] <= 25
