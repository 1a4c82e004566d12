import argparse

import pytest

from benchmarks.commands.numbers import counting, positive


def test_whole_numbers_are_read():
    assert (counting("0"), counting("12"), positive("1")) == (0, 12, 1)


@pytest.mark.parametrize("convert", [counting, positive])
@pytest.mark.parametrize("text", ["", "-1", "1.5", "1_7", "²", "٣", "two"])
def test_whatever_is_no_whole_number_is_named(convert, text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from"):
        convert(text)


def test_a_positive_number_is_not_0():
    with pytest.raises(argparse.ArgumentTypeError, match="'0' is not a whole number from 1 on"):
        positive("0")
