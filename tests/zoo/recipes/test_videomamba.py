from dataclasses import asdict

import pytest

from zoo.recipes.videomamba import (
    finetune_middle_k400_f8,
    finetune_middle_k400_f8_corrected,
    finetune_middle_masked_k400_f8,
    pretrain_middle_k400,
    pretrain_middle_ssv2,
)
from zoo.training.optim import schedule_of


def test_rates_count_both_clips_of_a_video():
    schedule = schedule_of(finetune_middle_k400_f8())
    # 2e-4 and 1e-6 for 256 clips; 512 videos with two clips each in a step.
    assert [schedule.peak, schedule.final, schedule.start] == pytest.approx([8e-4, 4e-6, 4e-6])
    assert schedule.steps == 10 * schedule.warmup_steps


def test_the_correction_changes_the_layer_rule_alone():
    published, corrected = asdict(finetune_middle_k400_f8()), asdict(finetune_middle_k400_f8_corrected())
    assert {key for key in published if published[key] != corrected[key]} == {"layer_rule"}


def test_masked_pretraining_reaches_the_rates_of_the_authors_code():
    schedule = schedule_of(pretrain_middle_k400())
    assert [schedule.peak, schedule.final, schedule(0)] == pytest.approx([1.2e-3, 8e-5, 0.0])
    assert schedule.steps == 20 * schedule.warmup_steps
    assert pretrain_middle_ssv2(200).steps * 4 == pretrain_middle_ssv2().steps


def test_the_masked_model_is_fine_tuned_shorter_and_more_gently():
    masked, supervised = finetune_middle_masked_k400_f8(), finetune_middle_k400_f8()
    assert masked.steps * 50 == supervised.steps * 45
    assert schedule_of(masked).peak == pytest.approx(4e-4)
