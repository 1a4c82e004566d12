import copy
from dataclasses import replace

import pytest
import torch

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from zoo.training.fit import fit
from zoo.training.pretrain import Pretrain, fingerprint


def test_objectives_hear_of_every_optimiser_step_once(tmp_path):
    objective = MeanColour()
    fit(Pretrain(objective, replace(RECIPE, accumulate=2, global_batch=8, steps=5)), TinyData(), run_dir=tmp_path)
    assert objective.steps == [1, 2, 3, 4, 5]


def test_the_objectives_loss_is_what_is_minimised(tmp_path):
    objective, found = MeanColour(), []
    record = objective.register_forward_hook(lambda module, inputs, loss: found.append(loss))
    report = fit(Pretrain(objective, RECIPE), TinyData(), run_dir=tmp_path)
    record.remove()
    assert [row["loss"] for row in report.curves] == [loss.total.item() for loss in found]
    assert [row["answer"] for row in report.curves] == [loss.logs["answer"].item() for loss in found]


def test_student_and_decoder_both_learn(tmp_path):
    objective = MeanColour()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    fit(Pretrain(objective, RECIPE), TinyData(), run_dir=tmp_path)
    assert all(not torch.equal(value, before[name]) for name, value in objective.state_dict().items())


@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_the_recipe_says_how_many_blocks_are_recomputed(blocks):
    module = Pretrain(MeanColour(), replace(RECIPE, checkpointed_blocks=blocks))
    assert module.backbone.checkpointed_blocks == blocks


def test_layers_below_get_smaller_rates_and_the_decoder_the_full_one():
    scales = {place.name: place.lr_scale for place in Pretrain(MeanColour(), RECIPE).placements()}
    assert scales["objective.decoder.weight"] == 1.0
    assert scales["objective.student.blocks.1.mlp.fc1.weight"] == pytest.approx(0.8)
    assert scales["objective.student.patch_embed.proj.weight"] == pytest.approx(0.8**3)


def taught(seed: int) -> MeanColour:
    torch.manual_seed(0)
    objective = MeanColour()
    torch.manual_seed(seed)
    objective.outside["teacher"] = torch.nn.Linear(2, 2)
    return objective


def test_a_run_goes_on_with_its_own_teacher_and_with_no_other(tmp_path):
    half = Pretrain(taught(1), RECIPE)
    fit(half, TinyData(), run_dir=tmp_path)
    checkpoint: dict = {}
    half.on_save_checkpoint(checkpoint)
    Pretrain(taught(1), RECIPE).on_load_checkpoint(checkpoint)
    with pytest.raises(ValueError, match=r"another run.*outside"):
        Pretrain(taught(2), RECIPE).on_load_checkpoint(checkpoint)


def test_a_fingerprint_sees_every_weight_and_its_type():
    one = torch.nn.Linear(2, 2)
    assert fingerprint(one) == fingerprint(copy.deepcopy(one))
    assert fingerprint(one) != fingerprint(copy.deepcopy(one).double())
    other = copy.deepcopy(one)
    with torch.no_grad():
        other.bias[1] += 1e-6
    assert fingerprint(one) != fingerprint(other)
