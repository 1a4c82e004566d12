import json

import numpy as np
import pytest
import torch

from benchmarks import cli
from benchmarks.results import Store
from benchmarks.suites import table
from tests.benchmarks.tiny_files import SUITE, write_files


def call(capsys, *words):
    status = cli.main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two results: class scores of two clips, and values."""
    table.SUITES[SUITE.name] = SUITE
    folder = tmp_path_factory.mktemp("results")
    videos = write_files(folder / "videos")
    for task in ("shade", "level"):
        words = ["eval", "vit_pico", "--suite", "tiny_files", "--data", str(videos), "--accelerator", "cpu"]
        assert cli.main([*words, "--task", task, "--clips", "2", "--out", str(folder / "out")]) == 0
    del table.SUITES[SUITE.name]
    return folder / "out"


def test_results_are_listed_and_filtered(measured, capsys):
    status, out, _ = call(capsys, "results", measured)
    assert status == 0
    assert "shade" in out
    assert "level" in out
    assert "20/20" in out
    status, out, _ = call(capsys, "results", measured, "--task", "level", "--json")
    (only,) = json.loads(out)
    assert only["identity"]["task"] == "level"


def test_newer_results_come_first(measured, tmp_path, capsys):
    for file in measured.glob("*.json"):
        told = json.loads(file.read_text())
        told["created"] = "2030" if told["identity"]["task"] == "shade" else "2020"
        (tmp_path / file.name).write_text(json.dumps({**told, "arrays": {}}))
    _, out, _ = call(capsys, "results", tmp_path, "--json")
    assert [one["created"] for one in json.loads(out)] == ["2030", "2020"]


def test_files_that_are_no_results_are_named(measured, tmp_path, capsys):
    (tmp_path / "torn.json").write_text("{")
    status, _, err = call(capsys, "results", tmp_path)
    assert status == 1
    assert "torn.json" in err


def test_stored_scores_are_merged_again_by_another_rule(measured, capsys):
    result = next(one for one in Store(measured).results() if one.identity.task == "shade")
    stored = Store(measured).arrays(result, "views")
    logits = torch.from_numpy(stored["scores"]).unflatten(0, (20, 2))
    (file,) = [path for path in measured.glob("*.json") if "shade" in path.name]
    labels = np.arange(20) % 2
    for rule, merged in (("mean-of-softmax", logits.softmax(2).mean(1)), ("mean-of-logits", logits.mean(1))):
        status, out, _ = call(capsys, "results", "--recompute", file, "--merge", rule, "--json")
        assert status == 0
        assert json.loads(out)["metrics"]["top1"][0] == pytest.approx((merged.argmax(1).numpy() == labels).mean())
    _, out, _ = call(capsys, "results", "--recompute", file, "--json")
    assert json.loads(out)["metrics"] == {name: list(it) for name, it in result.metrics.items()}


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ("segments-attended", "asks the network"),
        ("mean", "cannot be merged by 'mean'"),
        ("median", "unknown merge"),
    ],
)
def test_rules_that_need_more_than_scores_are_refused(measured, capsys, rule, hint):
    (file,) = [path for path in measured.glob("*.json") if "shade" in path.name]
    status, _, err = call(capsys, "results", "--recompute", file, "--merge", rule)
    assert status == 2
    assert hint in err


def test_folders_and_files_that_are_not_there_are_named(tmp_path, capsys):
    for words in (["results", tmp_path / "none"], ["results", "--recompute", tmp_path / "none.json"]):
        status, _, err = call(capsys, *words)
        assert status == 2
        assert "none" in err
    assert call(capsys, "results", tmp_path, "--merge", "mean")[0] == 2


def test_results_stand_side_by_side_and_values_are_left_out_by_name(measured, capsys, monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)
    status, out, err = call(capsys, "results", measured, "--side-by-side", "markdown")
    assert status == 0
    assert "| shade (chance 50) |" in out
    assert "| vit_pico | random weights |" in out
    assert "level" in err
    assert "values, not classes" in err
    status, _, err = call(capsys, "results", measured, "--side-by-side", "markdwn")
    assert status == 2
    assert "'markdown'" in err


def test_a_filter_that_fits_nothing_is_told_what_there_is(measured, capsys):
    status, _, err = call(capsys, "results", measured, "--task", "lewel")
    assert status == 2
    assert "unknown task among these results 'lewel'" in err
    assert "'level'" in err
