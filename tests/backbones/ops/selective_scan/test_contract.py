import pytest
import torch

from backbones.ops.selective_scan import bidirectional_scan, selective_scan
from backbones.ops.selective_scan.contract import accumulation_dtype, with_groups


def test_weights_per_token_get_a_group_axis_and_constant_ones_stay(problem):
    inputs, _ = problem(constant="C")
    grouped = with_groups(inputs)
    assert torch.equal(grouped.B, inputs.B[:, None])
    assert grouped.C is inputs.C


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16, torch.float32])
def test_sums_are_float32_unless_inputs_are_float64(half):
    assert accumulation_dtype(torch.zeros(1, dtype=half)) == torch.float32
    assert accumulation_dtype(torch.zeros(1, dtype=torch.float64)) == torch.float64


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"delta": torch.zeros(2, 6, 18)}, r"delta is \(2, 6, 18\) and must be \(2, 6, 19\)"),
        ({"A": torch.zeros(5, 4)}, r"A is \(5, 4\); with 6 channels it must be \[6, state\]"),
        ({"B": torch.zeros(2, 4, 18)}, r"B is \(2, 1, 4, 18\)"),
        ({"B": torch.zeros(2, 4, 4, 19)}, "groups dividing 6"),
        ({"C": torch.zeros(6, 3)}, r"constant C is \(6, 3\) and must be \(6, 4\)"),
        ({"D": torch.zeros(7)}, r"D is \(7,\) and must be \(6,\)"),
        ({"delta_bias": torch.zeros(1)}, r"delta_bias is \(1,\) and must be \(6,\)"),
        ({"B": torch.zeros(2, 2, 4, 19), "C": torch.zeros(2, 3, 4, 19)}, "B has 2 groups and C has 3"),
        ({"u": torch.zeros(2, 6, 0), "delta": torch.zeros(2, 6, 0)}, "nothing to scan"),
    ],
)
def test_shapes_that_do_not_fit_are_named(problem, replaced, message):
    inputs, _ = problem()
    with pytest.raises(ValueError, match=message):
        with_groups(inputs._replace(**replaced))


def test_a_gate_of_another_shape_is_refused(problem):
    inputs, z = problem()
    for scan in (lambda: selective_scan(inputs, z[:1]), lambda: bidirectional_scan(inputs, inputs, z[:1])):
        with pytest.raises(ValueError, match=r"z is \(1, 6, 19\) and must be \(2, 6, 19\)"):
            scan()


def test_directions_over_different_sequences_are_refused(problem):
    with pytest.raises(ValueError, match=r"\(2, 6, 19\) and \(2, 6, 18\)"):
        bidirectional_scan(problem()[0], problem(length=18)[0])
