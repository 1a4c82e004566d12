import pytest

from benchmarks import paper_flops
from benchmarks.paper_flops import MULTIPLY_ADD, counted, gflops_of, key_of, known, needed


def test_every_count_that_a_row_needs_is_kept():
    assert {key_of(*one) for one in needed()} == set(known())


def test_what_is_kept_is_not_counted_and_anything_else_is(monkeypatch):
    monkeypatch.setattr(paper_flops, "counted", lambda *_: 6 * MULTIPLY_ADD)
    assert gflops_of("vjepa_large_16_224", 16, 224) == known()["vjepa_large_16_224 16x224"]
    assert gflops_of("vjepa_large_16_224", 16, 448) == 6


@pytest.mark.parametrize("one", [pytest.param(it, marks=pytest.mark.slow, id=key_of(*it)) for it in needed()])
def test_what_is_kept_is_what_is_counted(one):
    assert known()[key_of(*one)] == pytest.approx(counted(*one) / MULTIPLY_ADD, abs=1e-3)
