import json

import pytest

from benchmarks import cli
from zoo.recipes.catalogue import TRAININGS


def call(capsys, *words):
    try:
        status = cli.main(["recipe", *words])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_list_is_narrowed_by_what_is_asked(capsys):
    status, out, _ = call(capsys, "list", "--family", "umt", "--kind", "pretrain", "--runnable")
    assert status == 0
    assert out.splitlines()[-1] == "2 recipes"
    assert "umt_large.k710_pt_f8_res224" in out
    status, out, _ = call(capsys, "list", "--suite", "lvu", "--json")
    assert [it["task"] for it in json.loads(out)][:2] == ["relationship", "way_speaking"]


def test_what_cannot_be_run_says_why_in_the_list(capsys):
    _, out, _ = call(capsys, "list", "--family", "timesformer")
    assert "no: its optimiser is" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "--kind", "finetun"), "did you mean 'finetune'"),
        (("list", "--family", "utm"), "'umt'"),
        (("show", "umt_base.k710_pt_f8_res22"), "did you mean 'umt_base.k710_pt_f8_res224'"),
        (("diff", "umt_base.k710_pt_f8_res224", "nothing"), "unknown recipe 'nothing'"),
    ],
)
def test_misspelt_names_get_the_closest(capsys, words, message):
    status, _, err = call(capsys, *words)
    assert status == 2
    assert message in err


def test_one_is_shown_with_every_field(capsys):
    status, out, _ = call(capsys, "show", "umt_base.k710_pt_f8_res224")
    assert status == 0
    for words in ("objective.mask_ratio  0.8", "peak 0.0012", "32 x GPU, 64 videos on each"):
        assert words in out
    status, out, _ = call(capsys, "show", "umt_base.k710_pt_f8_res224", "--json")
    told = json.loads(out)
    assert told["recipe.betas"] == [0.9, 0.95]
    assert told["produces"] == "umt_base.k710_pt_f8_res224"


def test_only_what_differs_between_two_is_told(capsys):
    pair = ("videomamba_middle.k400_f8_res224", "videomamba_middle.k400_f8_res224_corrected")
    _, out, _ = call(capsys, "diff", *pair, "--json")
    told = json.loads(out)
    assert told["recipe.layer_rule"] == ["videomamba_published", "videomamba"]
    assert not [name for name in told if name.startswith("recipe.") and name != "recipe.layer_rule"]
    _, out, _ = call(capsys, "diff", *pair)
    assert "layer_rule" in out
    assert "betas" not in out
    assert call(capsys, "diff", pair[0], pair[0])[1] == "no field differs\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAININGS)
def test_every_one_is_shown(capsys, name):
    assert call(capsys, "show", name)[0] == 0
