"""Layouts are recognised whatever is wrapped around them."""

import warnings

import pytest
import torch
from pytorch_lightning import Trainer

import zoo
from tests.support import part
from tests.zoo.weights import assert_equal, create, somebody_elses_weights
from zoo import layouts
from zoo.card import Converter, Rule, rename
from zoo.objectives.contract import Loss, Objective, Picture
from zoo.recipes.recipe import Recipe
from zoo.training.classify import Classify
from zoo.training.pretrain import Pretrain
from zoo.weight_files import CheckpointError


@pytest.fixture
def model():
    return create()


@pytest.fixture
def weights():
    return somebody_elses_weights()


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module."])
def test_prefixes_of_wrapping_modules_are_taken_off(model, weights, prefix):
    zoo.load_checkpoint(model, {prefix + name: tensor for name, tensor in weights.items()})
    assert_equal(model.state_dict(), weights)


def test_a_bare_backbone_is_recognised(model, weights):
    trunk = part(weights, "backbone.")
    assert zoo.load_checkpoint(model, trunk).layout == "zoo backbone"
    assert_equal(part(model.state_dict(), "backbone."), trunk)


class Toy(Objective):
    """A student and something that predicts from it."""

    def __init__(self, student):
        super().__init__()
        self.student = student
        self.decoder = torch.nn.Linear(student.embed_dim, 3)

    def forward(self, batch):
        return Loss(self.decoder(self.student(batch.video)).mean(), {})

    def picture(self, batch, pixels):
        return Picture({"shown": pixels}, "the whole clip")


def saved_by_lightning(module, path):
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
    trainer.strategy.connect(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.save_checkpoint(path)
    return path


RECIPE = Recipe(steps=10, global_batch=2, base_lr=1e-3)


def test_a_checkpoint_of_a_classification_run_is_recognised(model, weights, tmp_path):
    trained = create()
    trained.load_state_dict(weights)
    report = zoo.load_checkpoint(model, saved_by_lightning(Classify(trained, RECIPE), tmp_path / "run.ckpt"))
    assert_equal(model.state_dict(), weights)
    assert (report.missing, report.unexpected) == ([], [])


def test_a_checkpoint_of_a_pretraining_run_gives_its_student(model, tmp_path):
    torch.manual_seed(3)
    student = zoo.create_backbone("vit_pico", embed_dim=32, depth=2, num_heads=2)
    report = zoo.load_checkpoint(model, saved_by_lightning(Pretrain(Toy(student), RECIPE), tmp_path / "run.ckpt"))
    assert report.layout == "zoo pretraining run"
    assert "decoder.decoder.weight" in report.dropped
    assert "backbone.norm.weight" in report.dropped
    trunk = {name: tensor for name, tensor in student.state_dict().items() if not name.startswith("norm.")}
    assert_equal(part(model.state_dict(), "backbone."), trunk)


def test_a_state_dict_of_two_possible_layouts_is_refused(model, weights, monkeypatch):
    swapped = Converter(
        name="swapped",
        needs=("backbone.*",),
        rules=(
            rename("backbone.blocks.*.norm1.*", "backbone.blocks.*.norm2.*"),
            rename("backbone.blocks.*.norm2.*", "backbone.blocks.*.norm1.*"),
            rename("*", "*"),
        ),
    )
    monkeypatch.setattr(layouts, "OWN", (*layouts.OWN, swapped))
    with pytest.raises(CheckpointError, match="could be any of the layouts 'zoo' and 'swapped'"):
        zoo.load_checkpoint(model, weights)


def test_a_tensor_that_is_there_compiled_and_plain_is_refused(model, weights):
    double = {**weights, "head._orig_mod.linear.bias": torch.zeros(5)}
    assert "head.linear.bias" in weights
    with pytest.raises(CheckpointError, match=r"'head\.linear\.bias' is there twice"):
        zoo.load_checkpoint(model, double)


def test_a_layout_that_transposes_square_matrices_is_not_the_same(model, weights, monkeypatch):
    turned = Rule(("*.proj.weight",), ("*.proj.weight",), lambda it: [it[0].mT], lambda it: [it[0].mT])
    transposed = Converter(
        name="transposed",
        needs=("backbone.*",),
        rules=(rename("*patch_embed.proj.weight", "*patch_embed.proj.weight"), turned, rename("*", "*")),
    )
    monkeypatch.setattr(layouts, "OWN", (*layouts.OWN, transposed))
    with pytest.raises(CheckpointError, match="could be any of the layouts 'zoo' and 'transposed'"):
        zoo.load_checkpoint(model, weights)
