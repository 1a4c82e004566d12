"""Objectives of two parts under the shared trainer: who learns from what, and runs that are stopped."""

import math
from dataclasses import replace

import pytest
import torch

from tests.zoo.objectives.adversary import Distance, training
from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from tests.zoo.training.test_fit import BreaksAt, BrokenError, assert_same_file
from zoo.objectives.tokenizer import LossWeights
from zoo.training.checkpoint import load_checkpoint
from zoo.training.fit import fit
from zoo.training.module import NonFiniteError
from zoo.training.parts import PretrainParts, pretrainer
from zoo.training.pretrain import Pretrain

RUN = replace(RECIPE, steps=4, base_lr=0.05, betas=(0.0, 0.99), weight_decay=0.0, layer_decay=1.0, gradient_clip=1.0)


def made(**options):
    return training(perceptual=Distance(), weights=LossWeights(lecam=0.1), momentum=0.5, **options)


def test_parts_take_turns_on_every_batch_and_all_of_it_counts_as_one_step(tmp_path):
    objective, seen = made(), []
    objective.register_forward_hook(
        lambda module, inputs, options, loss: seen.append(options["part"]), with_kwargs=True
    )
    report = fit(PretrainParts(objective, RUN), TinyData(), run_dir=tmp_path)
    assert seen == 4 * ["tokenizer", "discriminator"]
    assert [row["step"] for row in report.curves] == [1, 2, 3, 4]
    assert objective.steps.taken == 4
    rates = [row["lr"] for row in report.curves]
    assert rates == [Pretrain(MeanColour(), RUN).schedule(step) for step in range(4)]
    assert {"loss", "grad_norm", "discriminator_loss", "discriminator_grad_norm", "r1", "entropy"} <= set(
        report.curves[0]
    )


def test_a_part_gets_its_own_gradients_only_and_both_learn(tmp_path):
    objective = made()
    module = PretrainParts(objective, RUN)
    strange = []

    def look(part, other):
        def seen(module, inputs, options, loss):
            if options["part"] == part:
                strange.extend(it for it in getattr(module, other).parameters() if it.requires_grad)

        objective.register_forward_hook(seen, with_kwargs=True)

    look("tokenizer", "discriminator")
    look("discriminator", "tokenizer")
    before = {name: it.clone() for name, it in objective.state_dict().items() if not name.startswith("steps")}
    fit(module, TinyData(), run_dir=tmp_path)
    assert not strange
    assert all(it.requires_grad for own in module.own.values() for it in own)
    for part in ("tokenizer.decoder.out.weight", "discriminator.proj.weight", "average.network.decoder.out.weight"):
        assert not torch.equal(objective.state_dict()[part], before[part]), part


def test_a_resumed_run_equals_the_uninterrupted_one_and_its_file_holds_no_frozen_network(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    fit(PretrainParts(made(), RUN), TinyData(), run_dir=whole)
    with pytest.raises(BrokenError):
        fit(PretrainParts(made(), RUN), BreaksAt(2), run_dir=stopped)
    assert load_checkpoint(stopped / "last.ckpt")["global_step"] == 2
    report = fit(PretrainParts(made(), RUN), TinyData(), run_dir=stopped)
    assert report.resumed_from == 2
    assert_same_file(whole, stopped)
    checkpoint = load_checkpoint(whole / "last.ckpt")
    assert len(checkpoint["optimizer_states"]) == 2
    assert not [name for name in checkpoint["state_dict"] if "perceptual" in name or "project" in name]
    other = PretrainParts(training(weights=LossWeights(lecam=0.1)), RUN)
    with pytest.raises(ValueError, match=r"another run.*outside"):
        fit(other, TinyData(), run_dir=stopped)


def test_a_loss_that_is_not_finite_in_the_second_part_leaves_the_first_as_it_was(tmp_path):
    objective = made()
    before = objective.tokenizer.decoder.out.weight.clone()
    objective.register_forward_hook(
        lambda module, inputs, options, loss: (
            loss._replace(total=loss.total * torch.nan) if options["part"] == "discriminator" else None
        ),
        with_kwargs=True,
    )
    with pytest.raises(NonFiniteError):
        fit(PretrainParts(objective, RUN), TinyData(), run_dir=tmp_path)
    assert torch.equal(objective.tokenizer.decoder.out.weight, before)


def test_half_precision_of_the_wide_kind_trains(tmp_path):
    report = fit(
        PretrainParts(made(), replace(RUN, steps=1, warmup_steps=0, precision="bf16-mixed")),
        TinyData(),
        run_dir=tmp_path,
    )
    assert math.isfinite(report.curves[0]["discriminator_loss"])


@pytest.mark.parametrize(
    "change", [{"accumulate": 2, "global_batch": 8}, {"ema_decay": 0.9}, {"precision": "16-mixed"}]
)
def test_recipes_that_parts_cannot_follow_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        PretrainParts(made(), replace(RUN, **change))


def test_every_parameter_belongs_to_exactly_one_part():
    objective = made()
    objective.parts = ("tokenizer",)
    with pytest.raises(ValueError, match="exactly one of the parts"):
        PretrainParts(objective, RUN)
    objective.parts = ("tokenizer", "judge")
    with pytest.raises(ValueError, match="'judge' is no submodule"):
        PretrainParts(objective, RUN)


def test_each_module_takes_its_own_kind_of_objective():
    assert type(pretrainer(made(), RUN)) is PretrainParts
    assert type(pretrainer(MeanColour(), RUN)) is Pretrain
    with pytest.raises(ValueError, match="has no parts"):
        PretrainParts(MeanColour(), RUN)
    with pytest.raises(ValueError, match="pretrainer"):
        Pretrain(made(), RUN)
