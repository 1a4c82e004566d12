"""`zoo table`."""

import csv
import io

import pytest

from benchmarks import cli
from benchmarks.paper_tables import get_paper
from benchmarks.results import Store
from tests.benchmarks.made_up_results import result


def call(capsys, *words):
    status = cli.main(["table", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_without_a_name_every_table_is_listed_and_with_a_paper_its_own(capsys):
    _, every, _ = call(capsys)
    assert "umt:k400" in every
    _, own, _ = call(capsys, "videomamba")
    assert "videomamba:scan_order" in own
    assert "umt:k400" not in own


def test_a_table_is_printed_in_the_format_asked_for(capsys):
    _, text, _ = call(capsys, "videomamba:lvu")
    assert "tiny_director" in text
    _, text, _ = call(capsys, "videomamba:lvu", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {it["row"]: it["top-1, %"] for it in rows}["tiny_director"] == "67.29"
    _, text, _ = call(capsys, "--suite", "ssv2", "--frames", 16, "--sort", "gflops", "--format", "md")
    first = text.splitlines().index("|---|---|---|---|--:|--:|--:|--:|--:|--:|") + 1
    assert text.splitlines()[first].startswith("| videomamba:ssv2:tiny_f16")


def test_results_stand_beside_the_printed_numbers(tmp_path, capsys):
    page = get_paper("videomamba").table("k400")
    Store(tmp_path).add(result(page.row("tiny_f8"), page, top1=(0.765, 0.76, 0.77)))
    status, text, _ = call(capsys, "videomamba:k400", "--measured", "--results", tmp_path)
    assert status == 0
    (line,) = [it for it in text.splitlines() if it.startswith("tiny_f8")]
    assert "76.50" in line
    assert "within interval" in line
    _, text, _ = call(capsys, "--suite", "k400", "--frames", 8, "--measured", "--results", tmp_path)
    assert "within interval" in text
    (tmp_path / "torn.json").write_text("{")
    status, text, error = call(capsys, "videomamba:k400", "--measured", "--results", tmp_path)
    assert status == 1
    assert "within interval" in text
    assert "torn.json" in error


def test_without_results_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, text, _ = call(capsys, "videomamba:k400", "--measured")
    assert status == 0
    assert "not measured" in text


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["videomanba"], "unknown paper 'videomanba'; did you mean 'videomamba'"),
        (["umt:k40"], "unknown table of umt 'k40'; did you mean 'k400'"),
        (["umt:"], "unknown table of umt ''"),
        (["umt", "--format", "htm"], "'html'"),
        (["umt:k400", "--suite", "k400"], "not both"),
        (["umt:k400", "--frames", "8", "--sort", "params"], "--frames and --sort: only with --suite"),
        (["umt:k400", "--results", "x"], "--results needs --measured"),
        (["umt", "--measured"], "--measured needs PAPER:TABLE or --suite"),
        (["umt:k400", "--measured", "--results", "nowhere"], "nowhere: there is no such folder"),
        (["--suite", "ssv3"], "'ssv2'"),
    ],
)
def test_what_cannot_be_is_told(words, why, capsys):
    status, _, error = call(capsys, *words)
    assert status == 2
    assert why in error


def test_an_empty_suite_is_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["table", "--suite", ""])
    assert "--suite: it is empty" in capsys.readouterr().err
