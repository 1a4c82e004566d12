"""Every backbone under every objective: what the table says is what happens."""

import functools

import pytest
import torch

from tests.zoo.objectives.crossing import (
    BACKBONES,
    FRAMES,
    MAKERS,
    SIDE,
    batch,
    objective,
    still_teacher,
    student,
)
from zoo.objectives.matrix import OBJECTIVES, obstacle
from zoo.objectives.umt import umt_for
from zoo.objectives.vjepa import PredictorForm, vjepa_for

STEPS = 12
CELLS = [(name, backbone) for name in OBJECTIVES for backbone in BACKBONES]
TRAINS = [
    cell for cell in CELLS if cell[0] == "self_distillation" or cell[1] not in ("hf_videomae_pico", "timm_vit_pico")
]
# The rest of the table is the slow tier's.
FAST = {
    ("vjepa", "vit_pico"),
    ("self_distillation", "vit_pico"),
    ("mae", "videomamba_pico"),
    ("umt", "timesformer_pico"),
    ("mae", "timesformer_joint_pico"),
    ("lvmae", "vit_pico"),
    ("self_distillation", "hf_videomae_pico"),
    ("self_distillation", "timm_vit_pico"),
}
TRAINED = [pytest.param(*cell, marks=() if cell in FAST else pytest.mark.slow) for cell in TRAINS]


def gradients(made, clips, **autocast):
    made.generator.manual_seed(0)
    torch.manual_seed(0)
    made.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=bool(autocast)):
        loss = made(clips).total
    loss.backward()
    return loss.detach(), {name: it.grad for name, it in made.named_parameters() if it.requires_grad}


def trained(name, backbone, clips):
    """Losses of a short training on one batch with one mask."""
    made = objective(name, backbone).train()
    parameters = [it for it in made.parameters() if it.requires_grad]
    optimizer, losses = torch.optim.AdamW(parameters, lr=3e-3), []
    for step in range(1, STEPS + 1):
        loss, _ = gradients(made, clips)
        losses.append(loss.item())
        optimizer.step()
        made.after_step(step)
    return made, losses


@pytest.mark.parametrize(("name", "backbone"), CELLS)
def test_the_table_says_which_cells_train_and_the_others_are_refused_when_built(name, backbone):
    reason = obstacle(student(backbone), name)
    assert (reason == "") == ((name, backbone) in TRAINS)
    if reason:
        assert reason.count(".") == 0
        with pytest.raises(ValueError, match="cannot drop tokens"):
            objective(name, backbone)


@pytest.mark.parametrize(("name", "backbone"), TRAINED)
def test_the_loss_falls_on_a_repeated_batch_and_a_seeded_repeat_is_identical(name, backbone):
    clips = batch()
    made, losses = trained(name, backbone, clips)
    assert all(torch.tensor(losses).isfinite())
    assert losses[-1] < 0.97 * losses[0]
    again, repeated = trained(name, backbone, clips)
    assert losses == repeated
    for (one, first), second in zip(made.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(first, second), one


@pytest.mark.parametrize(("name", "backbone"), TRAINED)
def test_gradients_reach_the_student_and_neither_teacher_nor_target(name, backbone):
    made = objective(name, backbone).train()
    _, found = gradients(made, batch())
    assert not [it for it, gradient in found.items() if gradient is None]
    reached = [gradient for it, gradient in found.items() if it.startswith("student.")]
    assert sum(gradient.abs().sum() > 0 for gradient in reached) > 0.8 * len(reached)
    frozen = [it for part in made.outside.values() for it in part.parameters()]
    frozen += [it for part, it in made.named_parameters() if part.startswith("target")]
    assert bool(frozen) == (name != "mae")
    assert not any(it.requires_grad or it.grad is not None for it in frozen)


@pytest.mark.parametrize(("name", "backbone"), TRAINED)
def test_checkpointing_and_bfloat16_change_the_loss_by_rounding_alone(name, backbone):
    made, clips = objective(name, backbone).train(), batch()
    loss, found = gradients(made, clips)
    made.student.set_grad_checkpointing(made.student.depth)
    again, recomputed = gradients(made, clips)
    assert torch.equal(loss, again)
    for one, gradient in found.items():
        torch.testing.assert_close(recomputed[one], gradient, rtol=1e-5, atol=1e-7)
    rough, reduced = gradients(made, clips, dtype=torch.bfloat16)
    torch.testing.assert_close(rough.float(), loss, rtol=0.03, atol=0.01)
    exact, rounded = (torch.cat([it.flatten().float() for it in both.values()]) for both in (found, reduced))
    assert (rounded - exact).norm() < 0.1 * exact.norm()


@pytest.fixture
def process_group(tmp_path):
    """One process that takes itself for a distributed training."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def published_videomamba():
    torch.manual_seed(0)
    return umt_for(student("videomamba_pico"), still_teacher(), SIDE, FRAMES, student_target="videomamba_published")


def two_of_ten_mask_tokens():
    form = PredictorForm(width=24, depth=1, num_heads=2, num_mask_tokens=10)
    return vjepa_for(student("vit_pico"), SIDE, FRAMES, steps=9, predictor=form, mask_tokens=(0, 0))


@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(functools.partial(objective, name, "videomamba_pico"), id=name) for name in OBJECTIVES),
        published_videomamba,
        two_of_ten_mask_tokens,
    ],
)
# Costs time at most: a convolution over a sequence of height 1 makes its gradient with other strides.
@pytest.mark.filterwarnings("ignore:Grad strides do not match bucket view strides")
def test_distributed_training_finds_a_gradient_for_everything_that_it_trains(make, process_group):
    made, clips = make(), batch()
    parallel = torch.nn.parallel.DistributedDataParallel(made)
    for step in (1, 2):
        # The second step fails when the first left a parameter without gradient.
        parallel(clips).total.backward()
        made.after_step(step)


def test_every_objective_is_in_the_table():
    assert tuple(MAKERS) == OBJECTIVES
