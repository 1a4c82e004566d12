"""Rows of several papers side by side."""

import pytest

from benchmarks.comparable import commonest, in_order, lines_of, side_by_side
from benchmarks.paper_tables import papers
from benchmarks.session import RequestError
from benchmarks.sheets import plain_text
from tests.benchmarks.made_up_results import row, table
from tests.benchmarks.test_paper_text import paper
from tests.benchmarks.test_sheets import check_valid
from zoo.suggest import UnknownNameError


def rows_of_two_papers():
    """Three rows of the usual protocol, one of other views, one that does not say, one without a number."""
    usual = [
        row(name="small", values={"top1": 70.0, "params_m": 7, "gflops_per_view": 9}, frames=8),
        row(name="large", values={"top1": 80.0, "params_m": 70, "gflops_per_view": 90}, frames=16),
        row(name="counted", values={"top1": 75.0}, frames=8),
    ]
    first = paper(table(*usual, row(name="one_view", values={"top1": 90.0}, views="1x1", frames=8)), name="first")
    silent = row(name="silent", values={"top1": 60.0}, card="")
    second = paper(table(silent, row(name="lost", values={"top1": None}), views=""), name="second")
    return [first, second]


def names(lines):
    return [it.row.name for it in lines]


def test_the_best_number_or_the_smallest_system_comes_first_and_what_is_not_known_last():
    lines = lines_of(rows_of_two_papers(), "k400")
    assert names(in_order(lines, "reported")) == ["one_view", "large", "counted", "small", "silent", "lost"]
    assert names(in_order(lines, "gflops"))[:3] == ["one_view", "small", "counted"]
    assert names(in_order(lines, "params"))[-2:] == ["large", "silent"]
    with pytest.raises(UnknownNameError, match=r"'param'.*'params'"):
        in_order(lines, "param")


def test_of_errors_the_smallest_comes_first():
    page = table(*(row(name=str(it), values={"mse": it}) for it in (2.9, 0.26)), metric="mse")
    assert names(in_order(lines_of([paper(page)], "k400"), "reported")) == ["0.26", "2.9"]


def test_the_commonest_metric_comes_first():
    others = (row(name=name, values={"mse": value}) for name, value in (("low", 0.2), ("high", 0.3)))
    page = table(*others, *(row(name=str(it)) for it in range(3)))
    assert names(in_order(lines_of([paper(page)], "k400"), "reported")) == ["0", "1", "2", "low", "high"]


def test_a_number_that_a_paper_prints_twice_takes_one_line_and_one_of_another_row_its_own():
    lines = lines_of([paper(table(row(), row(name="other", frames=8)), table(row(), name="again"))], "k400")
    made = side_by_side(lines, title="")
    assert [it[0].text for it in made.rows] == ["made:k400:tiny", "made:k400:other"]
    assert "printed in made:again:tiny too" in made.notes
    lost = table(row(name="a", values={"top1": None}), row(name="b", values={"top1": None}))
    assert len(side_by_side(lines_of([paper(lost)], "k400"), title="").rows) == 2


def test_numbers_have_the_decimals_of_their_own_table():
    exact = table(row(values={"top1": 84.35}), row(name="round", values={"top1": 84.5}))
    pages = (exact, table(row(values={"top1": 90.6}), name="b"))
    made = side_by_side(lines_of([paper(*pages)], "k400"), title="")
    assert [it[-1].text for it in made.rows] == ["84.35", "84.50", "90.6"]


def test_rows_of_another_protocol_are_marked_and_not_hidden():
    lines = lines_of(rows_of_two_papers(), "k400")
    assert commonest(lines)["views"] == "4x3"
    # Many who say nothing are no majority.
    assert commonest([*lines, *lines[4:] * 5])["views"] == "4x3"
    assert commonest(lines[4:])["views"] == "not said"
    made = side_by_side(lines, title="k400")
    check_valid(made)
    assert [line[0].text for line in made.rows] == [
        *("first:k400:small", "first:k400:large", "first:k400:counted", "≠ first:k400:one_view"),
        *("≠ second:k400:silent", "≠ second:k400:lost"),
    ]
    text = plain_text(made, 200)
    assert "≠ views 1x1" in text
    assert "≠ views not said" in text
    assert "Not marked with ≠: training finetune, metric top-1, list test list, views 4x3" in text


def test_a_head_on_a_frozen_network_is_another_protocol_than_fine_tuning():
    page = table(row(), row(name="probe", card="vjepa_large_16_224.videomix2m_probe_k400"))
    _, probe = lines_of([paper(page, table(row(), name="b", protocol="linear"))], "k400")[:2]
    assert probe.training == "attentive"
    text = plain_text(side_by_side(lines_of([paper(page)], "k400"), title="t"), 200)
    assert "≠ training attentive" in text


def test_few_videos_are_another_protocol_than_more_of_them():
    pages = [table(row(), name=f"few{share}", protocol="low_shot", share=share) for share in (0.05, 0.1)]
    made = side_by_side(lines_of([paper(*pages)], "k400"), title="t")
    assert [it[0].text for it in made.rows] == ["made:few0.05:tiny", "≠ made:few0.1:tiny"]
    assert "≠ training low_shot 10 %" in made.notes


def test_equal_numbers_of_two_tasks_are_two_lines():
    page = table(row(task="scene"), row(name="again", task="year"), suite="lvu")
    assert len(side_by_side(lines_of([paper(page)], "lvu"), title="t").rows) == 2


def test_costs_are_of_all_views_and_counted_parameters_are_told_from_printed_ones():
    lines = lines_of(rows_of_two_papers(), "k400", frames=8)
    assert names(lines) == ["small", "counted", "one_view"]
    small, counted, _ = side_by_side(lines, title="").rows
    assert [it.text for it in small[7:9]] == ["7", "108"]
    assert not small[7].marks
    assert counted[7].marks
    assert (counted[8].text, counted[8].marks) == ("148.53", counted[7].marks)
    assert not small[8].marks


def test_what_is_not_there_is_named_with_the_closest():
    found = list(papers().values())
    with pytest.raises(UnknownNameError, match=r"'ssv3'.*'ssv2'"):
        lines_of(found, "ssv3")
    with pytest.raises(UnknownNameError, match=r"'scenes'.*'scene'"):
        lines_of(found, "lvu", task="scenes")
    with pytest.raises(RequestError, match="no row on coin has clips of 8 frames; there are 32, 64"):
        lines_of(found, "coin", 8)


def test_questions_of_a_suite_have_a_column_and_can_be_asked_for_alone():
    found = list(papers().values())
    made = side_by_side(lines_of(found, "lvu"), title="lvu")
    assert "task" in [it.heading for it in made.columns]
    assert {it.table.task_of(it.row) for it in lines_of(found, "lvu", task="year")} == {"year"}
