import pytest
import torch

from benchmarks.systems import ObjectiveError, SizeError, system, systems
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


@pytest.mark.parametrize("words", ["vit_pico:", ":mae", "vit_pico:mae:umt", ""])
def test_words_of_another_form_are_refused_with_the_right_one(words):
    with pytest.raises(ObjectiveError, match="NAME:OBJECTIVE"):
        system(words, side_px=24, suite="tiny")


def test_an_objective_in_capitals_gets_the_one_that_was_meant():
    with pytest.raises(UnknownNameError, match="did you mean 'mae'"):
        system("vit_pico:MAE", side_px=24, suite="tiny")


def test_an_objective_that_cannot_work_is_refused_with_the_reason_and_what_can():
    with pytest.raises(ObjectiveError, match=r"computes every token.*choose from self_distillation, none"):
        system("hf_videomae_pico:mae", side_px=24, suite="tiny")


def test_a_tokenizer_is_told_to_be_no_student_of_its_own_codes():
    with pytest.raises(ObjectiveError, match="NAME:lvmae names the backbone that learns"):
        system("lvmae_tokenizer_tiny:lvmae", side_px=None, suite="tiny")
