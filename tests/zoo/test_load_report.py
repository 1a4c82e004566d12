import io

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


def test_a_long_report_is_cut_short():
    report = LoadReport(source="a.pth", layout="zoo", missing=[f"backbone.{i}" for i in range(10)])
    assert "backbone.3 and 6 more" in str(report)
