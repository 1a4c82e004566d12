import pytest
import torch

from benchmarks.systems import SizeError, system, systems
from tests.benchmarks.tiny_suite import SUITE
from zoo.suggest import UnknownNameError


def test_a_system_builds_its_classifier_backbone_and_any_clip_length():
    one = system("vit_pico", side_px=24, suite="tiny")
    model = one.model(SUITE.task("drift"))
    assert model.num_classes == 2
    assert model.spec.label_names == ("right", "left")
    assert one(32)(torch.zeros(1, 3, 32, 24, 24)).shape == (1, one.backbone().embed_dim)


def test_a_misspelt_name_gets_the_closest_ones():
    with pytest.raises(UnknownNameError, match="vit_pico"):
        system("vit_pic", side_px=24, suite="tiny")


def test_a_network_for_large_pictures_is_refused_with_those_that_fit():
    with pytest.raises(SizeError, match=r"videomae_base is made for clips of 224 x 224 px.* 87 times .*vit_pico"):
        system("videomae_base", side_px=24, suite="tiny")


def test_names_given_twice_take_part_once():
    assert [one.name for one in systems(["vit_pico", "timesformer_pico", "vit_pico"], side_px=24, suite="tiny")] == [
        "vit_pico",
        "timesformer_pico",
    ]


def test_a_system_has_its_familys_own_objective_unless_one_is_named():
    words = ["vit_pico", "vit_pico:vjepa", "vit_pico:none", "timesformer_pico", "videomamba_pico"]
    found = [system(one, side_px=24, suite="tiny") for one in words]
    assert [one.objective for one in found] == ["mae", "vjepa", "none", "none", "umt"]
    assert [one.pretrained for one in found] == [True, True, False, False, True]
    assert [one.label for one in systems(["vit_pico", "vit_pico:mae", "vit_pico:umt"], side_px=24, suite="tiny")] == [
        "vit_pico:mae",
        "vit_pico:umt",
    ]


def test_a_misspelt_objective_gets_the_closest():
    with pytest.raises(UnknownNameError, match="vjepa"):
        system("vit_pico:vjeppa", side_px=24, suite="tiny")
