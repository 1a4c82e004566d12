import pytest

from zoo.suggest import UnknownNameError, closest, natural, unknown

NAMES = ["videomae_base", "videomae_large", "videomamba_base", "timesformer_base"]


def test_the_closest_names_come_best_first_and_always():
    assert closest("videomea_base", NAMES)[0] == "videomae_base"
    assert len(closest("qqqq", NAMES)) == 3
    assert closest("x", []) == []


@pytest.mark.parametrize("kind", [KeyError, ValueError, UnknownNameError])
def test_an_unknown_name_is_an_error_of_either_kind_and_reads_well(kind):
    error = unknown("model", "videomea_base", NAMES)
    assert isinstance(error, kind)
    assert str(error).startswith("unknown model 'videomea_base'; did you mean 'videomae_base' or ")


def test_a_name_like_none_of_a_few_gets_all_of_them():
    assert str(unknown("model", "qqqq", NAMES)) == f"unknown model 'qqqq'; valid: {', '.join(NAMES)}"
    assert "did you mean" in str(
        unknown("model", "qqqq", [f"{name}_{number}" for name in NAMES for number in range(9)])
    )


def test_a_table_without_names_says_so():
    assert str(unknown("tag", "x", [])) == "unknown tag 'x'; there is none at all"


def test_numbers_sort_as_numbers():
    names = ["m.k400_f16", "m.k400_f8", "m", "10", "9x"]
    assert sorted(names, key=natural) == ["9x", "10", "m", "m.k400_f8", "m.k400_f16"]
