import json

import pytest

from benchmarks import cli, lvmae_report
from benchmarks.lvmae_report import Measured, lengths_of, measure, table, verdicts, write
from benchmarks.session import RequestError


def row_of(frames, budget, math_mib, fused_mib):
    return Measured(lvmae_report.rows([frames], [budget])[0], math_mib, fused_mib)


def test_the_claim_is_judged_for_each_kind_of_attention():
    found = [row_of(128, 0.5, 41.0, 20.0), row_of(128, 0.15, 10.0, 10.0)]
    math, fused = verdicts(found)
    assert "keeps 4.10x what 15% keeps" in math
    assert math.endswith("holds")
    assert fused.endswith("does not hold")
    assert verdicts([row_of(64, 0.5, 1.0, 1.0)]) == []


def test_less_decoded_is_less_kept_and_maps_cost_most():
    half, small = measure([32], [0.5, 0.15])
    assert half.math_mib > small.math_mib
    assert half.fused_mib > small.fused_mib
    assert half.math_mib - half.fused_mib > half.row.map_mib  # maps before and after the softmax
    assert table([half])[0][:3] == ["32", "50%", "1,888"]


def test_the_command_writes_its_reports(tmp_path, monkeypatch, capsys):
    found = [row_of(128, 0.5, 41.0, 20.0), row_of(128, 0.15, 10.0, 10.0)]
    monkeypatch.setattr(lvmae_report, "measure", lambda frames: found)
    monkeypatch.setattr(lvmae_report, "drawn", lambda _: "<svg></svg>")
    monkeypatch.setattr(lvmae_report, "png", lambda *_: b"PNG")
    assert cli.main(["efficiency", "--paper", "lvmae:memory", "--frames", "128", "--out", str(tmp_path / "new")]) == 0
    assert "4.10x" in capsys.readouterr().out
    assert [row["math_mib"] for row in json.loads((tmp_path / "new" / "lvmae-memory.json").read_text())["rows"]] == [
        41,
        10,
    ]
    assert "<svg></svg>" in (tmp_path / "new" / "lvmae-memory.html").read_text()
    text = (tmp_path / "new" / "lvmae-memory.md").read_text()
    assert "| 128 | 15% |" in text
    assert "(lvmae-memory.png)" in text
    assert (tmp_path / "new" / "lvmae-memory.png").read_bytes() == b"PNG"


def test_curves_have_a_line_for_each_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(lvmae_report, "png", lambda *_: b"PNG")
    files = write([row_of(32, 0.5, 2.0, 1.0), row_of(64, 0.5, 4.0, 2.0), row_of(32, 0.15, 1.0, 0.5)], tmp_path)
    page = files[2].read_text()
    assert page.count("% decoded") == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [({"names": ["vit_pico"]}, "not vit_pico"), ({"batch": 2}, "not batch"), ({"frames": (33,)}, "33 frames")],
    ids=str,
)
def test_what_it_does_not_take_is_refused(given, words):
    with pytest.raises(RequestError, match=words):
        lengths_of(given)
