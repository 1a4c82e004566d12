import pytest

from benchmarks import cli
from benchmarks.results import Store
from tests.benchmarks.synthetic import TASKS, scored


def call(capsys, *words):
    status = cli.main(["report", *map(str, words)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_page_that_cannot_be_written_is_told_before_the_work(tmp_path, capsys):
    status, _, err = call(capsys, "--all", "--out", tmp_path)
    assert (status, "this is a folder; name a file, such as" in err) == (2, True)
    (tmp_path / "file").touch()
    status, _, err = call(capsys, "--all", "--out", tmp_path / "file" / "page.html")
    assert (status, "give a folder that can be written to" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give either the folder of a comparison or --all"),
        (["runs/compare", "--all"], "give either"),
        (["runs/compare", "--out", "x.html"], "--out belongs to --all"),
        (["runs/compare", "--results", "x"], "--results belongs to --all"),
        (["--all", "--results", "no/such"], "no/such: there is no such folder"),
    ],
)
def test_options_that_do_not_go_together_are_told(words, why, capsys):
    status, _, err = call(capsys, *words)
    assert status == 2
    assert why in err


def test_the_leaderboard_names_files_that_are_no_results_and_is_written_all_the_same(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.paper_tables.papers", dict)
    store = Store(tmp_path / "results")
    scored(store, TASKS[0], "vit_pico", "mae", 0, 0.9, control=False)
    (store.folder / "torn.json").write_text("{")
    out = tmp_path / "new" / "board.html"
    status, said, err = call(capsys, "--all", "--results", store.folder, "--out", out)
    assert (status, said.strip()) == (1, str(out))
    assert "torn.json: not a whole JSON file: " in err
    assert "vit_pico" in out.read_text()


def test_without_results_the_leaderboard_has_the_printed_numbers_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.paper_tables.papers", dict)
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "--all")[0] == 0
    assert "0 printed numbers of 0 papers" in (tmp_path / "runs" / "leaderboard.html").read_text()
