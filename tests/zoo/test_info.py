import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

import zoo
from zoo import info, registry
from zoo.card import Card, ClipSpec, Reported, Source, Weights
from zoo.suggest import UnknownNameError

EVERY = ["vit_pico", "videomae_huge", "timesformer_hr", "timesformer_joint_pico"]


def printed(renderable, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["vit_pico", "videomamba_middle", "timesformer_base", "mae_st_large"])
def test_facts_are_true_and_fit_json(name):
    told = info.facts(name)
    assert json.loads(json.dumps(told))["name"] == name
    model = info._on_meta(name)
    assert sum(told["parameters"].values()) == sum(parameter.numel() for parameter in model.parameters())
    outside = {"cls_token", "cls_pos_embed", "pos_embed", "temporal_pos_embed"}
    tables = sum(it.numel() for key, it in model.named_parameters() if key.removeprefix("backbone.") in outside)
    assert sum(count for _, count in told["layers"]) + tables == sum(told["parameters"].values())


def test_a_description_says_what_a_person_wants_to_know():
    text = printed(info.describe("videomae_base"))
    for expected in [
        "86.23 M + 0.31 M for a head with 400 classes",
        "1,568 in a grid of 8 x 14 x 14",
        "2 frames of 16 x 16 px",
        "16 x 224 px, stride 4, 5 x 3 views",
        "num_heads=12",
        "CC-BY-NC-4.0",
        "VideoMAE fine-tuned",
        "MCG-NJU/VideoMAE",
    ]:
        assert expected in text


def test_the_list_keeps_whole_names_in_a_narrow_terminal():
    text = printed(info.table_of(EVERY), width=80)
    assert all(name in text for name in EVERY)
    assert len(text.splitlines()) == len(EVERY) + 1
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_the_list_builds_no_network_whose_size_its_card_says(monkeypatch):
    mine = replace(registry.get_architecture("vit_pico"), name="vit_mine", parameters=0)
    monkeypatch.setattr(registry, "_added", {"vit_mine": mine})
    built = []
    monkeypatch.setattr(info, "create_model", lambda name: built.append(name) or zoo.create_model(name))
    lines = printed(info.table_of([*EVERY, "vit_mine"])).splitlines()
    assert built == ["vit_mine"]
    sizes = {line.split()[0]: line.split()[2] for line in lines[1:]}
    assert sizes["vit_mine"] == sizes["vit_pico"]


def test_a_misspelt_name_gets_the_closest():
    with pytest.raises(ValueError, match="did you mean 'vit_pico'"):
        info.describe("vit_pic")


def test_released_weights_bring_licence_files_numbers_and_conflicts(monkeypatch):
    card = Card(
        architecture="vit_pico",
        tag="toy_f8",
        weights=Weights(sources=(Source(hf_repo="me/toy", hf_file="toy.pth"),), num_classes=7, weight_licence="MIT"),
        clip=ClipSpec(num_frames=8, sampling="uniform", img_size=32),
        overrides={"num_frames": 8, "img_size": 32},
        labels="k400_alphabetical",
        reported=(Reported("K400", "top-1", 81.5, "Table 2"),),
        notes=("the table and the file disagree",),
    )
    monkeypatch.setattr("zoo.cards.CARDS", (card,))
    text = printed(info.describe("vit_pico.toy_f8"))
    for expected in ["me/toy/toy.pth at main", "sha256 not known yet", "MIT", "K400 top-1 81.5 (Table 2)", "disagree"]:
        assert expected in text
    assert "8 x 32 px, uniform" in text
    told = info.facts("vit_pico.toy_f8")
    assert (told["weight_licence"], told["embed_dim"], told["sources"][0]["hf_file"]) == ("MIT", 64, "toy.pth")
    assert json.loads(json.dumps(told))["notes"][-1] == "the table and the file disagree"


def test_weights_that_no_network_takes_are_told_all_the_same(monkeypatch):
    card = Card(
        architecture="umt_mm_base",
        tag="pt_25m",
        weights=Weights(sources=(Source(url="https://example.org/b16_25m.pth"),)),
        clip=ClipSpec(num_frames=12, sampling="uniform", img_size=224),
        missing="the text encoder is not part of the zoo",
    )
    monkeypatch.setattr("zoo.cards.CARDS", (card,))
    text = printed(info.describe("umt_mm_base.pt_25m"))
    for expected in ["the text encoder is not part of the zoo", "https://example.org/b16_25m.pth", "12 x 224 px"]:
        assert expected in text
    assert info.facts("umt_mm_base.pt_25m")["missing"] == "the text encoder is not part of the zoo"


def test_an_attentive_classifier_is_not_said_to_pool():
    assert info.facts("vjepa2_large_16_256")["classifier"].startswith("attentive: a learned query")
    assert info.facts("vit_pico")["classifier"] == "pools 'mean', then linear"


def test_a_network_of_another_library_has_weights_of_its_own():
    text = printed(info.describe("timm:vit_tiny_patch16_224"))
    assert "its own: create_model(NAME, pretrained=True)" in text
    assert "none known yet" not in text


@pytest.mark.parametrize("name", ["local-dir:/tmp/a.b", "local-dir:exported", "hf-hub:me/it"])
def test_what_was_pushed_is_not_taken_for_a_misspelt_architecture(name):
    with pytest.raises(UnknownNameError, match=r"README\.md and config\.json describe it"):
        info.describe(name)
