import pytest
import torch

from backbones.ops.selective_scan import blocks, selective_scan
from backbones.ops.selective_scan.blocks import BUFFER_BYTES, Cut, choose_cut, exponent_floor


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of at most 8 tokens of 2 samples for the default problem of 6 channels and 4 states in float64."""
    monkeypatch.setitem(BUFFER_BYTES, "cpu", 2 * 8 * 6 * 4 * 8)
    monkeypatch.setattr(blocks, "FULL_STEPS", 8)
    assert choose_cut(5, 16, 6 * 4, 8, "cpu") == Cut(2, 8)


@pytest.mark.parametrize("constant", ["", "BC"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25])
def test_borders_of_blocks_leave_no_trace(problem, small_blocks, length, reverse, constant):
    inputs, z = problem(batch=5, length=length, constant=constant)
    results = {}
    for name in ("chunked", "reference"):
        leaves = [tensor.clone().requires_grad_() for tensor in (*inputs, z)]
        out, last_state = selective_scan(
            type(inputs)(*leaves[:-1]),
            leaves[-1],
            delta_softplus=True,
            return_last_state=True,
            reverse=reverse,
            implementation=name,
        )
        gradients = torch.autograd.grad(out.square().sum() + last_state.square().sum(), leaves)
        results[name] = (out, last_state, *gradients)
    for ours, expected in zip(results["chunked"], results["reference"], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("batch", [1, 2, 3, 64])
@pytest.mark.parametrize("length", [1, 7, 72, 1569])
@pytest.mark.parametrize("dim", [8, 64, 128, 384, 1152])
def test_blocks_fit_the_cache_or_are_the_smallest_allowed(batch, length, dim):
    cut = choose_cut(batch, length, dim * 16, 4, "cpu")
    assert 1 <= cut.samples <= batch
    assert 1 <= cut.steps <= min(length, blocks.MAX_STEPS)
    fits = cut.samples * cut.steps * dim * 16 * 4 <= BUFFER_BYTES["cpu"]
    assert fits or (cut.samples == 1 and cut.steps <= blocks.MIN_STEPS)


def test_parts_are_balanced():
    assert choose_cut(1, 72, 64 * 16, 4, "cpu").steps == 36  # and not 64, which would leave a rest of 8


def test_samples_share_the_steps_of_narrow_models():
    assert choose_cut(64, 72, 128 * 16, 4, "cpu") == Cut(4, 12)
    assert choose_cut(1, 1569, 384 * 16, 4, "cpu").samples == 1


def test_the_floor_is_used_only_where_an_exponent_could_lie_below_it():
    delta, A = torch.full((1, 3, 2), 3.0), torch.tensor([[-1.0, -16.0]] * 2)
    assert exponent_floor(delta, A, None, False) is None
    floor = exponent_floor(delta, A, torch.tensor([0.0, 1.0]), False)
    assert floor == pytest.approx(-61.1, abs=0.1)
    assert exponent_floor(delta, A, torch.tensor([0.0, 1.0]), True) == floor
    assert exponent_floor(-50 * delta, A, None, True) is None
    assert exponent_floor(10 * delta.double(), A.double(), None, False) is None  # float64 reaches much further


def test_no_decay_is_a_denormal_number(problem, monkeypatch):
    inputs, _ = problem(batch=1, dim=16, length=40, dtype=torch.float32)
    inputs = inputs._replace(delta=5 + 15 * torch.rand(1, 16, 40), A=-16 * torch.rand(16, 4))
    smallest = []

    def spy(scan, chunk, work):
        last = recur(scan, chunk, work)
        smallest.append(work.decay.min().item())
        return last

    recur = blocks._recur
    monkeypatch.setattr(blocks, "_recur", spy)
    assert torch.exp(20 * inputs.A).min() < torch.finfo(torch.float32).tiny
    selective_scan(inputs, implementation="chunked")
    assert min(smallest) > torch.finfo(torch.float32).tiny
