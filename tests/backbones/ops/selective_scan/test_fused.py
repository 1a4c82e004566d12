"""What of the Triton scan can be tested without running it: its plan, its registration and what it refuses."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from backbones.ops.selective_scan import fused, implementations, scan_flops
from backbones.ops.selective_scan.contract import ScanInputs, with_groups
from backbones.ops.selective_scan.fused import CHUNK, ENOUGH_PER_SM, MAX_SEGMENTS, TILE, make_plan, triton_scan

H100 = 132  # multiprocessors


def plan(batch, length, dim, *, groups=1, state=16, itemsize=2, multiprocessors=H100):
    return make_plan(
        (batch, length, dim), groups, state, itemsize=itemsize, directions=2, multiprocessors=multiprocessors
    )


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("length", [1, 31, 32, 33, 1569, 12545])
@pytest.mark.parametrize(("dim", "groups"), [(1, 1), (7, 1), (6, 6), (384, 1), (384, 4), (1152, 1)])
def test_programs_cover_all_channels_and_tokens(batch, length, dim, groups):
    found = plan(batch, length, dim, groups=groups)
    assert found.block * found.group_blocks >= dim // groups > found.block * (found.group_blocks - 1)
    assert 1 <= found.slots <= found.group_blocks
    for segments, chunks in zip(found.segments, found.segment_chunks, strict=True):
        assert segments * chunks * CHUNK >= length > (segments - 1) * chunks * CHUNK
        assert segments <= MAX_SEGMENTS


def test_a_batch_that_fills_the_gpu_is_not_cut_and_a_single_clip_is():
    assert plan(64, 3137, 1152).segments[0] == 1
    assert 64 * plan(64, 3137, 1152).group_blocks >= ENOUGH_PER_SM * H100
    assert plan(1, 1569, 384).segments[0] > 16


@pytest.mark.parametrize("state", [1, 4, 16, 17, 64])
def test_a_tile_has_at_most_as_many_states_as_a_warp_can_hold(state):
    block = plan(1, 10, 1024, state=state).block
    assert block * state <= TILE
    assert block * state > TILE / 2


@pytest.mark.parametrize(("dim", "itemsize"), [(384, 2), (1152, 2), (1152, 4)])
def test_copies_of_the_gradients_of_B_and_C_are_no_larger_than_u(dim, itemsize):
    slots = plan(8, 1569, dim, itemsize=itemsize).slots
    assert slots * 2 * 16 * 4 <= dim * itemsize


def test_it_says_why_it_cannot_run(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for installed, interpreted, message in ((False, True, "not installed"), (True, False, "no CUDA device")):
        monkeypatch.setattr(fused, "INSTALLED", installed)
        monkeypatch.setattr(fused, "INTERPRETED", interpreted)
        assert message in implementations()["triton"].reason
        assert not implementations()["triton"].available
    monkeypatch.setattr(fused, "INTERPRETED", True)
    assert implementations()["triton"].available


def test_double_precision_the_cpu_and_unlike_directions_are_refused(problem, monkeypatch):
    inputs, z = problem(dtype=torch.float32)
    with pytest.raises(ValueError, match=r"got torch.float32 on cpu; 'chunked' takes all"):
        triton_scan([inputs], [False], z, True)
    monkeypatch.setattr(fused, "INTERPRETED", True)
    with pytest.raises(ValueError, match=r"got torch\.float64"):
        triton_scan([with_groups(problem()[0])], [False], None, True)
    other = problem(dtype=torch.float32, constant="C")[0]
    with pytest.raises(ValueError, match=r"same layout, got groups of \(B, C\) \[\(1, 1\), \(1, 0\)\]"):
        triton_scan([with_groups(inputs), with_groups(other)], [False, True], None, True)


@pytest.mark.parametrize("constant", ["", "BC"])
@pytest.mark.parametrize("gated", [True, False])
def test_the_operator_has_shapes_and_flops_for_outputs_and_gradients(problem, monkeypatch, constant, gated):
    """On the meta device, where nothing is computed: what torch.compile, torch.export and FLOP counters see."""
    monkeypatch.setattr(fused, "INTERPRETED", True)
    batch, dim, length, state = 3, 6, 40, 4
    inputs, z = problem(batch, dim, length, state, dtype=torch.bfloat16, constant=constant)
    leaves = [tensor.to("meta").requires_grad_() for tensor in (*inputs, z)]
    directions = [with_groups(ScanInputs(*leaves[:-1]))] * 2
    with FlopCounterMode(display=False) as counter:
        scanned = triton_scan(directions, [False, True], leaves[-1] if gated else None, True)
        assert counter.get_total_flops() == 2 * scan_flops(batch, dim, length, state)
        scanned.out.sum().backward()
    assert counter.get_total_flops() == 6 * scan_flops(batch, dim, length, state)
    assert (scanned.out.shape, scanned.out.dtype) == ((batch, dim, length), torch.bfloat16)
    assert (scanned.last_states.shape, scanned.last_states.dtype) == ((2, batch, dim, state), torch.float32)
    for leaf in leaves[: None if gated else -1]:
        assert (leaf.grad.shape, leaf.grad.dtype) == (leaf.shape, leaf.dtype)
