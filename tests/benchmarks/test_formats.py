import csv
import io

import pytest

from benchmarks import formats
from benchmarks.results import Interval
from benchmarks.table import Row
from tests.benchmarks.synthetic import interval_texts, story


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return story(tmp_path_factory.mktemp("formats")).table


def test_markdown_and_latex_hold_every_accuracy_with_its_interval(table):
    markdown, latex = formats.markdown(table), formats.latex(table)
    for cells in table.cells.values():
        for cell in cells.values():
            value, low, high = interval_texts(cell.accuracy)
            assert f"{value} ({low} to {high})" in markdown
            assert f"[{low}, {high}]" in latex
            assert value in latex


def test_markdown_has_equally_many_columns_in_all_lines(table):
    lines = [line for line in formats.markdown(table).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(table.cells)


def test_latex_marks_the_best_and_the_second_of_each_task_and_balances_its_braces(table):
    latex = formats.latex(table)
    assert latex.count("\\textbf{") == latex.count("\\underline{") == len(table.tasks)
    assert latex.count("{") == latex.count("}")
    assert "bag of frames" in latex
    best = max(
        (row for row in table.cells if not row.control), key=lambda row: table.cells[row]["motion"].accuracy.value
    )
    line = next(
        line
        for line in latex.splitlines()
        if formats.percent(table.cells[best]["motion"].accuracy.value) in line and "textbf" in line
    )
    assert line.startswith(best.system.replace("_", "\\_"))


def test_csv_reads_back_with_full_precision(table):
    lines = list(csv.DictReader(io.StringIO(formats.comma_separated(table))))
    assert len(lines) == sum(len(cells) for cells in table.cells.values())
    for line in lines:
        row = Row(line["system"], line["init"], line["control"] == "1")
        accuracy = table.cells[row][line["task"]].accuracy
        assert (float(line["accuracy"]), float(line["low"]), float(line["high"])) == accuracy
        assert line["file"].endswith(".json")


def test_controls_have_no_rank(table):
    assert formats.rank(table, Row("bag of frames", "random", True), "motion") is None
    ranks = [formats.rank(table, row, "motion") for row in table.cells if not row.control]
    assert min(ranks) == 1


def test_small_p_values_are_not_printed_as_zero():
    assert formats.p_words(1e-9) == "p < 0.001"
    assert formats.p_words(0.04) == "p = 0.040"


def test_shares_are_printed_in_percent_and_other_numbers_in_their_units():
    def said(name):
        return formats.number_words(name, Interval(0.25, 0.2, 0.3))

    assert said("top1") == "25.00 % (20.00 to 30.00)"
    assert (said("psnr"), said("ssim")) == ("0.25 dB", "0.25")
