import pytest

from benchmarks import cross
from benchmarks.results import RANDOM
from benchmarks.table import Row
from tests.benchmarks.synthetic import story

SYSTEMS = ("vit_pico", "hf_videomae_pico")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return story(tmp_path_factory.mktemp("cross"), systems=SYSTEMS, objectives=("mae", "vjepa"), seeds=(0, 1)).table


def test_every_backbone_stands_under_every_start_with_the_accuracy_of_its_row(table):
    for task in table.tasks:
        entries = cross.cross(table, task)
        assert list(entries) == list(SYSTEMS)
        for system, starts in entries.items():
            assert list(starts) == [RANDOM, "mae", "vjepa"]
            for init, entry in starts.items():
                cell = table.cells[Row(system, init, False)][task.name]
                assert entry.accuracy == cell.accuracy
                assert entry.seeds == (min(cell.per_seed.values()), max(cell.per_seed.values()))


def test_arrows_stand_where_a_paired_test_shows_a_difference_to_the_twin(table):
    for task in table.tasks:
        for system, starts in cross.cross(table, task).items():
            assert starts[RANDOM].gain == 0
            gain = table.gains[Row(system, "mae", False)][task.name]
            sign = 0 if gain.p_value >= 0.05 else 1 if gain.difference.value > 0 else -1
            assert starts["mae"].gain == sign


def test_a_cell_that_was_not_run_says_why(tmp_path):
    table = story(tmp_path, systems=("vit_pico",), objectives=("mae", "vjepa")).table
    whole = story(tmp_path / "other", systems=("hf_videomae_pico",), objectives=()).table
    merged = {**table.cells, **{row: cells for row, cells in whole.cells.items() if not row.control}}
    crossed = cross.cross(type(table)(**{**vars(table), "cells": merged}), table.tasks[0])
    assert "computes every token" in crossed["hf_videomae_pico"]["mae"].note
    assert crossed["hf_videomae_pico"][RANDOM].accuracy is not None


def test_one_objective_per_backbone_is_no_cross_table(table, tmp_path):
    assert cross.is_worthwhile(table)
    assert not cross.is_worthwhile(story(tmp_path, systems=SYSTEMS).table)


def test_the_best_start_of_a_backbone_is_bold_and_seeds_show_their_spread(table):
    text = cross.markdown(table)
    assert text.count("**") == 2 * len(SYSTEMS) * len(table.tasks)
    assert "| Backbone | random | MAE | V-JEPA |" in text
