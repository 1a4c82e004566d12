import pytest
import torch

from backbones.ops.selective_scan import implementations, selective_scan, table
from backbones.ops.selective_scan.table import Row, choose


def test_a_misspelt_implementation_gets_the_closest_name(problem):
    with pytest.raises(ValueError, match=r"no implementation 'chunkd'.*did you mean 'chunked'"):
        selective_scan(problem()[0], implementation="chunkd")


def test_an_unlike_name_gets_all_names():
    with pytest.raises(ValueError, match=r"there are \['auto', 'chunked', 'reference'\]"):
        choose("zzz")


def test_auto_takes_the_first_available_row_and_others_say_why_not(monkeypatch):
    rows = {"absent": Row(None, False, "needs a GPU"), **implementations()}
    monkeypatch.setattr(table, "implementations", lambda: rows)
    assert choose("auto") is rows["chunked"].function
    with pytest.raises(ValueError, match="'absent' of the selective scan is not available: needs a GPU"):
        choose("absent")


@pytest.mark.parametrize("name", ["chunked", "reference"])
def test_every_row_is_available_and_says_what_it_needs(problem, name):
    row = implementations()[name]
    assert row.available
    assert "torch alone" in row.reason
    inputs, z = problem()
    torch.testing.assert_close(
        selective_scan(inputs, z, implementation=name), selective_scan(inputs, z, implementation="reference")
    )
