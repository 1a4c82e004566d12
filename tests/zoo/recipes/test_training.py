from dataclasses import replace

import pytest

from zoo.recipes.catalogue import TRAININGS

ROW = TRAININGS["umt_base.k710_pt_ssv2_f8_res224"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "guess"}, "unknown kind 'guess'"),
        ({"head_start": "half"}, "unknown head_start 'half'"),
        ({"kind": "pretrain"}, "a pretraining has an objective"),
        ({"videos": 0}, "a list of 0 videos"),
        ({"augment": replace(ROW.augment, flip=0.5)}, "flips of 0.5 in clips that must not be flipped"),
        ({"epochs": 31}, "31 epochs of 168,913 videos, 5 of warm-up, are 20429 and 3295 steps, not 19770 and 3295"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        replace(ROW, **wrong)


def test_a_row_that_counts_steps_has_no_epochs_to_contradict():
    assert replace(ROW, epochs=None, recipe=replace(ROW.optimisation, steps=7000)).counted().optimisation.steps == 7000


def test_only_rows_of_adamw_have_its_recipe():
    with pytest.raises(ValueError, match="not trained by AdamW but by Descent"):
        _ = TRAININGS["timesformer_base.k400_f8_res224"].optimisation
