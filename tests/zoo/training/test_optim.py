import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from backbones.contract import Backbone
from tests.support import find, manifest
from zoo.recipes.recipe import Recipe
from zoo.training.optim import (
    CosineSchedule,
    adamw,
    describe_groups,
    layer_of,
    param_groups,
    place_parameters,
    scale_lr,
    schedule_of,
    set_lr,
)

RECIPE = Recipe(steps=100, global_batch=512, base_lr=1e-3, weight_decay=0.05, layer_decay=0.75)


class Shell(Backbone):
    """A backbone of named parameters and nothing else."""

    def __init__(self, shapes, depth):
        super().__init__()
        self.depth = depth
        for name, shape in shapes.items():
            *path, last = name.split(".")
            owner = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner._modules[part]
            owner.register_parameter(last, nn.Parameter(torch.zeros(shape, device="meta")))

    def forward_intermediates(self, video, layers, keep=None, *, norm=True):
        raise RuntimeError("a shell computes nothing")


class Model(nn.Module):
    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head


def our_name(official):
    """Our name of a key of VideoMamba's files."""
    for theirs, ours in [
        ("layers.", "blocks."),
        ("norm_f.", "norm."),
        ("temporal_pos_embedding", "temporal_pos_embed"),
    ]:
        official = official.replace(theirs, ours)
    return official


def fixture(name):
    return json.loads(find(name).read_text())


def schedules():
    keys = {"base_value": "base", "final_value": "final", "niter_per_ep": "iters", "start_warmup_value": "start"}
    for name in ("videomamba/pipeline.json", "umt/protocol.json"):
        for case in fixture(name)["cosine_schedule"]:
            args = {keys.get(key, key): value for key, value in {**case, **case.get("args", {})}.items()}
            yield args, case["values"]


def test_schedule_has_the_authors_value_at_every_step():
    cases = list(schedules())
    assert len(cases) == 3
    for args, values in cases:
        schedule = CosineSchedule(
            peak=args["base"],
            final=args["final"],
            steps=args["epochs"] * args["iters"],
            warmup_steps=args["warmup_epochs"] * args["iters"],
            start=args["start"],
        )
        assert [schedule(step) for step in range(schedule.steps)] == values
        warm = schedule.warmup_steps
        assert [schedule(0), schedule(warm - 1), schedule(warm)] == [args["start"], args["base"], args["base"]]


def test_warm_up_is_a_linspace_to_the_last_bit():
    for warmup_steps in range(1, 40):
        schedule = CosineSchedule(peak=0.3, start=0.1, steps=40, warmup_steps=warmup_steps)
        expected = np.linspace(0.1, 0.3, warmup_steps).tolist()
        assert [schedule(step) for step in range(warmup_steps)] == expected


def test_schedule_without_warm_up_starts_at_the_peak_and_ends_before_final():
    schedule = CosineSchedule(peak=1.0, final=0.5, steps=4)
    assert schedule(0) == 1.0
    assert 0.5 < schedule(3) < schedule(2) < 1.0
    assert CosineSchedule(peak=1.0, steps=4, warmup_steps=1, start=0.1)(0) == 0.1
    assert CosineSchedule(peak=1.0, steps=2, warmup_steps=2)(1) == 1.0


@pytest.mark.parametrize("step", [-1, 4])
def test_schedule_refuses_steps_it_does_not_have(step):
    with pytest.raises(ValueError, match=f"step {step} lies outside a schedule of 4 steps"):
        CosineSchedule(peak=1.0, steps=4)(step)


def test_rates_are_scaled_by_batch_and_repeats():
    # UMT stage 1: 1.5e-4 for 2048 clips is 1.2e-3; VideoMamba K400: 2e-4, batch 512, 2 repeats.
    assert scale_lr(1.5e-4, global_batch=2048) == pytest.approx(1.2e-3)
    assert scale_lr(2e-4, global_batch=512, repeats=2) == pytest.approx(8e-4)
    recipe = replace(RECIPE, repeats=2, base_final_lr=1e-6, base_warmup_lr=2e-6, warmup_steps=10)
    schedule = schedule_of(recipe)
    assert [schedule.peak, schedule.final, schedule.start] == pytest.approx([4e-3, 4e-6, 8e-6])
    videomae = schedule_of(replace(recipe, repeats_scale_lr=False))
    assert [videomae.peak, videomae.final, videomae.start] == pytest.approx([2e-3, 2e-6, 4e-6])


@pytest.mark.parametrize(
    ("rule", "column"), [("videomamba_published", "as_published"), ("videomamba", "with_layers_branch")]
)
def test_layer_decay_equals_videomambas_table(rule, column):
    given = fixture("videomamba/pipeline.json")["layer_decay_tiny"]
    shapes = {
        our_name(key): shape for key, shape in manifest("videomamba/videomamba_tiny_video_f8_224")["keys"].items()
    }
    head = nn.Linear(2, 2, device="meta")
    model = Model(Shell({k: v for k, v in shapes.items() if not k.startswith("head")}, given["num_layers"]), head)
    placements = place_parameters(model, model.backbone, layer_decay=given["layer_decay"], layer_rule=rule)
    found = {place.name.removeprefix("backbone."): place for place in placements}
    assert len(found) == len(shapes)
    for official, expected in given[column].items():
        place = found[our_name(official)]
        assert (place.layer, place.decays) == (expected["layer"], expected["decay"]), official
        assert place.lr_scale == expected["lr_scale"], official


def test_layer_decay_equals_umts_table():
    given = fixture("umt/protocol.json")["layer_decay"]
    backbone = Shell({name: (2, 2) for name in given["assign"] if name.split(".")[0] not in ("fc_norm", "head")}, 12)
    model = Model(backbone, nn.Sequential(nn.LayerNorm(2), nn.Linear(2, 2)))
    placements = place_parameters(model, backbone, layer_decay=given["decay"])
    for place in placements:
        expected = given["assign"][place.name.removeprefix("backbone.")] if place.name.startswith("backbone") else None
        layer, scale = (expected["layer"], expected["scale"]) if expected else (13, 1.0)
        assert (place.layer, place.lr_scale) == (layer, scale), place.name
        assert given["values"][place.layer] == place.lr_scale


def small_model():
    shapes = {
        "patch_embed.proj.weight": (4, 3),
        "patch_embed.proj.bias": (4,),
        "pos_embed": (1, 5, 4),
        "blocks.0.mlp.weight": (4, 4),
        "blocks.1.mlp.weight": (4, 4),
        "blocks.1.norm.weight": (4,),
        "norm.weight": (4,),
    }
    return Model(Shell(shapes, depth=2), nn.Linear(4, 3, device="meta"))


def test_every_trainable_parameter_is_in_one_group():
    model = small_model()
    model.backbone.norm.weight.requires_grad_(False)
    groups = param_groups(place_parameters(model, model.backbone, layer_decay=0.5), weight_decay=0.05)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert {(group["lr_scale"], group["weight_decay"]) for group in groups} == {
        (0.125, 0.05),
        (0.125, 0.0),
        (0.25, 0.05),
        (0.5, 0.05),
        (0.5, 0.0),
        (1.0, 0.05),
        (1.0, 0.0),
    }


def test_tables_vectors_and_listed_names_do_not_decay():
    model = small_model()
    model.head.no_weight_decay = lambda: {"weight"}
    placements = {p.name: p.decays for p in place_parameters(model, model.backbone)}
    assert {name for name, decays in placements.items() if decays} == {
        "backbone.patch_embed.proj.weight",
        "backbone.blocks.0.mlp.weight",
        "backbone.blocks.1.mlp.weight",
    }


def test_without_layer_decay_there_are_two_groups():
    model = small_model()
    assert len(param_groups(place_parameters(model, model.backbone), weight_decay=0.1)) == 2


def test_a_parameter_placed_twice_is_refused():
    model = small_model()
    placements = place_parameters(model, model.backbone)
    with pytest.raises(ValueError, match="placed in two groups"):
        param_groups([*placements, placements[0]], weight_decay=0.1)


def test_misplaced_backbones_layers_and_frozen_models_are_explained():
    model = small_model()
    with pytest.raises(ValueError, match="Shell is not a part of the Linear"):
        place_parameters(model.head, model.backbone)
    model.backbone.layer_of = lambda name: 9
    with pytest.raises(ValueError, match="is in layer 9; layers of this backbone are 0 to 3"):
        layer_of(model.backbone, "pos_embed")
    with pytest.raises(ValueError, match="no trainable parameter"):
        place_parameters(model.requires_grad_(False), model.backbone)


def test_the_table_counts_every_parameter():
    model = small_model()
    table = describe_groups(place_parameters(model, model.backbone, layer_decay=0.5), RECIPE)
    rows = [line.split() for line in table.splitlines()[1:]]
    assert sum(int(row[5]) for row in rows) == sum(p.numel() for p in model.parameters())
    assert rows[0][:4] == ["0", "0.125", "0.00025", "0"]
    assert rows[0][6] == "backbone.pos_embed"


def test_set_lr_scales_every_group():
    model = small_model()
    optimizer = adamw(place_parameters(model, model.backbone, layer_decay=0.5), RECIPE)
    set_lr(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [
        pytest.approx(0.1 * group["lr_scale"]) for group in optimizer.param_groups
    ]
    assert optimizer.defaults["betas"] == RECIPE.betas
