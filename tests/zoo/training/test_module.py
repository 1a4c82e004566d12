import math
from dataclasses import replace

import pytest
import torch

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData
from zoo.objectives.contract import Loss
from zoo.training.checkpoint import load_checkpoint
from zoo.training.fit import fit
from zoo.training.log import read_log
from zoo.training.module import NonFiniteError
from zoo.training.pretrain import Pretrain


class Spoiled(MeanColour):
    """An objective that goes wrong at one step, in a named way."""

    def __init__(self, step, how):
        super().__init__()
        self.step, self.how, self.draws = step, how, []

    def forward(self, batch):
        self.draws.append((torch.rand(1).item(), torch.rand(1, generator=self.generator).item()))
        loss = super().forward(batch)
        if len(self.steps) + 1 != self.step:
            return loss
        if self.how == "loss":
            return Loss(loss.total * float("nan"), {**loss.logs, "error": torch.tensor(float("inf"))})
        # Finite itself, but with an infinite derivative.
        weight = self.decoder.weight
        return Loss(loss.total + (weight - weight.detach()).sum().abs().sqrt(), loss.logs)


class SpoiledData(TinyData):
    """A clip with a broken pixel at one step."""

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.global_step == 4:
            batch.video[1, 0, 0, 0, 0] = float("nan")
            self.broken_row = batch.row[1].item()
        return batch


@pytest.mark.parametrize(("how", "terms"), [("loss", ["loss", "error"]), ("gradient", ["gradient norm"])])
def test_training_stops_before_the_step_that_would_spoil_the_weights(how, terms, tmp_path):
    objective = Spoiled(5, how)
    with pytest.raises(NonFiniteError) as stop:
        fit(Pretrain(objective, RECIPE), TinyData(), run_dir=tmp_path)
    assert (stop.value.step, stop.value.terms, objective.steps) == (5, terms, [1, 2, 3, 4])
    assert f"step 5 was not taken: {', '.join(terms)} not finite; clips in rows {stop.value.rows}" in str(stop.value)
    assert len(stop.value.rows) == 4
    checkpoint = load_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["global_step"] == 4
    for name, value in objective.state_dict().items():
        assert torch.isfinite(value).all()
        assert torch.equal(checkpoint["state_dict"][f"objective.{name}"], value)


def test_clips_with_broken_pixels_are_named(tmp_path):
    data = SpoiledData()
    with pytest.raises(NonFiniteError) as stop:
        fit(Pretrain(MeanColour(), RECIPE), data, run_dir=tmp_path)
    assert f"; pixels are not finite in rows [{data.broken_row}]" in str(stop.value)


def test_random_numbers_of_a_step_depend_on_seed_and_position_only(tmp_path):
    def draws(seed, steps):
        objective = Spoiled(-1, "loss")
        fit(
            Pretrain(objective, replace(RECIPE, steps=steps), seed=seed),
            TinyData(),
            run_dir=tmp_path / f"{seed}{steps}",
        )
        return objective.draws

    first, longer, other = draws(1, 4), draws(1, 6), draws(2, 4)
    assert first == longer[:4]
    assert not set(first) & set(other)
    assert len(set(longer)) == 6


def test_accumulated_values_are_averaged_in_the_log(tmp_path):
    seen = []

    class Counting(MeanColour):
        def forward(self, batch):
            loss = super().forward(batch)
            seen.append(float(len(seen)))
            return Loss(loss.total, {"count": torch.tensor(seen[-1])})

    fit(Pretrain(Counting(), replace(RECIPE, accumulate=3, global_batch=12, steps=4)), TinyData(), run_dir=tmp_path)
    assert [row["count"] for row in read_log(tmp_path)] == [1.0, 4.0, 7.0, 10.0]


def test_gradients_are_clipped_to_the_norm(tmp_path):
    norms = []

    class Watched(Pretrain):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            norms.append(torch.nn.utils.get_total_norm([p.grad for p in self.parameters()]).item())

    fit(Watched(MeanColour(), replace(RECIPE, gradient_clip=0.05)), TinyData(), run_dir=tmp_path)
    measured = [row["grad_norm"] for row in read_log(tmp_path)]
    assert norms == pytest.approx([min(norm, 0.05) for norm in measured], rel=1e-3)
    assert max(measured) > 0.05


def gradients_of(recipe, tmp_path) -> list[tuple[float, float]]:
    """Norms of the gradient of the backbone and of the rest, at every step, as the optimiser sees them."""
    seen = []

    class Watched(Pretrain):
        def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            inside = {id(parameter) for parameter in self.backbone.parameters()}
            parts = ([], [])
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parts[id(parameter) not in inside].append(parameter.grad.norm())
            seen.append(tuple(torch.stack(part).norm().item() for part in parts))

    fit(Watched(MeanColour(), recipe), TinyData(), run_dir=tmp_path)
    return seen


def test_parts_are_clipped_each_by_itself_and_not_before_the_step_that_the_recipe_names(tmp_path):
    recipe = replace(RECIPE, steps=4, gradient_clip=1e-3, clip_parts=True, clip_after=2)
    norms = gradients_of(recipe, tmp_path / "parts")
    assert all(norm > 2e-3 for step in norms[:2] for norm in step)
    assert [norm for step in norms[2:] for norm in step] == pytest.approx([1e-3] * 4, rel=1e-2)
    whole = gradients_of(replace(recipe, clip_parts=False), tmp_path / "whole")
    assert [(one**2 + other**2) ** 0.5 for one, other in whole[2:]] == pytest.approx([1e-3] * 2, rel=1e-2)


def test_weight_decay_follows_its_schedule_in_the_groups_that_decay(tmp_path):
    recipe = replace(RECIPE, steps=4, weight_decay=0.1, final_weight_decay=0.5)
    module = Pretrain(MeanColour(), recipe)
    fit(module, TinyData(), run_dir=tmp_path)
    logged = [row["weight_decay"] for row in read_log(tmp_path)]
    assert logged == pytest.approx([0.1 + 0.4 * 0.5 * (1 - math.cos(math.pi * step / 4)) for step in (1, 2, 3, 4)])
    groups = load_checkpoint(tmp_path / "last.ckpt")["optimizer_states"][0]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}


def test_constant_weight_decay_is_not_logged(tmp_path):
    fit(Pretrain(MeanColour(), replace(RECIPE, steps=1, warmup_steps=0)), TinyData(), run_dir=tmp_path)
    assert "weight_decay" not in read_log(tmp_path)[0]
