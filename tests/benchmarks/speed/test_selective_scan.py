import pytest
import torch

from benchmarks.speed.selective_scan import SCANS, Case, both, both_flipped, problem, run_once, time_case


@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize("name", sorted({"step by step", "loop", "reference"}))
def test_the_baselines_compute_what_we_compute(name, views):
    inputs, z = problem((2, 6, 20), views=views)
    expected = run_once(SCANS["chunked"], inputs, z, backward=True)
    torch.testing.assert_close(run_once(SCANS[name], inputs, z, backward=True), expected, rtol=1e-4, atol=1e-5)


def test_flipping_gives_the_same_sum_of_directions():
    inputs, z = problem((2, 6, 20), views=False)
    torch.testing.assert_close(both(inputs, z), both_flipped(inputs, z), rtol=1e-4, atol=1e-5)


def test_a_case_is_timed_in_turns_and_says_how_far_apart_the_candidates_are():
    case = Case(title="tiny", shape=(1, 4, 12), candidates=("loop", "chunked"), backward=False, goals={}, rounds=2)
    found = time_case(case, rounds=5)
    assert found["rounds"] == 2
    assert {name: len(values) for name, values in found["ms"].items()} == {"loop": 2, "chunked": 2}
    assert found["largest_difference"] < 1e-4
