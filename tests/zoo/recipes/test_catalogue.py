"""What holds of every published training."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.suites.table import SUITES
from benchmarks.training_settings import flat
from zoo.card import ClipSpec
from zoo.cards import CARDS
from zoo.data.transforms import Augment
from zoo.objectives.tokenizer import LossWeights
from zoo.options import check_options
from zoo.recipes.catalogue import TRAININGS, get_training, recipe_for
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import RANDOM, Descent
from zoo.registry import architectures, builder_options
from zoo.suggest import UnknownNameError
from zoo.training.probe_recipe import SweepRecipe

FOLDER = Path(__file__).parents[3] / "zoo" / "recipes"
BY_NAME = {card.name: card for card in CARDS}
RUNNABLE = [it for it in TRAININGS.values() if not it.obstacle]
# Cards of trained weights without a row, and why: no learning rate of theirs is in our sources, or they were made by
# others (retrieval and questions, V-JEPA 2.1, robots, pretraining of tokenizers on LAION).
WITHOUT = ("umt_mm_*_ret_*", "umt_mm_*_qa_*", "vjepa2_1_*", "vjepa2_ac_*", "open_magvit2_pretrain_*", "clip_visual_*")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda it: it.stem)
def test_every_field_that_shapes_a_run_is_given_where_a_row_is_made(path):
    complete = {kind.__name__: kind for kind in (Recipe, Augment, ClipSpec, SweepRecipe, LossWeights)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in complete:
            given = {it.arg for it in node.keywords}
            lacking = {it.name for it in fields(complete[node.func.id])} - given
            assert not lacking, f"{path.name}:{node.lineno} {node.func.id} leaves {sorted(lacking)} to a default"


def test_rows_and_objectives_have_no_defaults():
    from zoo.recipes import learned, training

    kinds = [training.Training, training.Descent, *learned.Learned.__args__]
    for kind in kinds:
        for it in fields(kind):
            with pytest.raises(AttributeError):
                getattr(kind, it.name)


def test_what_a_row_names_exists():
    for one in TRAININGS.values():
        assert one.start in (RANDOM, *BY_NAME, *TRAININGS), one.name
        assert one.produces in ("", *BY_NAME), one.name
        assert one.suite in ("", *SUITES), one.name
        assert not one.task or one.task in [it.name for it in SUITES[one.suite].tasks], one.name
        assert one.name == one.produces or one.name not in BY_NAME, f"{one.name} has the name of another's weights"
        known = [*flat(one), *(it.name for it in fields(one))]
        unknown = [it for it in one.unknown if not any(f"{name}.".startswith(f"{it}.") for name in known)]
        assert not unknown, f"{one.name} has no fields {unknown}"


def test_rows_that_can_be_run_fit_their_network_and_their_clips():
    for one in RUNNABLE:
        architecture = architectures()[one.architecture]
        assert set(one.options) <= set(builder_options(architecture)), one.name
        check_options(architecture.name, architecture.build, dict(one.options))
        for name in ("num_frames", "img_size"):
            assert one.options.get(name, getattr(one.clip, name)) == getattr(one.clip, name), one.name
        one.augment.check(one.clip)
        assert not isinstance(one.recipe, Descent), one.name


def test_released_weights_were_made_on_the_clips_of_their_card():
    for one in TRAININGS.values():
        if not one.produces or one.obstacle:
            continue
        theirs = BY_NAME[one.produces].clip
        assert (one.clip.num_frames, one.clip.img_size) == (theirs.num_frames, theirs.img_size), one.name
        views = [(it.clips, it.crops) for it in one.views]
        assert views[0] == (one.clip.clips, one.clip.crops), one.name
        assert (theirs.clips, theirs.crops) in views, one.name


def test_every_card_of_trained_weights_has_its_row():
    from fnmatch import fnmatch

    lacking = [it for it in BY_NAME if recipe_for(it) is None and not any(fnmatch(it, no) for no in WITHOUT)]
    assert not [it for it in lacking if BY_NAME[it].task in ("classification", "pretraining", "probe", "tokenizer")]


def test_numbers_from_memory_are_nobodys():
    for one in TRAININGS.values():
        assert not [it for it in one.expected if "memory" in it.source], one.name
        assert all(it.source for it in one.expected), one.name


def test_a_misspelt_name_gets_the_closest():
    with pytest.raises(UnknownNameError, match=r"did you mean 'umt_base\.k710_pt_f8_res224'"):
        get_training("umt_base.k710_pt_f8_res225")


def test_a_converted_file_has_the_row_of_the_weights_it_holds():
    assert recipe_for("vjepa2_large_16_256.videomix22m_hf").name == "vjepa2_large_16_256.videomix22m"
    assert recipe_for("vjepa2_large_16_256.videomix22m_ssv2_hf").name == "vjepa2_large_16_256.videomix22m_probe_ssv2"
    assert recipe_for("clip_visual_base_patch16.openai") is None
