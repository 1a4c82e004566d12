import pytest
import torch
from torch import nn

from backbones.vit import vit_pico
from heads.linear import LinearHead
from zoo.batch import Batch
from zoo.model import VideoModel
from zoo.objectives.contract import Loss, Objective, Picture, Steps, backbone_of, checked_ratio
from zoo.objectives.mae import mae_for


class Mean(Objective):
    """The smallest objective: the mean pixel, through one weight."""

    def __init__(self, outside=None) -> None:
        super().__init__(outside)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, batch: Batch) -> Loss:
        total = self.weight * batch.video.mean()
        return Loss(total, {"mean": total.detach()})

    def picture(self, batch: Batch, pixels: torch.Tensor) -> Picture:
        return Picture({"shown": pixels}, "all of it")


def test_an_objective_without_a_loss_cannot_be_made():
    with pytest.raises(TypeError, match="forward"):
        type("Empty", (Objective,), {})()


def test_an_objective_is_called_on_a_batch_and_has_its_own_random_numbers():
    objective = Mean()
    batch = Batch(torch.ones(1, 3, 2, 4, 4), torch.tensor([0]), torch.tensor([0]))
    loss = objective(batch)
    assert loss.total.item() == loss.logs["mean"].item() == 1
    assert not loss.logs["mean"].requires_grad
    state = torch.get_rng_state()
    torch.rand(3, generator=objective.generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert objective.after_step(1) is None


def test_a_frozen_network_follows_the_objective_but_is_no_part_of_it():
    teacher = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    objective = Mean({"teacher": teacher}).train().double()
    assert list(objective.state_dict()) == ["weight"]
    assert [name for name, _ in objective.named_parameters()] == ["weight"]
    held = objective.outside["teacher"]
    assert held is teacher
    assert not any(part.training for part in held.modules())
    assert all(p.dtype == torch.float64 and not p.requires_grad for p in held.parameters())


def test_the_number_of_steps_is_part_of_the_state():
    steps, other = Steps(), Steps()
    steps.taken = 12
    other.load_state_dict(steps.state_dict())
    assert other.taken == 12


def test_a_whole_model_is_refused_where_a_backbone_belongs():
    model = VideoModel(vit_pico(depth=1), LinearHead(64, 3, pool="mean"))
    assert backbone_of(model.backbone, "student") is model.backbone
    with pytest.raises(TypeError, match=r"student is a VideoModel, not a backbone; give its \.backbone"):
        backbone_of(model, "student")
    with pytest.raises(TypeError, match=r"teacher is a Linear, not a backbone$"):
        backbone_of(nn.Linear(2, 2), "teacher")


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, float("nan")])
def test_a_ratio_that_drops_nothing_or_everything_is_refused_at_once(ratio):
    with pytest.raises(ValueError, match="mask_ratio must lie between 0 and 1"):
        checked_ratio(ratio)
    with pytest.raises(ValueError, match="mask_ratio"):
        mae_for(vit_pico(depth=1), 24, 16, mask_ratio=ratio)
    assert checked_ratio(0.75) == 0.75
