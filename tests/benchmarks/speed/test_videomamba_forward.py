import json
import sys

import pytest
import torch

from benchmarks.speed import videomamba_forward
from benchmarks.speed.videomamba_forward import crossover, main, ratio, seconds


def test_ratios_are_medians_over_rounds():
    assert ratio([2.0, 30.0, 4.0], [1.0, 1.0, 2.0]) == 2.0


@pytest.mark.parametrize(
    "ratios",
    [{8: 0.25, 16: 0.5}, {8: 0.25, 16: 0.5, 64: 2.0}, {64: 2.0, 128: 4.0}, {16: 0.5, 32: 1.0}],
    ids=["beyond", "between", "ahead", "at"],
)
def test_a_ratio_that_doubles_with_the_length_is_one_at_32_frames(ratios):
    assert crossover(ratios) == pytest.approx(32)


def test_what_does_not_grow_has_no_crossover():
    assert crossover({8: 0.5}) is None
    assert crossover({8: 0.5, 16: 0.4}) is None


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(videomamba_forward, "SIDE", 4)
    monkeypatch.setattr(
        videomamba_forward,
        "BUILDS",
        dict.fromkeys(videomamba_forward.BUILDS, lambda frames: torch.nn.Conv3d(3, 2, 1)),
    )


@pytest.mark.parametrize("train", [False, True])
def test_every_candidate_is_timed_in_every_round(tiny, train):
    found = seconds(2, rounds=3, train=train)
    assert {len(times) for times in found.values()} == {3}
    assert len(found) == 3


def test_what_was_measured_is_written(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["x", "--frames", "2", "4", "--rounds", "2", "--out", str(tmp_path)])
    main()
    (file,) = tmp_path.glob("speed-videomamba-infer-*.json")
    record = json.loads(file.read_text())
    assert set(record["seconds"]) == {"2", "4"}
    assert str(file) in capsys.readouterr().out
