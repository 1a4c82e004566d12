from dataclasses import replace

import pytest

from benchmarks import efficiency_runs
from benchmarks.efficiency import Flops, Measured
from benchmarks.efficiency_runs import NOT_POSSIBLE, Network, Request, as_point, measure, open_plan
from benchmarks.points import Peak
from benchmarks.session import RequestError


def faked(builds, frames, setups, *, rounds, tell):
    """One system after the other, each slower than the one before."""
    return {
        name: Measured(Peak(3.0 * frames, "", 5.0), [0.01 * frames * place] * rounds, "")
        for place, name in enumerate(builds, start=1)
    }


@pytest.fixture
def request_(tmp_path, monkeypatch):
    monkeypatch.setattr(efficiency_runs, "in_turns", faked)
    monkeypatch.setattr(efficiency_runs, "count_flops", lambda call: Flops(10**9, ()))
    return Request(names=("vit_pico", "videomamba_pico"), frames=(16, 8), resolution=24, rounds=2, out=tmp_path)


def points(plan):
    return {name: [one.details["point"] for one in results] for name, results in plan.stored().items()}


def measured(request):
    plan = open_plan(request)
    measure(plan, plan.missing(), lambda _: None)
    return plan


def test_points_are_stored_by_length_and_not_measured_again(request_, monkeypatch):
    plan = measured(request_)
    assert [point["frames"] for point in points(plan)["vit_pico"]] == [8, 16]
    assert points(plan)["videomamba_pico"][1]["latency_ms_p50"] == pytest.approx(320)
    (result, _) = plan.stored()["vit_pico"]
    assert result.details["parameters"] > 100_000
    assert open_plan(request_).missing() == []
    assert open_plan(replace(request_, frames=(8, 32))).missing() == [32]
    assert len(list(plan.store.folder.glob("*.json"))) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 32},
        {"batch": 2},
        {"mode": "train"},
        {"dtype": "bf16"},
        {"attention": "math"},
        {"compiled": True},
        {"rounds": 3},
        {"names": ("vit_pico",)},
    ],
    ids=str,
)
def test_other_settings_or_company_are_other_points_in_another_report(request_, change):
    plan, other = measured(replace(request_, frames=(8,))), open_plan(replace(request_, frames=(8,), **change))
    assert plan.missing() == []
    assert other.missing() == [8]
    assert not any(other.stored().values())
    assert other.stem != plan.stem


def test_another_device_or_version_is_measured_again(request_, monkeypatch):
    plan = measured(replace(request_, frames=(8,)))
    told = efficiency_runs.provenance(threads=1)
    for changed in (replace(told, device="another"), replace(told, versions={**told.versions, "torch": "9"})):
        monkeypatch.setattr(efficiency_runs, "provenance", lambda *, threads, changed=changed: changed)
        assert open_plan(plan.request).missing() == [8]


def test_lengths_that_are_done_survive_an_interruption(request_, monkeypatch):
    def interrupted(builds, frames, setups, *, rounds, tell):
        if frames == 16:
            raise KeyboardInterrupt
        return faked(builds, frames, setups, rounds=rounds, tell=tell)

    monkeypatch.setattr(efficiency_runs, "in_turns", interrupted)
    plan = open_plan(request_)
    with pytest.raises(KeyboardInterrupt):
        measure(plan, plan.missing(), lambda _: None)
    assert plan.missing() == [16]


def test_a_point_that_is_not_possible_says_why_and_the_others_are_measured(request_):
    plan = measured(replace(request_, frames=(7,), resolution=20))
    for (point,) in points(plan).values():
        assert point["note"].startswith(f"{NOT_POSSIBLE}: ")
        assert "20" in point["note"]
        assert point["gflops"] is None
    half = measured(replace(request_, frames=(1,), names=("vit_pico", "vit_still_pico")))
    notes = {name: point["note"] for name, (point,) in points(half).items()}
    assert "1 frames" in notes["vit_pico"]
    assert notes["vit_still_pico"] == ""


def test_a_point_without_an_answer_is_tried_again_with_more_time_only(request_, monkeypatch):
    def slow(builds, frames, setups, *, rounds, tell):
        return {name: Measured(Peak(None, "no answer in 5 s"), [], "no answer in 5 s") for name in builds}

    request = replace(request_, frames=(8,), timeout_s=5.0)
    with monkeypatch.context() as patch:
        patch.setattr(efficiency_runs, "in_turns", slow)
        measured(request)
    assert open_plan(request).missing() == []
    longer = measured(replace(request, timeout_s=6.0))
    assert [point["note"] for point in points(longer)["vit_pico"]] == [""]  # of both, the newer
    assert longer.missing() == []


def test_batches_follow_the_budget_of_memory(request_, monkeypatch):
    monkeypatch.setattr(efficiency_runs, "largest_batch", lambda build, frames, setup, budget: int(budget) // frames)
    plan = measured(replace(request_, batch=None, memory_mib=64))
    assert [point["batch"] for point in points(plan)["vit_pico"]] == [8, 4]
    alone = measured(replace(request_, batch=None, device="cpu"))
    assert [point["batch"] for point in points(alone)["vit_pico"]] == [1, 1]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"names": ("vit_pic",)}, "'vit_pico'"),
        ({"names": ("videomamba_tiny.k401",)}, "videomamba_tiny.k400"),
        ({"mode": "inver"}, "'infer'"),
        ({"dtype": "bfloat16"}, "'bf16' or 'float16'"),
        ({"attention": "sdap"}, "'sdpa'"),
        ({"device": "cdua"}, "'cuda'"),
    ],
    ids=str,
)
def test_unknown_words_get_the_closest(request_, change, hint):
    with pytest.raises(ValueError, match="unknown") as caught:
        open_plan(replace(request_, **change))
    assert hint.split("' or '")[0].strip("'") in str(caught.value)


def test_what_cannot_be_had_is_refused(request_, monkeypatch):
    with pytest.raises(RequestError, match="--batch auto"):
        open_plan(replace(request_, batch=1, memory_mib=100))
    monkeypatch.setattr(efficiency_runs.torch.cuda, "is_available", lambda: False)
    with pytest.raises(RequestError, match="no GPU"):
        open_plan(replace(request_, device="cuda"))


def test_released_weights_stand_for_their_architecture_at_the_size_asked_for():
    backbone = Network("videomamba_tiny.k400_f8_res224", 32)(4)
    assert tuple(backbone.native_grid) == (4, 2, 2)


def test_a_point_counts_both_conventions_and_times_by_clip():
    point = as_point(8, 4, Flops(6 * 10**9, ()), Measured(Peak(80.0, "", 1.0), [0.1, 0.2, 0.4], ""))
    assert (point["gflops"], point["gmacs"]) == (6.0, 3.0)
    assert point["latency_ms_p50"] == pytest.approx(200)
    assert point["latency_ms_p95"] == pytest.approx(380)
    assert (point["clips_per_s"], point["ms_per_clip"]) == (pytest.approx(20), pytest.approx(50))
    assert (point["peak_mib_per_clip"], point["note"]) == (20.0, "")
