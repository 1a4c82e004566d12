import sys

import torch

from benchmarks.speed import scan_gpu
from benchmarks.speed.scan_gpu import (
    Cost,
    Verdict,
    baseline,
    by,
    check,
    costs,
    inputs_of,
    judge,
    table,
    times_table,
)

TINY = (2, 6, 20)


def cost(forward, backward, peak):
    return Cost(forward_ms=forward, backward_ms=backward, peak_mib=peak)


def test_both_layouts_hold_the_same_numbers():
    views, copies = (inputs_of(TINY, "cpu", torch.bfloat16, views=views) for views in (True, False))
    assert views[0].u.stride() != copies[0].u.stride()
    for one, other in zip((*views[0], *views[1], views[2]), (*copies[0], *copies[1], copies[2]), strict=True):
        assert torch.equal(one, other)
    assert (views[0].u.dtype, views[0].A.dtype) == (torch.bfloat16, torch.float32)


def test_a_wrong_scan_is_seen():
    assert check(by("reference"), TINY, "cpu", torch.float32).met

    def flipped(forward, backward, z):
        return by("chunked")(backward, forward, z)

    found = check(flipped, TINY, "cpu", torch.float32)
    assert not found.met
    assert "to 1e-05 (output) and 0.0001 (gradients)" in found.goal


def test_sides_are_timed_in_turns_and_the_first_rounds_do_not_count():
    calls = []

    def side(name):
        def scan(*inputs):
            calls.append(name)
            return by("chunked")(*inputs)

        return scan, inputs_of(TINY, "cpu", torch.float32, views=True)

    found = costs({"base": side("base"), "own": side("own")}, 3, "cpu")
    assert calls[:4] == ["own", "base", "base", "own"]
    assert [len(c.forward_ms) for c in found.values()] == [3, 3]


def test_goals_are_judged_by_medians_of_ratios_over_rounds():
    met = judge(cost([1.2, 2.4, 9.0], [4.0, 4.0, 4.0], 20.0), cost([1.0, 2.0, 1.0], [2.0, 2.0, 2.0], 10.0))
    assert [(v.measured, v.met) for v in met] == [("1.20x", True), ("2.00x", True), ("10 against 20 MiB", True)]
    missed = judge(cost([1.0], [1.9], 10.0), cost([1.0], [1.0], 10.0))
    assert [v.met for v in missed] == [False, False, False]
    assert len(judge(cost([1.0], [1.0], None), cost([1.0], [1.0], None))) == 2


def test_tables_say_the_verdict_and_the_medians():
    rows = [("a", Verdict(goal="g", measured="2x", met=True)), ("b", Verdict(goal="g", measured="1x", met=False))]
    assert table(rows)[2:] == ["| a | g | 2x | met |", "| b | g | 1x | MISSED |"]
    found = times_table({"case": {"triton": cost([3.0, 1.0, 2.0], [5.0], None)}})
    assert found[2] == "| case | triton | 2.000 | 5.000 |  |"


def test_without_mamba_ssm_the_baseline_says_why(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda scan: scan)
    name, why, _ = baseline()
    assert name == "chunked, compiled"
    assert "mamba-ssm is not usable (" in why


def test_without_a_gpu_nothing_is_written_and_the_status_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["scan_gpu", "--out", str(tmp_path)])
    assert scan_gpu.main() == 2
    assert "no GPU" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
