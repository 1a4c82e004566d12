from dataclasses import replace

import pytest

from benchmarks import efficiency_report, efficiency_runs, paper_costs
from benchmarks.efficiency import Flops, Measured
from benchmarks.efficiency_runs import open_plan
from benchmarks.paper_costs import FIGURES, figure_of, requests_of, rows, run_figure, verdicts
from benchmarks.points import OUT_OF_MEMORY, Peak
from benchmarks.session import RequestError

NAME = "videomamba:figure1"
FIGURE = replace(FIGURES[NAME], network="videomamba_pico", baseline="timesformer_pico", resolution=24)
BATCHES = {"videomamba_pico": (4,) * 8, "timesformer_pico": (4, 4, 4, 4, 2, 2, 2, 2)}
FIGURE = replace(FIGURE, procedures=tuple(replace(one, batches=BATCHES) for one in FIGURE.procedures))


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """The figure with small networks and made-up costs: seconds and MiB of a call."""
    monkeypatch.setattr(efficiency_report, "costs_of", lambda *_: "<svg></svg>")
    monkeypatch.setattr(efficiency_runs, "count_flops", lambda call: Flops(1, ()))
    monkeypatch.setitem(FIGURES, NAME, FIGURE)

    def run(costs, **given):
        def faked(builds, frames, setups, *, rounds, tell):
            assert {setup.dtype for setup in setups.values()} == {given.get("dtype", "bf16")}
            return {
                name: Measured(Peak(costs[name][1], "", 0.0), [costs[name][0]] * rounds if costs[name][0] else [], note)
                for name, note in ((name, "" if costs[name][0] else OUT_OF_MEMORY) for name in builds)
            }

        monkeypatch.setattr(efficiency_runs, "in_turns", faked)
        given = {"device": "cpu", "out": tmp_path, **given}
        plans = [(one, open_plan(request)) for one, request in requests_of(FIGURE, given)]
        return run_figure(NAME, plans, given, lambda _: None)

    return run


def test_each_procedure_has_its_batches_attention_and_times():
    authors, equal = (request for _, request in requests_of(figure_of(NAME), {}))
    assert [authors.batches["timesformer_joint_tiny"][length] for length in (8, 24, 64)] == [128, 64, 12]
    assert set(authors.batches["videomamba_tiny"].values()) == {128}
    assert (authors.attention, authors.warm_up_s, authors.timed_s, authors.rounds) == ("math", 10, 60, 1)
    assert equal.batches["videomamba_tiny"] == equal.batches["timesformer_joint_tiny"]
    assert (equal.attention, equal.warm_up_s, equal.dtype, equal.resolution) == ("sdpa", 0, "bf16", 224)


def test_claims_hold_per_clip_where_the_costs_say_so(measured, tmp_path):
    # Calls of 4 clips against calls of 2: a clip of the network takes half of what its call suggests.
    found = measured({"videomamba_pico": (1.0, 2.0), "timesformer_pico": (3.0, 39.0)}, frames=(64,))
    speed, memory = verdicts(FIGURE, found[0][1])
    assert speed == ("6x the speed", 64, "4 and 2", "6.00x", "holds")
    assert (memory.measured, memory.judgement) == ("1/39.00", "does not hold")
    page = (tmp_path / "videomamba-figure1.md").read_text()
    assert page.count("| holds |") == 2
    assert "Not as in the paper: frames = (64,)." in page
    for _, _, files in found:
        assert all(file.exists() and file.name in page for file in files)


@pytest.mark.parametrize(
    ("given", "odd"),
    [({"frames": (8, 16)}, "frames"), ({"batch": 1}, "batch"), ({"dtype": "float32"}, "dtype")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_settings_get_numbers_but_no_verdict(measured, given, odd):
    given = {"frames": (64,), **given}
    found = measured({"videomamba_pico": (1.0, 1.0), "timesformer_pico": (9.0, 90.0)}, **given)
    assert {row[-1] for row in rows(FIGURE, found)} == {f"no verdict: other {odd} than the claim's"}


def test_a_side_out_of_memory_proves_nothing(measured):
    found = measured({"videomamba_pico": (1.0, 1.0), "timesformer_pico": (None, None)}, frames=(64,))
    assert {(row[-2], row[-1]) for row in rows(FIGURE, found)} == {("timesformer_pico: out of memory", "not measured")}


def test_what_was_measured_before_an_interruption_is_reported(measured, tmp_path, monkeypatch):
    def interrupted(plan, lengths, tell):
        raise KeyboardInterrupt

    costs = {"videomamba_pico": (1.0, 1.0), "timesformer_pico": (9.0, 90.0)}
    measured(costs, frames=(8,))
    (page := tmp_path / "videomamba-figure1.md").unlink()
    monkeypatch.setattr(paper_costs, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured(costs, frames=(8, 16))
    assert "| 8 |" in page.read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"names": ("vit_pico",)}, "leave the names out"),
        ({"attention": "math"}, "sets --attention itself"),
        ({"frames": (8, 12)}, "no batch for 12 frames"),
        ({"batch": None}, "say --batch N"),
    ],
    ids=str,
)
def test_what_the_figure_sets_cannot_be_asked_for(given, words):
    with pytest.raises(RequestError, match=words):
        requests_of(figure_of(NAME), given)


def test_an_unknown_figure_gets_the_closest_name():
    with pytest.raises(KeyError, match="videomamba:figure1"):
        figure_of("videomamba:figure2")
