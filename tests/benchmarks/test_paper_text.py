"""Papers' tables as sheets."""

import pytest

from benchmarks.measured import DIFFERS, measured
from benchmarks.paper_tables import METRICS, Conflict, Paper, Source, get_paper, papers
from benchmarks.paper_text import as_printed, listing, sheet_of
from benchmarks.sheets import plain_text
from tests.benchmarks.made_up_results import result, row, table
from tests.benchmarks.test_sheets import check_valid

SOURCES = {"one": Source(kind="paper", where="Table 1"), "two": Source(kind="script", where="run.sh")}


def paper(*tables, **changes):
    facts = {"name": "made", "title": "Made up", "reference": "arXiv 0", "code": "a/b", "sources": SOURCES}
    return Paper(**{**facts, "tables": {it.name: it for it in tables}, **changes})


def shown(page, ours=None, width=300):
    return plain_text(sheet_of(paper(page), page, ours), width)


def test_every_row_has_its_card_views_and_source():
    text = shown(table(row(system="Net-T", pretraining="IN-1K", frames=8, resolution=224)))
    for words in ("made:k400, K400", "suite: k400", "protocol: as_is", "source: Table 1 (paper)"):
        assert words in text
    (line,) = [it for it in text.splitlines() if it.startswith("tiny")]
    assert line.split() == [
        *("tiny", "Net-T", "IN-1K", "videomamba_tiny.k400_f8_res224", "8", "224", "4x3", "76.9", "not", "available"),
    ]


def test_sources_that_disagree_are_told_in_footnotes():
    conflicts = (
        Conflict(metric="top1", value=77.0, source="two", note="rounded"),
        Conflict(metric="views", value="4x1", source="two"),
    )
    of_all = (Conflict(metric="recipe", value="flips", source="two"),)
    text = shown(table(row(conflicts=conflicts, sources={"top1": "two"}), conflicts=of_all))
    assert "tiny¹" in text
    assert "76.9²,³" in text
    assert "¹ sources disagree, views: 4x1 in run.sh (script)\n" in text
    assert "² source: run.sh (script)\n" in text
    assert "³ sources disagree, top-1: 77.0 in run.sh (script); rounded\n" in text
    assert "⁴ all rows: sources disagree, recipe: flips in run.sh (script)\n" in text


def test_what_cannot_be_run_says_why():
    assert "reported only: no weights of it were released" in shown(table(row(card="")))
    text = shown(table(row(), suite="ava22"))
    assert text.count("reported only: AVA") == 1


def test_numbers_of_a_column_have_as_many_decimals():
    assert as_printed(62.5, "top1", [62.5, 57.14, None]) == "62.50"
    assert as_printed(28.0, "gflops_per_view", [28.0, 1.1]) == "28"
    assert as_printed(None, "top1", []) == "not available"


def test_our_number_stands_beside_the_printed_one_with_interval_and_verdict():
    line, other = row(), row(name="other")
    page = table(line, other)
    found = [result(line, page, top1=(0.765, 0.76, 0.77))]
    text = shown(page, lambda it, _: measured(it, page, found) if it is line else None)
    (told,) = [it for it in text.splitlines() if it.startswith("tiny")]
    assert told.endswith("19907/19907  within interval¹")
    assert told.split()[-9:-3] == ["76.9", "76.50", "76.00", "to", "77.00", "−0.40"]
    assert "¹ list of official lists" in text
    assert next(it for it in text.splitlines() if it.startswith("other")).endswith("not measured")


def test_a_row_without_the_headline_has_its_own_number_beside_ours():
    line, error = row(), row(name="error", values={"mse": 0.26})
    text = shown(table(line, error), lambda *_: None)
    assert "MSE" in text
    assert "0.26" in text


def test_a_result_of_other_views_says_so_and_an_empty_one_has_no_number():
    line = row()
    page = table(line)
    found = [result(line, page, clips=1, scored=0)]
    told = measured(line, page, found)
    told = told._replace(value=None, difference=None)
    text = shown(page, lambda *_: told)
    assert told.verdict == DIFFERS
    assert f"{DIFFERS}¹" in text
    assert "clips 1, not 4" in text
    (line_,) = [it for it in text.splitlines() if it.startswith("tiny")]
    assert line_.split()[-4:] == ["76.9", "0/19907", "protocol", "differs¹"]


def test_the_listing_counts_rows_and_what_can_be_run():
    pages = (table(row(), row(name="b", card="")), table(row(), name="ava", title="AVA", suite="ava22"))
    text = plain_text(listing([paper(*pages)]), 100)
    assert "Made up (arXiv 0; a/b)" in text
    lines = {it.split()[0]: it.split()[-2:] for it in text.splitlines() if it.startswith("made:")}
    assert lines == {"made:k400": ["2", "1"], "made:ava": ["1", "0¹"]}
    assert "Tables of papers" in plain_text(listing(list(papers().values())), 80)


def each_table():
    for one in papers().values():
        for page in one.tables.values():
            few = page.name == "ssv2"
            yield pytest.param(one.name, page.name, id=f"{one.name}:{page.name}", marks=() if few else pytest.mark.slow)


@pytest.mark.parametrize(("name", "page"), [*each_table()])
def test_every_table_is_valid_in_every_format_and_whole_at_every_width(name, page):
    one = get_paper(name)
    it = one.table(page)
    check_valid(made := sheet_of(one, it))
    for width in (80, 120):
        text = plain_text(made, width)
        assert max(map(len, text.splitlines())) <= width
        for line in it.rows:
            assert line.card in text
            for metric, value in line.values.items():
                printed = as_printed(value, metric, (other.values.get(metric) for other in it.rows))
                assert printed in text, (line.name, METRICS[metric])
