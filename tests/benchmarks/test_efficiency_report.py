import json

import pytest

from benchmarks import efficiency_report
from benchmarks.efficiency import Flops, Measured
from benchmarks.efficiency_report import html, markdown, write
from benchmarks.efficiency_runs import Request, as_point, identity, open_plan
from benchmarks.points import Peak
from benchmarks.results import Result


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A quadratic network beside a linear one that runs out of memory and has an operator without a formula."""
    names = ("vit_pico", "videomamba_pico")
    plan = open_plan(Request(names=names, frames=(8, 16, 32), device="cpu", out=tmp_path_factory.mktemp("efficiency")))
    for frames in plan.request.frames:
        square = as_point(frames, 2, Flops(frames**2 * 10**9, ()), Measured(Peak(4.0 * frames, "", 1.0), [0.5], ""))
        lost = Measured(Peak(None, "out of memory"), [], "out of memory") if frames == 32 else None
        found = lost or Measured(Peak(2.0, "", 1.0), [0.1 * frames], "")
        line = as_point(frames, 1, Flops(frames * 10**9, ("other::scan",)), found)
        for name, point in zip(names, (square, line), strict=True):
            plan.store.add(
                Result(
                    identity=identity(plan, name, frames),
                    settings={**plan.settings, "frames": frames},
                    metrics={},
                    details={"parameters": 1234, "point": point, "clock": "a clock", "timeout_s": 1.0},
                    device="a device",
                    created="2030-01-01",
                )
            )
    return plan


def test_markdown_has_every_point_the_growth_and_the_convention(plan):
    text = markdown(plan, plan.stored())
    assert "| vit_pico | 1,234 | 16 | 2 | 256 | 128 | 500 | 500 | 4 | 64 | 1 |  |" in text
    lost = "| – | – | – | – | – | out of memory; GFLOPs leave out other::scan |"
    assert f"| videomamba_pico | 1,234 | 32 | 1 | 32 | 16 {lost}" in text
    assert "| vit_pico | 2.00 | 0.00 | 1.00 |" in text
    for words in (
        "2 per multiply-add",
        "Clips per call: 1.",
        "`chunked`",
        "a clock",
        "a device",
        "24 x 24",
        "224 x 224",
    ):
        assert (words in text) == (words != "24 x 24")


def test_the_page_stands_alone_and_draws_the_points(plan):
    page = html(plan, plan.stored())
    assert "http" not in page
    assert '<div class="scroll"><svg ' in page  # it scrolls where the screen is narrow
    assert "<code>chunked</code>" in page
    assert "peak memory per clip (MiB)" in page
    assert page.count("<tr") == 1 + 6 + 1 + 2
    assert page.count('<tr class="sep"') == 2


def test_reports_carry_their_settings_in_the_name_and_json_has_all_numbers(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(efficiency_report, "costs_of", lambda *_: "<svg></svg>")
    for _ in range(2):
        files = write(plan, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stem == plan.stem for file in files)
    told = json.loads(files[1].read_text())
    assert told["networks"]["vit_pico"]["growth"]["gflops"] == pytest.approx(2)
    assert [point["note"] for point in told["networks"]["videomamba_pico"]["points"]] == ["", "", "out of memory"]
    assert told["settings"]["batch"] == 1
