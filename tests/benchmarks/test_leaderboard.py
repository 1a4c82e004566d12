"""The page of everything printed and measured: its data in any case, and in a browser where there is one."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.leaderboard import MEASURED, QUOTED, REPORTED, SHRUNK, found, page, per_class, reported
from benchmarks.paper_tables import Conflict, Paper, Source
from benchmarks.results import Identity, Interval, Result, Store, digest
from benchmarks.side_by_side import Stored
from tests.benchmarks import made_up_results as made
from tests.benchmarks.synthetic import TASKS, scored

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def paper(*tables):
    sources = {"one": Source(kind="paper", where="Table 1"), "zoo": Source(kind="model zoo", where="README")}
    facts = {"title": "A <b>paper</b>", "reference": "arXiv 0", "code": "a/b", "note": "</script> of a note"}
    return Paper(name="videomamba", sources=sources, tables={table.name: table for table in tables}, **facts)


def little():
    """One paper of two tables: fine-tuned and frozen, our own and somebody else's, a conflict, a number not had."""
    line = made.row(
        frames=8,
        resolution=224,
        values={"top1": 76.9, "params_m": 7, "gflops_per_view": 9},
        conflicts=(Conflict(metric="top1", value=77.0, source="zoo", note="rounded"),),
    )
    rival = made.row(
        name="rival", system="<i>Rival</i>", card="", ours=False, views="5x3", values={"top1": 80.0}, note="</script>"
    )
    lost = made.row(name="lost", values={"top1": None})
    frozen = made.table(made.row(name="frozen", values={"top1": 60.0}), name="frozen", protocol="attentive")
    return paper(made.table(line, rival, lost), frozen)


def by_key(entries):
    return {entry.key: entry for entry in entries}


def test_every_printed_number_is_a_line_with_its_conditions_and_what_contradicts_it():
    lines = by_key(reported([little()]))
    assert list(lines) == ["videomamba:k400:tiny", "videomamba:k400:rival", "videomamba:frozen:frozen"]
    line = lines["videomamba:k400:tiny"]
    assert (line.kind, line.family, line.suite, line.metric) == (REPORTED, "videomamba", "k400", "top-1, %")
    assert (line.score, line.frames, line.views, line.params_m, line.gflops) == (76.9, 8, "4x3", 7, 108)
    assert (line.others, line.conflicts) == ([77.0], ["top-1 is 77.0 in README: rounded"])
    assert (line.source, line.source_kind, line.how) == ("Table 1", "paper", "fine-tuned")
    assert lines["videomamba:k400:rival"].family == QUOTED
    assert lines["videomamba:frozen:frozen"].how == "frozen, attentive probe"


def test_a_released_probe_counts_as_frozen_and_a_released_classifier_as_fine_tuned():
    probe = made.row(card="vjepa_large_16_224.videomix2m_probe_k400")
    four = made.row(name="four", card="vjepa2_large_16_256.videomix22m_probe_ssv2")
    told = reported([paper(made.table(probe, four, made.row(name="classifier")))])
    assert [line.how for line in told] == [
        "frozen, attentive probe",
        "frozen, attentive probe of 4 layers",
        "fine-tuned",
    ]


def test_a_measured_line_says_which_printed_one_it_is_about_and_how_it_stands(tmp_path):
    line = made.row()
    table = made.table(line)
    result = made.result(line, table, top1=(0.765, 0.76, 0.772))
    entries = found([Stored(result, Store(tmp_path))] * 2, [paper(table)])
    assert len(entries) == 1
    assert (entries[0].kind, entries[0].verdict, entries[0].family) == (MEASURED, "within interval", "videomamba")
    assert entries[0].score == pytest.approx(76.5)
    assert entries[0].interval == pytest.approx((76.0, 77.2))
    assert entries[0].remarks[0].startswith("within interval: videomamba:k400:tiny has 76.9, a difference of -0.40")
    part = made.result(line, table, scored=10)
    assert found([Stored(part, Store(tmp_path))], [paper(table)])[0].verdict == "incomplete"
    assert found([Stored(result, Store(tmp_path))])[0].verdict == ""


def test_a_shrunken_training_says_so_and_has_not_the_parameters_of_the_published_network(tmp_path):
    line = made.row()
    whole = made.result(line, made.table(line))
    whole = replace(whole, identity=replace(whole.identity, system="videomamba_tiny", protocol="finetune recipe"))
    small = replace(whole, details={**whole.details, "shrunk": True})
    (told,) = found([Stored(small, Store(tmp_path))])
    assert (told.params_m, told.remarks) == (None, [SHRUNK])
    (told,) = found([Stored(whole, Store(tmp_path))])
    assert (told.params_m, told.remarks) == (pytest.approx(7.0, abs=0.5), [])


def test_low_shot_lines_say_their_share_whether_printed_or_measured(tmp_path):
    line = made.row(card="vjepa_large_16_224.videomix2m")
    few = made.table(line, protocol="low_shot", share=0.05, views="8x3")
    result = made.result(line, replace(few, protocol="attentive"), protocol={"share": 0.05})
    result = replace(result, identity=replace(result.identity, protocol="low_shot"))
    result = replace(result, metrics={"top1_over_splits": Interval(0.66, 0.65, 0.68)})
    (ours,) = found([Stored(result, Store(tmp_path))])
    (theirs,) = reported([paper(few)])
    assert ours.how == theirs.how == "frozen, attentive probe on few videos: 5 %"
    assert (ours.metric, ours.score) == (theirs.metric, 66.0)


def test_measured_flops_are_halved_to_the_papers_convention_and_counted_for_all_views(tmp_path):
    line = made.row()
    table = made.table(line)
    settings = {"resolution": 224, "frames": 8}
    who = {"kind": "cost", "system": "videomamba_tiny", "init": "random", "suite": "", "task": "", "split_hash": ""}
    cost = Result(
        identity=Identity(**who, protocol="efficiency", settings_hash=digest(settings), seed=0),
        settings=settings,
        metrics={},
        details={"point": {"gflops": 18.0}},
    )
    stored = [Stored(it, Store(tmp_path)) for it in (made.result(line, table), cost)]
    assert found(stored, [paper(table)])[0].gflops == pytest.approx(9 * 12)


def test_costs_that_nobody_prints_are_counted_and_said_to_be(tmp_path):
    line = made.row(card="vjepa_large_16_224.videomix2m")
    page = made.table(line, protocol="attentive")
    (theirs,) = reported([paper(page)])
    (ours,) = found([Stored(made.result(line, page), Store(tmp_path))])
    assert theirs.gflops == ours.gflops == pytest.approx(12 * 596.833)
    assert theirs.remarks[0] == "parameters and GFLOPs counted by the zoo in the backbone, not printed"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("board"))
    scored(store, TASKS[0], "vit_pico", "mae", 0, 0.9, control=False)
    scored(store, TASKS[0], "videomamba_pico", "random", 0, 0.3, control=False)
    return [Stored(it, store) for it in store.results()]


def test_answers_are_counted_by_class_from_the_kept_predictions(results):
    (group,) = per_class(results).values()
    assert group["classes"] == list("0123456789")
    for one in results:
        kept = one.store.arrays(one.result, "predictions")
        right = kept["probabilities"].argmax(1) == kept["labels"]
        told = group["systems"][one.result.identity.stem]
        assert told["hits"] == [int(right[kept["labels"] == label].sum()) for label in range(10)]
        assert told["videos"] == [20] * 10
    assert per_class(results[:1]) == {}


def test_classes_without_names_get_those_that_the_result_noted(results):
    noted = {"per_class": {f"name {label}": [0, 0, 0, 1] for label in range(10)}}
    named = [
        one._replace(
            result=replace(one.result, identity=replace(one.result.identity, suite="gone", task="t"), details=noted)
        )
        for one in results
    ]
    (group,) = per_class(named).values()
    assert group["classes"][3] == "name 3"


def test_the_page_holds_all_of_it_and_refers_to_nothing_outside_itself(results):
    text = page(results, [little()])
    assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)|@import|<link|<iframe|src=", text)
    assert "A &lt;b&gt;paper" in text
    held = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1]
    data = json.loads(held)
    assert [it["key"] for it in data["entries"][:2]] == ["videomamba:k400:tiny", "videomamba:k400:rival"]
    assert sum(it["kind"] == MEASURED for it in data["entries"]) == 2
    assert data["entries"][1]["remarks"] == ["</script>"]
    assert data["families"] == ["videomae", "videomamba", QUOTED]
    assert "3 printed numbers of 1 papers, and 2 measured here" in text


SCRIPT = """
<script>addEventListener("load", () => {
  const rows = () => [...document.querySelectorAll("#body tr")].map(row => row.dataset.key), told = {};
  told.width = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  told.first = rows();
  told.address = location.hash;
  [...document.querySelectorAll("#head button")].find(one => one.textContent === "Frames").click();
  told.sorted = rows();
  [...document.querySelectorAll("#head button")].find(one => one.textContent === "Frames").click();
  told.turned = rows();
  const field = document.querySelector("[name=how]");
  field.value = "frozen, attentive probe";
  field.dispatchEvent(new Event("input", { bubbles: true }));
  told.filtered = rows();
  told.linked = location.hash;
  document.getElementById("reset").click();
  told.all = rows().length;
  const at = id => document.getElementById(id);
  told.classes = [...document.querySelectorAll("#differences .class")].map(one => one.textContent);
  at("first").value = at("second").value;
  at("first").dispatchEvent(new Event("change"));
  told.same = [...document.querySelectorAll("#differences b")].map(one => one.textContent);
  told.marks = document.querySelectorAll("#panels .mark").length;
  document.body.dataset.told = JSON.stringify(told);
});</script></body>"""


def looked_at(folder, text, address, width):
    file = folder / "board.html"
    file.write_text(text.replace("</body>", SCRIPT))
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    words += [f"--user-data-dir={folder / 'profile'}", f"--window-size={width},900", f"{file.as_uri()}#{address}"]
    dom = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True).stdout
    told = re.search(r'data-told="([^"]*)"', dom)
    assert told, dom[-2000:]
    return dom, json.loads(told[1].replace("&quot;", '"').replace("&amp;", "&"))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
@pytest.mark.parametrize("width", [1280, 420])
def test_in_a_browser_the_page_shows_sorts_filters_and_compares_classes(tmp_path, results, width):
    lines = [made.row(name=f"f{frames}", frames=frames, values={"top1": top1, "params_m": 7, "gflops_per_view": 9})
             for frames, top1 in ((8, 76.9), (64, 79.6), (16, 78.1))]  # fmt: skip
    frozen = made.table(made.row(name="frozen", values={"top1": 90.0}), name="frozen", protocol="attentive")
    other = made.table(made.row(values={"top1": 65.1}), name="ssv2", suite="ssv2", views="")
    text = page(results, [paper(made.table(*lines), frozen, other)])
    dom, told = looked_at(tmp_path, text, "suite=k400&sort=score&dir=down", width)
    assert told["width"] == 0
    key = "videomamba:k400:f"
    assert told["first"] == ["videomamba:frozen:frozen", f"{key}64", f"{key}16", f"{key}8"]
    assert told["address"] == "#suite=k400&sort=score&dir=down"
    assert told["sorted"] == [f"{key}8", f"{key}16", f"{key}64", "videomamba:frozen:frozen"]
    assert told["turned"] == [f"{key}64", f"{key}16", f"{key}8", "videomamba:frozen:frozen"]
    assert told["filtered"] == ["videomamba:frozen:frozen"]
    assert "how=frozen" in told["linked"]
    assert told["all"] == 7
    assert len(told["classes"]) == 10
    assert set(told["same"]) == {"0.0"}
    assert told["marks"] > 0
    # The frozen line is marked among fine-tuned ones.
    assert 'title="most rows shown: fine-tuned"' in looked_at(tmp_path, text, "suite=k400", width)[0]
    assert "NaN" not in dom


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome is installed")
def test_in_a_browser_all_papers_are_drawn_and_nothing_runs_over_a_phone(tmp_path):
    from benchmarks.paper_tables import papers

    text = page([], list(papers().values()))
    _, told = looked_at(tmp_path, text, "suite=ssv2&sort=score", 420)
    assert told["width"] == 0
    assert len(told["first"]) > 50
    assert told["all"] == len(reported(papers().values()))


def test_scores_that_are_errors_count_as_better_when_lower():
    line = made.row(values={"mse": 3.5})
    (told,) = reported([paper(made.table(line, suite="lvu", task="like_ratio", metric="mse"))])
    assert (told.lower, told.suite, told.metric) == (True, "lvu like_ratio", "MSE")


def test_views_of_a_clip_of_unknown_size_have_no_costs(results):
    entries = found(results)
    assert {entry.suite for entry in entries} == {"digits appearance"}
    assert all(entry.gflops is None and entry.views == "" and entry.frames == 16 for entry in entries)
    assert [entry.score for entry in entries] == pytest.approx(
        [100 * one.result.metrics["top1"].value for one in results]
    )
    assert np.isfinite([end for entry in entries for end in entry.interval]).all()
