import functools

import pytest
import torch
from torch import nn

from backbones.layers import Attention
from benchmarks import efficiency
from benchmarks.efficiency import count_flops, count_parameters, largest_batch, peak_memory, sweep, throughput
from benchmarks.points import Peak, Setup


class Toy(nn.Module):
    """Holds one large tensor per frame while it runs."""

    def __init__(self, frames: int, mib_per_frame: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.frames, self.mib = frames, mib_per_frame

    def forward(self, video):
        block = torch.ones(video.shape[0], self.mib * 2**18, device=video.device)
        return torch.cat([block * self.weight] * self.frames).sum()


toy = Toy
greedy = functools.partial(Toy, mib_per_frame=10)


class Scaled(nn.Module):
    def __init__(self, name, log):
        super().__init__()
        self.name, self.log = name, log

    def forward(self, video):
        self.log.append(self.name)
        return video * 2


def test_flops_of_a_linear_layer_are_two_per_multiply_add():
    layer = nn.Linear(7, 11)
    counted = count_flops(lambda: layer(torch.rand(5, 7)))
    assert counted == (2 * 5 * 7 * 11, ())


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_flops_of_attention_follow_the_closed_form(device):
    dim, tokens, batch = 16, 10, 3
    layer = Attention(dim, 4).to(device)
    video = torch.empty(batch, tokens, dim, device=device)
    counted = count_flops(lambda: layer(video))
    projections = 2 * batch * tokens * dim * 4 * dim
    products = 2 * 2 * batch * tokens * tokens * dim
    assert counted == (projections + products, ())


def test_an_operator_without_a_formula_is_flagged():
    counted = count_flops(lambda: torch.fft.rfft(torch.rand(8)))
    assert counted.uncounted == ("aten::_fft_r2c",)


@torch.library.custom_op("zoo_test_efficiency::double", mutates_args=())
def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def test_a_custom_operator_without_a_formula_is_flagged():
    assert count_flops(lambda: double(torch.rand(8))).uncounted == ("zoo_test_efficiency::double",)


def test_frozen_weights_are_no_parameters():
    layer = nn.Linear(3, 4)
    layer.bias.requires_grad_(False)
    assert count_parameters(layer) == 12


def test_systems_take_turns(in_threads):
    log: list[str] = []
    builds = {name: lambda frames, name=name: Scaled(name, log) for name in "ab"}
    rates = throughput(builds, 2, img_size=4, batch_size=2, rounds=3)
    assert "".join(log) == "aa" + "bb" + "ab" * 3  # a warm-up and a peak each, then rounds
    assert [len(rate) for rate in rates.values()] == [3, 3]
    assert all(value > 0 for rate in rates.values() for value in rate)


@pytest.mark.slow  # a process per point
def test_peak_memory_sees_what_a_call_holds_and_only_that():
    few, many = (peak_memory(toy, frames, Setup(img_size=4, batch_size=2)) for frames in (2, 8))
    # 8 MiB for 2 clips: the block, its product with the weight, and the concatenation of one product per frame.
    assert few.mib == pytest.approx(8 * (2 + 2), abs=2)
    assert many.mib == pytest.approx(8 * (2 + 8), abs=2)
    assert few.note == many.note == ""


@pytest.mark.slow  # a process per point
def test_running_out_of_memory_is_recorded_and_the_sweep_goes_on():
    points = sweep({"toy": toy, "greedy": greedy}, [1, 16], img_size=4, batch_size=4, rounds=1, limit_mib=600, jobs=2)
    assert [point.note for point in points["toy"]] == ["", ""]
    assert points["greedy"][0].note == ""
    assert points["greedy"][1].note == "out of memory (inference); out of memory (training)"
    assert points["greedy"][1].inference_mib is None
    assert points["greedy"][1].clips_per_s > 0


def test_a_throughput_without_memory_is_recorded(monkeypatch, in_threads):
    class Hungry(nn.Module):
        def forward(self, video):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(efficiency, "peak_memory", lambda *_, **__: Peak(1.0, ""))
    monkeypatch.setattr(efficiency, "one_clip", lambda *_: lambda: None)
    (point,) = sweep({"x": lambda _: Hungry()}, [1], img_size=4, batch_size=1, rounds=1)["x"]
    assert (point.clips_per_s, point.note) == (None, "out of memory (throughput)")


def test_other_errors_are_not_taken_for_lack_of_memory(in_threads):
    class Wrong(nn.Module):
        def forward(self, video):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        throughput({"x": lambda _: Wrong()}, 1, img_size=4, batch_size=1, rounds=1)


def test_the_largest_batch_is_the_last_power_of_two_within_the_budget(monkeypatch):
    tried = []

    def peak(build, frames, setup):
        tried.append(setup.batch_size)
        return Peak(10.0 * setup.batch_size, "", 5.0) if setup.batch_size < 64 else Peak(None, "out of memory")

    monkeypatch.setattr(efficiency, "peak_memory", peak)
    setup = Setup(img_size=4, batch_size=1)
    assert largest_batch(toy, 1, setup, 85.0) == 8  # 80 and 5 for what is held
    assert tried == [2, 4, 8, 16]
    assert largest_batch(toy, 1, setup, 84.0) == 4
    assert largest_batch(toy, 1, setup, 1.0) == 1
    assert largest_batch(toy, 1, setup, 1e6) == 32
