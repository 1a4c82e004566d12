import json

import pytest

from benchmarks import cli
from tests.zoo.made_up_cards import card, zoo_of_cards


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    monkeypatch.setattr("zoo.cards.CARDS", zoo_of_cards())


def call(capsys, *words: str) -> tuple[int, str, str]:
    try:
        status = cli.main(["list", *words])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    "words",
    [["--dataset", "k400"], ["--frames", "8"], ["--licence", "permissive"], ["--licence", "all"], ["--pretrained"]],
)
def test_what_only_weights_have_lists_weights(capsys, words):
    status, out, _ = call(capsys, "umt_base*", *words)
    assert status == 0
    assert "umt_base.k400_f8" in out


def test_a_pattern_with_a_point_means_weights(capsys):
    status, out, _ = call(capsys, "umt_base.*")
    assert status == 0
    assert "umt_base.k400_f8" in out
    assert "videomae" not in out


@pytest.mark.parametrize("words", [["--dataset", ""], ["--family="], ["--task", " "], ["--licence", ""], [""]])
def test_an_empty_word_does_not_list_everything(capsys, words):
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert "it is empty" in err


def test_json_gives_records_of_weights_and_names_of_architectures(capsys):
    records = json.loads(call(capsys, "--dataset", "ssv2", "--json")[1])
    assert [it["name"] for it in records] == ["umt_base.ssv2_f8", "videomae_base.ssv2_f16"]
    assert records[0]["weight_licence"] == "CC-BY-NC-4.0"
    assert "vit_pico" in json.loads(call(capsys, "--json")[1])
    assert json.loads(call(capsys, "--frames", "99", "--json")[1]) == []


def test_a_pipe_gets_one_line_per_name_however_long(capsys, monkeypatch):
    long = card("videomamba_middle", "x" * 90, dataset="k400", weight_licence="CC-BY-NC-4.0 and a remark")
    monkeypatch.setattr("zoo.cards.CARDS", (long,))
    line = next(line for line in call(capsys, "--pretrained")[1].splitlines() if long.name in line)
    assert line.split()[1:] == ["k400", "16x224", "CC-BY-NC-4.0", "and", "a", "remark"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--dataset", "ssv3"], "did you mean 'ssv2'"),
        (["--licence", "free"], "unknown kind of licence 'free'"),
        (["--frames", "many"], "'many' is not a whole number"),
        (["--frames", "3", "--dataset", "k400"], "nothing fits 'dataset k400 frames 3'"),
        (["umt_bse*", "--pretrained"], "did you mean umt_base."),
        (["umt_base.k400_f9"], "did you mean umt_base.k400_f8"),
        (["*k400*"], "released weights do: say --pretrained"),
        (["--frames", "²"], "'²' is not a whole number"),
    ],
)
def test_what_fits_nothing_is_said_with_a_way_on(capsys, words, hint):
    status, out, err = call(capsys, *words)
    assert (status, out) == (2, "")
    assert hint in err
