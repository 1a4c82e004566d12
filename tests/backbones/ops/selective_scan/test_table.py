import pytest
import torch

from backbones.ops.selective_scan import fused, implementations, selective_scan, table
from backbones.ops.selective_scan.table import Row, choose


def test_a_misspelt_implementation_gets_the_closest_name(problem):
    with pytest.raises(ValueError, match=r"no implementation 'chunkd'.*did you mean 'chunked'"):
        selective_scan(problem()[0], implementation="chunkd")


def test_an_unlike_name_gets_all_names():
    with pytest.raises(ValueError, match=r"there are \['auto', 'triton', 'chunked', 'mamba_ssm', 'reference'\]"):
        choose("zzz")


def test_auto_takes_the_first_available_row_and_others_say_why_not(monkeypatch):
    rows = {"absent": Row(None, False, "needs a GPU"), "chunked": implementations()["chunked"]}
    monkeypatch.setattr(table, "implementations", lambda: rows)
    assert choose("auto") is rows["chunked"].function
    with pytest.raises(ValueError, match="'absent' of the selective scan is not available: needs a GPU"):
        choose("absent")


def test_auto_passes_over_a_row_that_does_not_take_the_input(monkeypatch):
    rows = {"picky": Row(implementations()["reference"].function, True, "", lambda u: u.dtype == torch.float16)}
    rows |= {"chunked": implementations()["chunked"]}
    monkeypatch.setattr(table, "implementations", lambda: rows)
    assert choose("auto", torch.zeros(1)) is rows["chunked"].function
    assert choose("auto", torch.zeros(1, dtype=torch.float16)) is rows["picky"].function


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, which is what a choice looks at."""

    is_cuda = True


def test_auto_prefers_triton_on_a_gpu_and_never_elsewhere_or_in_double_precision(monkeypatch):
    monkeypatch.setattr(fused, "unusable", lambda: None)
    found = [
        choose("auto", u)
        for u in (
            torch.zeros(1, dtype=torch.bfloat16).as_subclass(OnGpu),
            torch.zeros(1, dtype=torch.float64).as_subclass(OnGpu),
            torch.zeros(1),
        )
    ]
    rows = implementations()
    assert found == [rows[name].function for name in ("triton", "chunked", "chunked")]


@pytest.mark.parametrize("name", ["chunked", "reference"])
def test_every_row_is_available_and_says_what_it_needs(problem, name):
    row = implementations()[name]
    assert row.available
    assert "torch alone" in row.reason
    inputs, z = problem()
    torch.testing.assert_close(
        selective_scan(inputs, z, implementation=name), selective_scan(inputs, z, implementation="reference")
    )
