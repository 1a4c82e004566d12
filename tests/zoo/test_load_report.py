import io
import logging

import pytest
from rich.console import Console

import zoo
from tests.zoo.weights import create, somebody_elses_weights
from zoo.load_report import LoadReport


def test_the_report_reads_well():
    weights = somebody_elses_weights()
    model = create(num_classes=7)
    report = zoo.load_checkpoint(model, {name: tensor.double() for name, tensor in weights.items()})
    text = str(report)
    assert "matched  30 of 32 tensors, 0.04 M values" in text
    assert "5 classes in the file, 7 in the model" in text
    assert "kept as it was  head.linear.weight, head.linear.bias" in text
    console = Console(file=io.StringIO(), width=200)
    console.print(report)
    assert console.file.getvalue().split() == text.split()


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ({}, "INFO"),
        ({"cast": {"p": "float16 to float32"}}, "WARNING"),
        ({"resized": {"p": "interpolated"}}, "WARNING"),
        ({"dropped": {"r": "not a tensor"}}, "WARNING"),
        ({"missing": ["q"]}, "WARNING"),
        ({"unexpected": ["q"]}, "WARNING"),
    ],
    ids=str,
)
def test_what_is_worth_knowing_is_shown_to_everybody_and_a_plain_load_is_one_line(what, level, caplog):
    report = LoadReport(source="a.pth", layout="zoo", matched=["p"], parameters=1, **what)
    with caplog.at_level(logging.INFO):
        report.tell(logging.getLogger("zoo"))
    (record,) = caplog.records
    assert record.levelname == level
    text = record.getMessage()
    assert "a.pth (zoo)" in text
    assert ("\n" in text) == bool(what)
    assert all(str(it) in text for values in what.values() for it in values)


def test_a_long_report_is_cut_short():
    report = LoadReport(source="a.pth", layout="zoo", missing=[f"backbone.{i}" for i in range(10)])
    assert "backbone.3 and 6 more" in str(report)


def test_the_joined_report_of_two_files_has_everything_of_both():
    one = LoadReport(source="a.pth", layout="x", matched=["p"], parameters=2, cast={"p": "float16 to float32"})
    two = LoadReport(
        source="b.pth",
        layout="y",
        matched=["q"],
        parameters=3,
        resized={"q": "zeros"},
        dropped={"r": "why"},
        missing=["s"],
        unexpected=["t"],
    )
    assert LoadReport.joined([one, two]) == LoadReport(
        source="a.pth + b.pth",
        layout="x + y",
        matched=["p", "q"],
        parameters=5,
        cast={"p": "float16 to float32"},
        resized={"q": "zeros"},
        dropped={"r": "why"},
        missing=["s"],
        unexpected=["t"],
    )
    assert one.matched == ["p"]
