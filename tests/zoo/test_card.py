import json
from dataclasses import replace

import pytest
import torch

from zoo.card import (
    Card,
    Classifier,
    ClipSpec,
    Converter,
    Source,
    Weights,
    cut,
    join,
    rename,
    stars,
    unsqueeze,
)
from zoo.cards import ARCHITECTURES, CARDS

SPEC = ClipSpec(num_frames=16, sampling="dense", stride=4, img_size=224, short_side=256, clips=5, crops=3)


def test_a_clip_spec_survives_json():
    assert ClipSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC


def test_a_clip_spec_names_the_field_that_it_does_not_have():
    with pytest.raises(ValueError, match=r"no field 'frames'.*num_frames"):
        ClipSpec.from_dict({"frames": 8})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_frames", 0),
        ("stride", 0),
        ("clips", 0),
        ("short_side", 200),
        ("sampling", "sparse"),
        ("interpolation", "nearest"),
        ("channel_order", "gbr"),
        ("mean", (0.5,)),
        ("std", (0.5, 0.5)),
    ],
)
def test_a_clip_spec_that_makes_no_sense_is_refused(field, value):
    values = {**SPEC.to_dict(), field: value}
    # The run-time type checks refuse a word outside the literals before the class does.
    with pytest.raises(Exception, match=str(value)):
        ClipSpec(**values)


@pytest.mark.parametrize(
    ("facts", "field", "value", "words"),
    [
        (SPEC, "mean", (0.5,), "must hold 3 numbers"),
        (SPEC, "sampling", "sparse", "must be one of"),
        (Classifier(pool="mean"), "pool", "max", "unknown pooling 'max'"),
        (Classifier(pool="mean"), "kind", "round", "unknown kind of classifier 'round'"),
    ],
)
def test_values_of_a_file_are_refused_without_run_time_type_checks_too(facts, field, value, words):
    changed = replace(facts)
    # Around the type checks, which only tests have.
    object.__setattr__(changed, field, value)
    with pytest.raises(ValueError, match=words):
        changed.__post_init__()


LAYOUT = Converter(
    name="toy",
    needs=("layers.*.q.weight", "table"),
    lacks=("decoder.*",),
    rules=(
        join(("layers.*.q.weight", "layers.*.k.weight", "layers.*.v.weight"), "backbone.blocks.*.qkv.weight"),
        rename("layers.*.gamma", "backbone.blocks.*.ls1.gamma"),
        rename("layers.*", "backbone.blocks.*"),
        cut("table", ("backbone.cls_pos_embed", "backbone.pos_embed"), sizes=(1, -1), dim=1),
        unsqueeze("proj.weight", "backbone.patch_embed.proj.weight", dim=2),
        rename("head.*", "head.linear.*"),
    ),
    drop=("distill.*",),
)


def toy_state():
    shapes = {
        **{f"layers.{i}.{n}.weight": (4, 4) for i in range(2) for n in "qkv"},
        "layers.0.gamma": (4,),
        "layers.1.mlp.weight": (8, 4),
        "table": (1, 10, 4),
        "proj.weight": (4, 3, 2, 2),
        "head.weight": (5, 4),
    }
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def test_a_converter_gives_our_names_and_values():
    state = toy_state()
    converted = LAYOUT.to_zoo({**state, "distill.0": torch.ones(1), "other": torch.ones(1)})
    assert sorted(converted.state) == sorted(
        [
            "backbone.blocks.0.qkv.weight",
            "backbone.blocks.1.qkv.weight",
            "backbone.blocks.0.ls1.gamma",
            "backbone.blocks.1.mlp.weight",
            "backbone.cls_pos_embed",
            "backbone.pos_embed",
            "backbone.patch_embed.proj.weight",
            "head.linear.weight",
        ]
    )
    joined = torch.cat([state[f"layers.1.{name}.weight"] for name in "qkv"])
    assert torch.equal(converted.state["backbone.blocks.1.qkv.weight"], joined)
    assert torch.equal(converted.state["backbone.cls_pos_embed"], state["table"][:, :1])
    assert converted.state["backbone.patch_embed.proj.weight"].shape == (4, 3, 1, 2, 2)
    assert (converted.dropped, converted.unexpected) == (["distill.0"], ["other"])


def test_converting_there_and_back_changes_nothing():
    state = toy_state()
    back = LAYOUT.to_official(LAYOUT.to_zoo(state).state)
    assert not back.unexpected
    assert back.state.keys() == state.keys()
    assert all(torch.equal(back.state[name], tensor) for name, tensor in state.items())


def test_a_tensor_that_lacks_its_companions_is_named():
    state = toy_state()
    del state["layers.1.k.weight"]
    with pytest.raises(ValueError, match=r"'layers\.1\.k\.weight', which belongs to it"):
        LAYOUT.to_zoo(state)


def test_parts_of_unequal_shape_are_not_joined():
    state = toy_state()
    state["layers.1.q.weight"], state["layers.1.k.weight"] = torch.randn(5, 4), torch.randn(3, 4)
    with pytest.raises(ValueError, match=r"wrong shapes of 'layers\.1\.q\.weight' \[5, 4\], .*equal shapes"):
        LAYOUT.to_zoo(state)


def test_two_tensors_for_one_name_are_refused():
    both = Converter(name="both", needs=("a",), rules=(rename("a", "backbone.x"), rename("b", "backbone.x")))
    with pytest.raises(ValueError, match=r"claim the name 'backbone\.x'"):
        both.to_zoo({"a": torch.ones(1), "b": torch.ones(1)})


def test_a_layout_is_recognised_by_what_it_needs_and_lacks():
    keys = list(toy_state())
    assert LAYOUT.matches(keys)
    assert not LAYOUT.matches([*keys, "decoder.weight"])
    assert not LAYOUT.matches([key for key in keys if key != "table"])


def test_stars_stand_for_text_and_dots_for_themselves():
    assert stars("blocks.*.norm.*", "blocks.11.norm.weight") == ("11", "weight")
    assert stars("cls_token", "cls_token") == ()
    assert stars("blocks.*", "blocksx1") is None


def test_the_name_of_a_card_is_architecture_dot_tag():
    weights = Weights(sources=(Source(url="https://example.org/a.pth"),), num_classes=400)
    card = Card(architecture="videomamba_middle", tag="k400_mask_ft_f64_res224", weights=weights, clip=SPEC)
    assert card.name == "videomamba_middle.k400_mask_ft_f64_res224"


def test_names_of_architectures_and_cards_are_unique():
    names = [architecture.name for architecture in ARCHITECTURES]
    assert len(set(names)) == len(names)
    assert {card.architecture for card in CARDS if not card.missing} <= set(names)
    assert len({card.name for card in CARDS}) == len(CARDS)
    assert not {card.architecture for card in CARDS if card.missing} & set(names)
