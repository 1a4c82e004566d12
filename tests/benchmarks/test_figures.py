import io
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import figures
from tests.benchmarks.synthetic import story


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return story(tmp_path_factory.mktemp("figures")).table


def test_drawings_have_no_links_fonts_or_colors_of_their_own(table):
    for svg in (figures.accuracies(table), figures.costs(table), figures.learning(table)):
        assert svg.startswith("<svg ")
        assert "http" not in svg
        assert "<style" not in svg
        assert "DejaVu" not in svg
        colors = set(re.findall(r"#[0-9a-f]{6}", svg))
        assert colors <= {"#000000"}, colors


def test_ids_of_two_drawings_do_not_clash_and_references_resolve(table):
    first, second = figures.accuracies(table), figures.costs(table)
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg)) <= known


def test_a_drawing_is_the_same_every_time(table):
    assert figures.gains(table) == figures.gains(table)


def test_systems_keep_color_and_marker_and_differ_in_both(table):
    look = figures.looks(table)
    assert len({look[name] for name in table.systems}) == len(table.systems)
    assert len({look[name].marker for name in table.systems}) == len(table.systems)
    assert look["bag of frames"].color == figures.CONTROL


def test_smoothing_keeps_length_and_mean_of_a_constant():
    assert figures.smooth([2.0] * 7, 3) == [2.0] * 7
    assert figures.smooth([0.0, 3.0, 3.0], 2) == [0.0, 1.5, 3.0]


def test_confusion_squares_hold_all_answers(table):
    row = next(iter(table.cells))
    task = table.task("motion")
    squares = figures.confusion_cells(table, row, task)
    counts = table.cells[row]["motion"].confusion(10)
    assert len(squares) == np.count_nonzero(counts)
    diagonal = {square["y"]: square for square in squares if square["hit"]}
    assert diagonal[3]["share"] == pytest.approx(counts[3, 3] / counts[3].sum())
    assert f"{counts[3, 3]} of {counts[3].sum()}" in diagonal[3]["title"]


def test_a_picture_is_a_png_on_white_of_what_is_painted():

    def paint(figure):
        figure.subplots().plot([0, 1], [0, 1], color="#ff0000", linewidth=9)

    picture = Image.open(io.BytesIO(figures.png(1, 1, paint))).convert("RGB")
    assert picture.size == (120, 120)
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert (255, 0, 0) in {color for _, color in picture.getcolors(20_000)}
