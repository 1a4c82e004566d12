from dataclasses import replace

import pytest

from benchmarks.paper_recipes import command_words, recipes_of
from benchmarks.paper_tables import papers
from zoo.suggest import UnknownNameError


def names(words, **changes):
    paper, table, row = words.split(":")
    page = papers()[paper].table(table)
    return [it.name for it in recipes_of(page, replace(page.row(row), **changes))]


def test_a_released_file_leads_to_the_training_that_made_it():
    assert names("videomamba:k400:tiny_f8") == ["videomamba_tiny.k400_f8_res224"]


def test_a_row_without_weights_leads_to_the_training_from_the_same_ones():
    assert names("videomamba:lvu:tiny_scene") == ["videomamba_tiny.lvu_scene_f32_res224"]
    assert names("videomamba:lvu:tiny_scene", start="videomamba_tiny.k400_f64_res224") == []


def test_an_ablation_of_a_pretraining_names_it_and_it_prints_the_same_number():
    rows = [it for name in ("mask_type", "aligned_layers", "mask_ratio", "drop_path") for it in page(name).rows]
    assert len(rows) == 17
    for row in rows:
        (made,) = recipes_of(page("mask_type"), row)
        assert [it.value for it in made.expected] == [row.values["top1"]]


def page(name):
    return papers()["videomamba"].table(name)


def test_a_row_that_nothing_tells_of_has_none():
    assert names("videomamba:lvu:vis4mer_scene") == []
    assert names("vjepa:linear_ssv2:large") == []


def test_a_probe_of_another_depth_is_another_training():
    assert names("vjepa2:depth4_ssv2:large") == ["vjepa2_large_16_256.videomix22m_probe_ssv2"]
    assert names("vjepa2:depth1_ssv2:large") == []


def test_a_name_comes_first_and_must_be_one():
    assert names("videomamba:lvu:tiny_scene", recipe="umt_base.k710_ft_k400_f8_res224") == [
        "umt_base.k710_ft_k400_f8_res224"
    ]
    with pytest.raises(UnknownNameError, match="did you mean"):
        names("videomamba:lvu:tiny_scene", recipe="umt_base.k710_ft_k400_f8_res225")


def test_the_command_says_the_kind():
    table = papers()["videomamba"].table("k400")
    made = recipes_of(table, table.row("tiny_f8"))
    assert command_words(made) == "zoo finetune videomamba_tiny.k400_f8_res224"
    assert command_words(made * 2) == " or ".join(2 * [command_words(made)])
    assert command_words(()) == ""
