import pytest

from zoo.recipes.catalogue import TRAININGS
from zoo.training.optim import schedule_of, weight_decay_of

FIRST = ["vjepa_large_16_224.videomix2m", "vjepa_huge_16_224.videomix2m", "vjepa_huge_16_384.videomix2m"]


@pytest.mark.parametrize("name", FIRST)
def test_first_v_jepa_ends_where_the_authors_does(name):
    # The fixture v1_schedules at steps 1, 12 000 and 90 000.
    recipe = TRAININGS[name].optimisation
    schedule = schedule_of(recipe)
    assert [schedule(step) for step in (0, 11_999, 89_999)] == pytest.approx(
        [2.0003541666666668e-4, 6.25e-4, 7.504222442956086e-05]
    )
    assert weight_decay_of(recipe)(89_999) == pytest.approx(0.36562305898749053)
    assert (recipe.clip_parts, recipe.clip_after, recipe.steps) == (True, 12_300, 90_000)


def test_second_v_jepa_stays_at_its_rate_and_cools_down_to_a_fifth():
    first, second = (TRAININGS[f"vjepa2_large_16_256.videomix22m{it}"] for it in ("_phase1", ""))
    constant, cooling = schedule_of(first.optimisation), schedule_of(second.optimisation)
    assert [constant(step) for step in (11_999, 100_000, 239_999)] == pytest.approx([5.25e-4] * 3)
    assert constant(0) == pytest.approx(1e-4 + 4.25e-4 / 12_000)
    assert cooling(11_999) == pytest.approx(1.06e-4, rel=2e-3)
    assert weight_decay_of(first.optimisation) is None
    assert second.optimisation.gradient_clip is None
    assert second.start == first.name
    assert (first.clip.num_frames, second.clip.num_frames) == (16, 64)
