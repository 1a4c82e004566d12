import copy

import pytest
import torch
from torch import nn

from zoo.ema import LinearMomentum, Target


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))


def test_a_target_starts_equal_and_moves_by_the_rule():
    student = network()
    target = Target(student)
    before = copy.deepcopy(student.state_dict())
    assert all(torch.equal(it, before[name]) for name, it in target.network.state_dict().items())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter))
    target.follow(student, 0.9)
    after = dict(student.named_parameters())
    for name, parameter in target.network.named_parameters():
        torch.testing.assert_close(parameter, 0.9 * before[name] + 0.1 * after[name])


def test_buffers_are_copied_as_they_are():
    student = network()
    target = Target(student)
    student(torch.randn(8, 3))
    assert not torch.equal(target.network[1].running_mean, student[1].running_mean)
    target.follow(student, 0.9)
    assert torch.equal(target.network[1].running_mean, student[1].running_mean)
    assert target.network[1].num_batches_tracked == 1


def test_a_target_stays_in_evaluation_mode_and_without_gradients():
    holder = nn.Module()
    holder.target = Target(network())
    holder.train()
    assert not any(part.training for part in holder.target.modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())
    assert set(holder.state_dict()) == {f"target.network.{name}" for name in network().state_dict()}


def test_momentum_grows_linearly_from_the_first_step():
    momentum = LinearMomentum(start=0.5, final=1.0, steps=4)
    assert [momentum(step) for step in (1, 2, 4, 5, 9)] == [0.5, 0.625, 0.875, 1.0, 1.0]


def test_a_momentum_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match=r"0\.9 to 1\.1"):
        LinearMomentum(start=0.9, final=1.1, steps=4)


def test_a_schedule_without_steps_is_refused():
    with pytest.raises(ValueError, match="0 steps"):
        LinearMomentum(start=0.9, final=1.0, steps=0)
