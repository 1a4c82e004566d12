"""Tables of papers as data."""

import pytest

from benchmarks.paper_tables import PaperError, papers, read_paper

SMALLEST = """
title = "A paper"
reference = "arXiv 0"
code = "a/b"
[sources.one]
kind = "paper"
where = "Table 1"
[tables.main]
title = "Main"
suite = "k400"
protocol = "as_is"
metric = "top1"
source = "one"
[[tables.main.rows]]
name = "small"
system = "Net-S"
values = { top1 = 76.9, top5 = "not available" }
"""


def _read(tmp_path, text):
    file = tmp_path / "paper.toml"
    file.write_text(text)
    return read_paper(file)


def test_a_number_that_could_not_be_recovered_is_none(tmp_path):
    row = _read(tmp_path, SMALLEST).table("main").row("small")
    assert row.values == {"top1": 76.9, "top5": None}


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("76.9", '"about 77"', "row 'small', top1: 'about 77' is neither a number nor 'not available'"),
        ("top1 = 76.9", "top11 = 76.9", "row 'small': unknown metric 'top11'; closest: top1"),
        ('source = "one"', 'source = "two"', "table 'main': unknown source 'two'; closest: one"),
        ('kind = "paper"', 'kind = "rumour"', "kind 'rumour' is none of paper"),
        ('system = "Net-S"', 'sytem = "Net-S"', "row 'small': unknown field 'sytem'; closest: system"),
        ('system = "Net-S"', "system = 3", "row 'small': system must be of type str, not 3"),
        ('system = "Net-S"', "", "row 'small': .*system"),
        ('values = {', 'sources = { mse = "one" }\nvalues = {', "mse has a source or a conflict and no value"),
        ("[tables.main]", "[tables.main", "paper.toml: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path, old, new, why):
    assert old in SMALLEST
    with pytest.raises(PaperError, match=why):
        _read(tmp_path, SMALLEST.replace(old, new, 1))


def test_every_file_can_be_read():
    assert "videomamba" in papers()
