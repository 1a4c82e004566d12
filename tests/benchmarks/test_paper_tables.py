"""Tables of papers as data."""

import functools
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.evaluation import AS_IS, EVALUATIONS
from benchmarks.lvmae_report import NAME as LVMAE_MEMORY
from benchmarks.paper_costs import FIGURES
from benchmarks.paper_rows import why_not
from benchmarks.paper_tables import (
    EFFICIENCY,
    MEASURED,
    METRICS,
    REPORTED_ONLY,
    PaperError,
    Row,
    Table,
    get_paper,
    papers,
    read_paper,
)
from benchmarks.suites.table import SUITES, get_suite
from tests.zoo.cards import facts
from zoo.card import Card
from zoo.registry import released
from zoo.suggest import UnknownNameError

ALL_REPORTED_ONLY = {
    *("ava22", "detection"),
    *("msrvtt", "didemo", "activitynet", "lsmdc", "msvd", "ssv2-label", "ssv2-template"),
    *("activitynet-qa", "msrvtt-qa", "msrvtt-mc", "msvd-qa"),
    *("zero_shot_retrieval", "fine_tuned_retrieval", "question_answering"),
    *("average", "coco", "howto100m", "inat21", "jester", "mcl_jcv", "mvp", "places205", "pretraining_cost"),
    *("robot_arm", "tempcompass", "anticipation_probe", "compression", "cost", "generation", "planning"),
    *("reconstruction", "token_inputs", "token_targets"),
}
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
DISAGREED = 'conflicts = [{ metric = "views", value = "4x3", source = "one" }]\n'


def _read(tmp_path, text):
    file = tmp_path / "paper.toml"
    file.write_text(text)
    return read_paper(file)


def test_a_number_that_could_not_be_recovered_is_none(tmp_path):
    row = _read(tmp_path, SMALLEST).table("main").row("small")
    assert row.values == {"top1": 76.9, "top5": None}


def test_sources_may_disagree_about_a_number_a_field_and_all_rows(tmp_path):
    text = SMALLEST.replace('source = "one"\n[[', 'source = "one"\n' + DISAGREED + "[[")
    numbers = 'conflicts = [{ metric = "top1", value = 77.0, source = "one", note = "rounded" }]\n'
    table = _read(tmp_path, text + numbers).table("main")
    found = table.conflicts_of(table.row("small"))
    assert [(it.metric, it.value) for it in found] == [("top1", 77.0), ("views", "4x3")]
    assert table.headline(table.row("small")) == "top1"


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
        ('system = "Net-S"', 'system = "Net-S"\nviews = "4"', "row 'small': views '4' must be clips x crops"),
        ('metric = "top1"', 'metric = "top1"\nviews = "3 x 4"', "table 'main': views '3 x 4' must be clips x crops"),
        ('values = {', 'sources = { mse = "one" }\nvalues = {', "mse has a source or a conflict and no value"),
        ('values = {', DISAGREED.replace("views", "view") + 'values = {', "unknown metric 'view'; closest: views"),
        ('values = {', DISAGREED.replace("views", "mse") + 'values = {', "mse has a source or a conflict and no value"),
        ('values = {', DISAGREED.replace("one", "two") + 'values = {', "row 'small': unknown source 'two'"),
        ('[[', DISAGREED.replace("views", "top1") + '[[', "table 'main': unknown field of a conflict 'top1'"),
        ("[tables.main]", "[tables.main", "paper.toml: "),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path, old, new, why):
    assert old in SMALLEST
    with pytest.raises(PaperError, match=why):
        _read(tmp_path, SMALLEST.replace(old, new, 1))


def test_a_misspelt_name_gets_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'videomamba'"):
        get_paper("videomanba")
    with pytest.raises(UnknownNameError, match="did you mean 'k400'"):
        get_paper("umt").table("k40")
    with pytest.raises(UnknownNameError, match="'tiny_f16'"):
        get_paper("videomamba").table("k400").row("tiny_16")


class Cell(NamedTuple):
    """A row in its table."""

    place: str
    table: Table
    row: Row

    def printed(self, metric: str) -> set[float | str | None]:
        """Every value that somebody prints for a number."""
        others = {it.value for it in self.row.conflicts if it.metric == metric}
        return others | ({self.row.values[metric]} if metric in self.row.values else set())


def rows(paper: str = "") -> Iterator[Cell]:
    for one in papers().values():
        for table in one.tables.values():
            for row in table.rows:
                if paper in ("", one.name):
                    yield Cell(f"{one.name}:{table.name}:{row.name}", table, row)


@functools.cache
def about() -> dict[str, list[Cell]]:
    """Released file -> the rows about it, about a head on it, or about a training that began from it."""
    cards, found = released(), defaultdict(list)
    for cell in rows():
        names = {cell.row.card, cell.row.start} - {""}
        for name in names | {cards[it].backbone for it in names}:
            found[name].append(cell)
    return found


def test_exactly_these_suites_and_protocols_are_reported_only():
    assert set(REPORTED_ONLY) == ALL_REPORTED_ONLY
    assert all(reason and not reason.endswith(".") for reason in REPORTED_ONLY.values())
    used = {name for one in papers().values() for it in one.tables.values() for name in (it.suite, it.protocol)}
    assert used >= ALL_REPORTED_ONLY
    assert not ALL_REPORTED_ONLY & {*SUITES, *EVALUATIONS}


@pytest.mark.parametrize("paper", papers())
def test_every_other_suite_task_list_protocol_and_card_exists(paper):
    weights = {*released(), ""}
    for place, table, row in rows(paper):
        assert table.protocol in {*EVALUATIONS, *REPORTED_ONLY, EFFICIENCY}, place
        assert {row.card, row.start} <= weights, place
        if table.protocol == EFFICIENCY:
            assert f"{paper}:{table.name}" in {*FIGURES, LVMAE_MEMORY}, place
        elif table.suite not in REPORTED_ONLY:
            suite = get_suite(table.suite)
            assert table.split in {*suite.splits, ""}, place
            assert table.task_of(row) in {*(task.name for task in suite.tasks), ""}, place


@pytest.mark.parametrize("paper", papers())
def test_rows_that_can_be_run_have_the_clips_of_their_card_and_a_number_that_we_measure(paper):
    cards = released()
    for place, table, row in rows(paper):
        if why_not(row, table) or table.protocol == EFFICIENCY:
            continue
        clip = cards[row.card].clip
        assert table.headline(row) in MEASURED, place
        assert (row.frames or clip.num_frames) == clip.num_frames, place
        assert (row.resolution or clip.img_size) == clip.img_size, place
        said = table.views_of(row)
        # Views of a trained head are the table's own: one backbone is evaluated on many suites.
        if table.protocol == AS_IS:
            assert said in ("", f"{clip.clips}x{clip.crops}") or "views" in {it.metric for it in row.conflicts}, place


@pytest.mark.parametrize("paper", papers())
def test_every_source_is_used_and_every_conflict_is_one(paper):
    one = papers()[paper]
    used = {table.source for table in one.tables.values()}
    for place, table, row in rows(paper):
        used |= {*row.sources.values(), *(it.source for it in table.conflicts_of(row))}
        for conflict in row.conflicts:
            said = row.values.get(conflict.metric, getattr(row, conflict.metric, None))
            assert conflict.value != said, place
        for metric, value in row.values.items():
            assert value is None or METRICS[metric].unit != "%" or 0 <= value <= 100, place
    assert used == set(one.sources)


# What cards and the registry call otherwise than the tables do.
DATA = {"mitv1": "mit"}
WORDS = {"GFLOPs": "gflops_per_view", "mAP": "map", "top": "top1", "recall": "recall5", "rFID": "rfid", "rFVD": "rfvd"}
JEPA = {"ek100_recall5": "ek100", "ek100_action_recall5": "ek100", "verb": "ek100", "noun": "ek100"}


def metric_of(words: str) -> str:
    """A metric of a card in the tables' words, such as "t2v_r5" for "zero-shot t2v R@5"."""
    if rank := re.search(r"([tv]2[tv]) R@([0-9]+)", words):
        return f"{rank[1]}_r{rank[2]}"
    if "accuracy" in words:
        return "answers"
    first = re.split(r"[ ,@-]", words)[0]
    return WORDS.get(first, first.lower())


def missing(card: Card, dataset: str, words: str, value: float) -> bool:
    """Whether no row about these weights prints the number."""
    suite, metric = DATA.get(dataset, dataset).partition(" ")[0], metric_of(words)
    ranks = "zero_shot_retrieval" if words.startswith("zero-shot") else "fine_tuned_retrieval"
    return not any(
        cell.table.suite.startswith(suite)
        and ("R@" not in words or cell.table.protocol == ranks)
        and value in cell.printed(metric)
        # A file that was converted for transformers holds the weights of another, and may have rows of its own.
        for cell in about()[card.name] + about()[card.name.removesuffix("_hf")]
    )


def test_every_number_of_a_card_is_in_a_table():
    assert [
        (card.name, *number[:3])
        for card in released().values()
        for number in card.reported
        if missing(card, *number[:3])
    ] == []


def test_every_number_of_the_registry_is_in_a_table():
    numbers = [(name, *number) for name, it in facts.entries().items() for number in facts.of_entry(it).numbers]
    file = Path(os.environ["ZOO_FIXTURES"]).parent / "registry" / "registry-vjepa.json"
    for entry in json.loads(file.read_text())["entries"]:
        found = {**entry["metrics"], **({"ava": entry["ava_map"]} if "ava_map" in entry else {})}
        for name, value in found.items():
            words = "mAP" if name == "ava" else "recall" if name in JEPA else "top1"
            numbers.append((entry["name"], JEPA.get(name, name), words, value))
    assert len(numbers) > 500
    cards = released()
    assert [it for it in numbers if missing(cards[it[0]], *it[1:])] == []
