from dataclasses import replace

import pytest

from benchmarks.formats import latex, markdown
from benchmarks.results import Result, digest
from benchmarks.session import RequestError
from benchmarks.side_by_side import Stored, side_by_side
from benchmarks.table import start_words
from tests.benchmarks.synthetic import story


def stored_of(told):
    return [Stored(result, told.store) for result in told.results]


def changed(result: Result, **settings: object) -> Result:
    """The result of a run with other settings."""
    settings = {**result.settings, **settings}
    return replace(result, settings=settings, identity=replace(result.identity, settings_hash=digest(settings)))


def test_results_of_two_folders_stand_in_one_table(tmp_path):
    first, second = story(tmp_path / "a", systems=("a",)), story(tmp_path / "b", systems=("b",))
    (table,) = side_by_side([*stored_of(first), *stored_of(second)]).tables
    assert table.systems == ["a", "b"]
    for told in (first, second):
        for row, cells in told.table.cells.items():
            assert {task: cell.per_seed for task, cell in table.cells[row].items()} == {
                task: cell.per_seed for task, cell in cells.items()
            }


def test_results_that_were_not_measured_alike_share_no_column(tmp_path):
    told = story(tmp_path, systems=("a",))
    odd = next(one for one in told.results if one.identity.kind == "evaluate")
    other = changed(replace(odd, identity=replace(odd.identity, system="b")), protocol={"steps": 9})
    with pytest.raises(
        RequestError, match=r"digits: task '.*' would mix .* chosen with --task, --protocol or --system"
    ):
        side_by_side([*stored_of(told), Stored(other, told.store)])


def test_what_is_no_score_of_classes_over_a_whole_list_is_left_out_with_a_reason(tmp_path):
    told = story(tmp_path, systems=("a",))
    one = next(one for one in told.results if one.identity.kind == "evaluate")
    parts = [changed(one, limit=3), changed(one, metric="mse"), replace(changed(one, metric="top5"), arrays={})]
    found = side_by_side([Stored(result, told.store) for result in (*parts, *told.results)])
    said = [line.partition(": ")[2] for line in found.left_out]
    assert said[:3] == [
        "only a part of the list was scored (--limit)",
        "values, not classes",
        "it keeps no predictions",
    ]
    assert sorted(said[3:]) == ["a cost run has no score", "a pretrain run has no score"]
    assert found.tables[0].systems == ["a"]


def test_of_equal_runs_the_first_counts(tmp_path):
    told = story(tmp_path, systems=("a",))
    again = [Stored(replace(result, commit="later"), told.store) for result in told.results]
    (table,) = side_by_side([*stored_of(told), *again]).tables
    commits = {one.commit for cells in table.cells.values() for cell in cells.values() for one in cell.results}
    assert commits == {"abc123"}


def test_weights_of_a_file_are_called_by_their_hash():
    assert start_words("weights-0123456789ab") == "weights 0123456789ab"
    assert start_words("mae") == "MAE pretraining"


def test_every_suite_has_a_table_of_its_own(tmp_path):
    told = story(tmp_path, systems=("a",))
    one = next(one for one in told.results if one.identity.kind == "evaluate")
    other = replace(one, identity=replace(one.identity, suite="digits_smoke"))
    tables = side_by_side([Stored(other, told.store), Stored(one, told.store)]).tables
    results = [[one for cells in it.cells.values() for cell in cells.values() for one in cell.results] for it in tables]
    assert [{one.identity.suite for one in each} for each in results] == [{"digits"}, {"digits_smoke"}]


def test_a_tolerated_score_is_shown_with_a_mark_and_the_number_of_videos_it_lacks(tmp_path):
    told = story(tmp_path, systems=("a",))
    one = next(one for one in told.results if one.identity.kind == "evaluate")
    broken = replace(one, n_evaluated=one.n_expected - 2, failed=["x.mp4: cut short", "y.mp4: cut short"])
    name = f"a, {start_words(one.identity.init)} on {one.identity.task}"
    for tolerated, shown in ((1, False), (2, True)):
        result = replace(broken, details={**one.details, "tolerated": tolerated})
        (table,) = side_by_side([Stored(result, told.store)]).tables
        assert ("incomplete: 2 failed" in markdown(table)) != shown
        assert (f"tolerate: {name} 2 of {one.n_expected}." in markdown(table)) == shown
        assert (")†" in markdown(table)) == shown
        assert ("$^\\dagger$" in latex(table)) == shown
        assert ("incomplete" in latex(table)) != shown
    (table,) = side_by_side([Stored(one, told.store)]).tables
    assert "†" not in markdown(table)
