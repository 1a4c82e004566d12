import os
import signal
import threading

import pytest
import torch
from torch import nn

from benchmarks.points import Peak, Point, Setup, is_out_of_memory


class Seen(nn.Module):
    """Notes what its forward pass sees."""

    def __init__(self, log):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 3))
        self.log = log

    def forward(self, video):
        out = video.mean((2, 3, 4)) @ self.weight
        kernels = torch.backends.cuda.math_sdp_enabled(), torch.backends.cuda.flash_sdp_enabled()
        self.log.append((tuple(video.shape), out.dtype, torch.is_grad_enabled(), self.training, kernels))
        return out


def seen(**words):
    log = []
    with Point(lambda _: Seen(log), 2, Setup(img_size=4, batch_size=5, **words)) as point:
        return point.peak(), point.seconds(), log


def test_a_point_tells_memory_then_time_of_the_same_clips(in_threads):
    peak, seconds, log = seen()
    assert peak.note == ""
    assert peak.mib >= 0
    assert peak.held_mib == pytest.approx(4 * (9 + 5 * 3 * 2 * 4 * 4) / 2**20)
    assert seconds > 0
    assert [shape[0] for shape, *_ in log] == [1, 5, 5]  # a warm-up of one clip
    assert {tuple(rest) for _, *rest in log} == {(torch.float32, False, False, (True, True))}


def test_training_has_gradients_in_the_dtype_and_with_the_kernel_asked_for(in_threads):
    _, _, log = seen(mode="training", dtype="bf16", attention="math")
    assert {tuple(rest) for _, *rest in log} == {(torch.bfloat16, True, True, (True, False))}


class Broken(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, video):
        self.calls += 1
        if self.calls > 2:
            raise self.error
        return video


@pytest.mark.parametrize(
    ("error", "note"),
    [(RuntimeError("can't allocate memory: 7 bytes"), "out of memory"), (ValueError("shapes\ndiffer"), "shapes")],
    ids=["memory", "other"],
)
def test_a_point_that_fails_says_why_and_has_no_time(in_threads, error, note):
    with Point(lambda _: Broken(error), 1, Setup(img_size=2, batch_size=1)) as point:
        assert point.peak().mib is not None
        assert point.seconds() is None
        assert point.seconds() is None
        assert point.note == note


class Waiting(nn.Module):
    def __init__(self, until):
        super().__init__()
        self.until = until

    def forward(self, video):
        self.until.wait(10)


def test_a_point_without_an_answer_is_given_up(in_threads):
    until = threading.Event()
    with Point(lambda _: Waiting(until), 1, Setup(img_size=2, batch_size=1, timeout_s=0.0)) as point:
        assert point.peak() == Peak(None, "no answer in 0 s")
        assert point.seconds() is None
    until.set()


class Suicide(nn.Module):
    def forward(self, video):
        os.kill(os.getpid(), signal.SIGKILL)


def suicide(frames):
    return Suicide()


@pytest.mark.slow  # a process
def test_a_killed_process_ran_out_of_memory():
    with Point(suicide, 1, Setup(img_size=2, batch_size=1)) as point:
        assert point.peak() == Peak(None, "out of memory (killed)")
        assert point.seconds() is None


def test_every_way_of_lacking_memory_is_known():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory"))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
