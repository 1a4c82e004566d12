import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from benchmarks import formats, report
from benchmarks.formats import percent
from benchmarks.report import flat, number, render, rich_text, settings, write_report
from benchmarks.results import Interval, Problem
from tests.benchmarks.synthetic import interval_texts, story


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return story(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(told):
    return render(told)


def visible(page: str) -> str:
    text = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def test_the_page_refers_to_nothing_outside_itself(page):
    assert not re.search(r"https?:|//[a-z]|@import|<link|<iframe", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    sources = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    assert all(source.startswith(("#", "data:")) for source in sources)


def test_every_number_of_the_results_is_on_the_page(told, page):
    text = visible(page)
    for result in told.results:
        for interval in result.metrics.values():
            for words in interval_texts(interval):
                assert words in text
        assert result.identity.key in text
        for point in result.details.get("points", []):
            for name in ("gflops", "clips_per_s", "inference_mib", "training_mib"):
                assert number(point[name]) in text
            assert point["note"] in text
    for gains in told.table.gains.values():
        for gain in gains.values():
            for value in gain.difference:
                assert percent(abs(value)) in text


def test_the_page_says_how_each_number_came_about(told, page):
    text = visible(page)
    for words in ("abc123", "2.15.0", "pyav 18.1.0", "mask_ratio", "0.75", "base_lr", "5eed", told.again, "12.5 s"):
        assert words in text
    assert "2 per multiply-add" in text
    assert "exact McNemar" in text


class Balance(HTMLParser):
    VOID = frozenset(("meta", "br", "input", "img", "link", "hr", "path", "use", "rect"))

    def __init__(self):
        super().__init__()
        self.open, self.ids = [], []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_tags_are_balanced_ids_unique_and_links_within_the_page_lead_somewhere(page):
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert len(balance.ids) == len(set(balance.ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(balance.ids)


@pytest.mark.usefixtures("undrawn")
def test_a_leak_is_loud(tmp_path):
    page = render(story(tmp_path, systems=("vit_pico",), control=0.95))
    assert 'class="ko">The suite leaks' in page
    assert 'class="alarm"' in page
    assert "controls in order" not in page


@pytest.mark.usefixtures("undrawn")
def test_failures_and_foreign_files_are_told(tmp_path):
    told = story(tmp_path, systems=("a",))
    changed = type(told)(
        **{
            **told.__dict__,
            "failures": {"vit_pico on motion": "ValueError: <script>alert(1)</script>"},
            "problems": [Problem(told.store.folder / "notes.json", "not a result of this zoo: no identity")],
        }
    )
    page = render(changed)
    assert "A run failed" in page
    assert "<script>alert" not in page
    assert "notes.json" in page
    assert "no identity" in page


def test_all_files_are_written_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "render", lambda _: "<!doctype html>")
    told = story(tmp_path / "made", systems=("a",))
    tmp_path = tmp_path / "report"
    paths = write_report(tmp_path, told)
    assert {path.name for path in paths} == {"report.html", "table.md", "table.csv", "table.tex", "costs.csv"}
    (tmp_path / "report.html").write_text("older")
    write_report(tmp_path, told)
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


def test_equal_settings_of_several_tasks_are_listed_once(told):
    headings = settings(told.results)
    assert [heading for heading in headings if heading.startswith("Evaluation")] == [
        "Evaluation · finetune · appearance, motion, order"
    ]
    assert flat({"a": {"b": 1}, "c": 2}) == {"a.b": 1, "c": 2}


def test_marked_text_is_escaped_before_it_is_marked():
    assert rich_text("`a<b` is **not** <i>") == "<code>a&lt;b</code> is <strong>not</strong> &lt;i&gt;"


@pytest.mark.parametrize(
    ("value", "words"), [(None, "–"), (1234, "1,234"), (0.001234, "0.00123"), (21.0, "21"), (98765.4, "98,765")]
)
def test_numbers_have_three_digits(value, words):
    assert number(value) == words


@pytest.mark.usefixtures("undrawn")
def test_objectives_of_one_backbone_are_crossed_in_the_page_and_beside_it(tmp_path):
    told = story(tmp_path, systems=("vit_pico", "videomamba_pico"), objectives=("mae", "vjepa"))
    paths = report.write_report(tmp_path, told)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Every backbone under every objective" in page
    assert "vit_pico:vjepa" in page
    assert tmp_path / "cross.md" in paths
    assert "Every backbone under every objective" not in report.render(story(tmp_path / "plain", systems=("vit_pico",)))


@pytest.mark.usefixtures("undrawn")
def test_a_comparison_whose_costs_are_not_measured_yet_has_a_report(tmp_path):
    told = story(tmp_path, systems=("vit_pico",))
    page = report.render(replace(told, table=replace(told.table, costs={})))
    assert "<h2>Accuracy</h2>" in page
    assert "Accuracy for its price" not in page


def test_flops_are_those_of_a_systems_own_clips(tmp_path):
    table = story(tmp_path, systems=("vit_pico", "umt_pico")).table
    table.clip_frames["umt_pico"] = 8
    points = {point["frames"]: point["gflops"] for point in table.costs["umt_pico"].details["points"]}
    assert formats.cost_of_clip(table, "umt_pico", "gflops") == points[8] < points[16]
    assert f"| 8 | {points[8]:.3f} |" in formats.markdown(table)


@pytest.mark.usefixtures("undrawn")
def test_nobody_is_named_best_below_chance(tmp_path):
    told = story(tmp_path, systems=("vit_pico",))
    hopeless = {
        task: replace(cell, accuracy=Interval(0.1, 0.05, 0.15))
        for task, cell in next(iter(told.table.cells.values())).items()
    }
    table = replace(told.table, cells={row: hopeless for row in told.table.cells if not row.control})
    assert not any(formats.rank(table, row, task.name) for row in table.cells for task in table.tasks)
    assert not any(report.context(replace(told, table=table))["winners"].values())


def test_clips_of_another_length_than_the_first_rows_are_shown_beside_what_was_made_of_them(tmp_path):
    made = story(tmp_path, systems=("vit_pico",), objectives=("mae", "lvmae"))

    class Pictures:
        def arrays(self, result, name):
            frames = 32 if result.identity.init == "lvmae" else 16
            clip = np.zeros((2, frames, 24, 24, 3), dtype=np.uint8)
            return {"clip": clip, "1 shown": clip}

    lines, _ = report.masks_shown(replace(made, store=Pictures()))
    assert [line.label for line in lines] == [
        "clip",
        "vit_pico:lvmae: shown",
        "vit_pico:mae: clip of 16 frames",
        "vit_pico:mae: shown",
    ]
