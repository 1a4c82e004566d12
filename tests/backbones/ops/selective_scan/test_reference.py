"""The authors' selective scan: outputs, last states and gradients, by every implementation; and a loop by hand."""

import math

import pytest
import torch

from backbones.ops.selective_scan import ScanInputs, bidirectional_scan, selective_scan
from tests.support import assert_parity, load, part

FIXTURES = ["full_l37", "3dBC_l70", "constBC_l33", "plain_l20", "groups2_l131", "long_l300"]


@pytest.mark.parametrize("implementation", ["reference", "chunked", "associative"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", FIXTURES)
def test_equal_to_the_authors_scan(name, precision, implementation):
    side, tensors = load(f"videomamba/scan_{name}")
    suffix = "64" if precision == "float64" else ""
    leaves = {key: tensor.to(getattr(torch, precision)) for key, tensor in part(tensors, "input/").items()}
    probe = leaves.pop("probe")
    for tensor in leaves.values():
        tensor.requires_grad_()
    gate = leaves.get("z")
    inputs = ScanInputs(**{key: tensor for key, tensor in leaves.items() if key != "z"})
    out, last_state = selective_scan(inputs, gate, implementation=implementation, **side["call"])
    (out * probe).sum().backward()

    label, tolerance = f"videomamba/scan_{name} {implementation} {precision}", side["tolerance"][precision]
    expected = part(tensors, f"output{suffix}/")
    assert_parity(f"{label} out", out, expected["out"], **tolerance)
    assert_parity(f"{label} last_state", last_state, expected["last_state"], **tolerance)
    gradients = part(tensors, f"grad{suffix}/")
    assert set(gradients) == set(leaves)
    for key, tensor in leaves.items():
        assert_parity(f"{label} grad {key}", tensor.grad, gradients[key], **tolerance)


@pytest.mark.parametrize("implementation", ["reference", "chunked", "associative"])
def test_two_tokens_by_hand(implementation):
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    inputs = ScanInputs(
        u=torch.tensor([[[2.0, 3.0]]], dtype=torch.float64),
        delta=torch.tensor([[[0.5, 0.25]]], dtype=torch.float64),
        A=-one[0],
        B=torch.tensor([[[1.0, 4.0]]], dtype=torch.float64),
        C=torch.tensor([[[1.0, 2.0]]], dtype=torch.float64),
        D=10 * one[0, 0],
    )
    forward = selective_scan(inputs, implementation=implementation)
    first, second = 0.5 * 2 * 1, 0.25 * 3 * 4
    expected = [first + 20, 2 * (math.exp(-0.25) * first + second) + 30]
    torch.testing.assert_close(forward[0, 0], torch.tensor(expected, dtype=torch.float64))
    backward = selective_scan(inputs, reverse=True, implementation=implementation)
    expected = [math.exp(-0.5) * second + first + 20, 2 * second + 30]
    torch.testing.assert_close(backward[0, 0], torch.tensor(expected, dtype=torch.float64))
    gated = bidirectional_scan(inputs, inputs, 3 * one.expand(1, 1, 2), implementation=implementation)
    torch.testing.assert_close(gated, (forward + backward) * 3 / (1 + math.exp(-3)))


@pytest.mark.parametrize("implementation", ["reference", "chunked", "associative"])
def test_the_output_at_a_token_depends_on_the_tokens_scanned_before_it_only(problem, implementation):
    inputs, _ = problem()
    changed = inputs._replace(u=inputs.u.index_fill(2, torch.tensor([7]), 5.0))
    for reverse, same in ((False, slice(None, 7)), (True, slice(8, None))):
        before, after = (
            selective_scan(i, reverse=reverse, delta_softplus=True, implementation=implementation)
            for i in (inputs, changed)
        )
        differs = (before != after).flatten(0, 1).any(0)
        assert not differs[same].any()
        assert differs[7]
        assert differs.sum() == 19 - len(range(19)[same])
