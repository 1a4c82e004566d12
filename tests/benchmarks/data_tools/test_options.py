import argparse

import pytest

from benchmarks.data_tools import options


@pytest.mark.parametrize(
    ("convert", "text", "value"),
    [
        (options.several, "0, 2,2,4", (0, 2, 4)),
        (options.seconds, "0.5", 0.5),
    ],
)
def test_numbers_are_read(convert, text, value):
    assert convert(text) == value


@pytest.mark.parametrize(
    ("convert", "text"),
    [
        (options.several, "1,,2"),
        (options.seconds, "0"),
        (options.seconds, "inf"),
        (options.seconds, "nan"),
        (options.seconds, "soon"),
    ],
)
def test_what_is_no_number_of_the_kind_is_refused_by_its_text(convert, text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a"):
        convert(text)


def test_every_command_names_its_videos_alike():
    parser = argparse.ArgumentParser()
    options.videos(parser)
    found = parser.parse_args(["--list", "a.csv", "--list", "b.csv", "--root", "x"])
    assert [path.name for path in found.lists] == ["a.csv", "b.csv"]
    assert (found.suite, str(found.root), found.data) == ("", "x", None)
