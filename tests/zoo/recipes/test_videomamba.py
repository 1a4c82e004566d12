from dataclasses import asdict

import pytest

from zoo.recipes.videomamba import finetune_middle_k400_f8, finetune_middle_k400_f8_corrected
from zoo.training.optim import schedule_of


def test_rates_count_both_clips_of_a_video():
    schedule = schedule_of(finetune_middle_k400_f8())
    # 2e-4 and 1e-6 for 256 clips; 512 videos with two clips each in a step.
    assert [schedule.peak, schedule.final, schedule.start] == pytest.approx([8e-4, 4e-6, 4e-6])
    assert schedule.steps == 10 * schedule.warmup_steps


def test_the_correction_changes_the_layer_rule_alone():
    published, corrected = asdict(finetune_middle_k400_f8()), asdict(finetune_middle_k400_f8_corrected())
    assert {key for key in published if published[key] != corrected[key]} == {"layer_rule"}
