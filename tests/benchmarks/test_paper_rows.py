"""Rows of papers' tables beside what the zoo knows of their weights."""

import pytest

from benchmarks.paper_flops import gflops_of
from benchmarks.paper_rows import licence, num_views, parameters, total_gflops, why_not
from benchmarks.paper_tables import EFFICIENCY
from tests.benchmarks.made_up_results import row, table


@pytest.mark.parametrize(
    ("changes", "page", "why"),
    [
        ({}, {}, ""),
        ({"card": ""}, {}, "no weights of it were released"),
        ({"card": "", "ours": False}, {}, "it is quoted from elsewhere, without weights that the zoo knows"),
        ({"card": ""}, {"suite": "", "protocol": EFFICIENCY}, ""),
    ],
)
def test_a_row_that_cannot_be_run_says_why(changes, page, why):
    assert why_not(row(**changes), table(**page)) == why


def test_weights_without_a_network_and_suites_we_lack_say_so():
    assert "multimodal network" in why_not(row(card="videomamba_middle_mm.5m_f8_res224"), table())
    assert "no detector head" in why_not(row(), table(suite="ava22"))
    assert "no text encoder" in why_not(row(), table(protocol="question_answering"))


def test_a_row_on_other_clips_than_those_of_its_weights_says_so():
    assert why_not(row(frames=16), table()) == (
        "it was evaluated on clips of 16 frames of 224 px, and `zoo eval` takes those of its weights, 8 of 224 px"
    )
    assert "8 frames of 384 px" in why_not(row(resolution=384), table())
    assert why_not(row(frames=0, resolution=224), table()) == ""


def test_costs_of_all_views_are_those_of_one_times_their_number():
    line = row(values={"gflops_per_view": 9})
    assert num_views(line, table()) == 12
    assert total_gflops(line, table()) == (108, True)
    assert total_gflops(line, table(views="")) == (None, False)
    assert total_gflops(row(card="", recipe=""), table()) == (None, False)


def test_costs_that_nobody_prints_are_counted_at_the_clips_of_the_row():
    large = row(card="vjepa_large_16_224.videomix2m")
    total, printed = total_gflops(large, table())
    assert (total, printed) == (pytest.approx(12 * 596.833), False)
    longer = row(card="vjepa2_large_16_256.videomix22m", frames=32)
    assert total_gflops(longer, table())[0] == pytest.approx(12 * 2068.027)
    untold = row(card="", recipe="timesformer_base.k400_f8_res224")
    assert total_gflops(untold, table())[0] == pytest.approx(12 * gflops_of("timesformer_base", 8, 224))


def test_parameters_are_printed_or_counted_and_the_licence_is_that_of_the_weights():
    assert parameters(row(values={"params_m": 7}), table()) == (7, True)
    number, printed = parameters(row(), table())
    assert not printed
    assert number == pytest.approx(7.0, abs=0.1)
    assert parameters(row(card=""), table()) == (None, False)
    assert licence(row()).startswith("Apache-2.0")
    assert licence(row(card="")) == ""
