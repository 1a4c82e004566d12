from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.session import RequestError
from benchmarks.training_plan import Order, check, refusal, resolve, told
from benchmarks.training_settings import SettingError
from zoo.recipes.catalogue import TRAININGS
from zoo.suggest import UnknownNameError
from zoo.training.fit import Hardware

NAME = "videomamba_tiny.k400_f8_res224"
ORDER = Order(name=NAME, kind="finetune")


def on(devices, **options):
    return replace(ORDER, hardware=Hardware(accelerator="cpu", devices=devices), **options)


@pytest.mark.parametrize(
    ("devices", "batch_size", "expected"),
    [(8, None, (64, 1)), (1, None, (64, 8)), (2, 32, (32, 8)), (16, None, (32, 1))],
)
def test_the_batch_of_the_recipe_is_divided_over_devices_and_steps(devices, batch_size, expected):
    plan = resolve(on(devices, batch_size=batch_size))
    assert (plan.batch_size, plan.training.optimisation.accumulate) == expected
    assert not plan.warnings
    assert plan.training.optimisation.steps == TRAININGS[NAME].optimisation.steps


def test_another_effective_batch_is_a_warning_with_the_scaled_rate():
    plan = resolve(on(3, batch_size=100))
    (warning,) = plan.warnings
    assert "effective batch 600 (= 100 x 3 devices x 2 accumulated) instead of 512" in warning
    assert "peak rate becomes 0.0009375 instead of 0.0008" in warning
    assert plan.training.optimisation.steps == 70 * (240_436 // 600)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (replace(ORDER, kind="pretrain"), "is run by zoo finetune, not by zoo pretrain"),
        (replace(ORDER, name="timesformer_base.k400_f8_res224"), "cannot be run: its optimiser is gradient descent"),
        (replace(ORDER, suite="breakfast", task="soup"), "unknown task 'soup'"),
        (replace(ORDER, suite="ek100"), "several tasks; say which with --task: verb, noun, action"),
        (Order(name="vjepa_large_16_224.videomix2m", kind="pretrain"), "no suite of the zoo; name videos of yours"),
        (
            Order(name="vjepa_large_16_224.videomix2m_probe_ssv2", kind="probe", hardware=Hardware(devices=2)),
            "on one device, not on 2",
        ),
        (
            Order(name="lvmae_tokenizer_base.k600", kind="pretrain", hardware=Hardware(devices=2)),
            "has an adversary",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_reason(order, message):
    with pytest.raises((RequestError, UnknownNameError), match=message):
        resolve(order)


def test_before_a_run_files_and_folders_must_be_there(tmp_path):
    with pytest.raises(RequestError, match="there is no such folder"):
        check(resolve(on(1, data=tmp_path / "none")))
    with pytest.raises(RequestError, match=r"--start .*weights: there is no such file"):
        check(resolve(on(1, shrink=True, start=Path("weights"))))
    later = Order(name="lvmae_large.diving48_pt_f128", kind="pretrain", data=tmp_path)
    with pytest.raises(RequestError, match="was not released: train it with its recipe"):
        check(resolve(later))


def test_a_dry_run_tells_what_comes_from_where():
    lines = told(resolve(on(8)))
    assert lines["batch"] == "512 videos a step = 64 per device x 8 devices x 1 accumulated; each video gives 2 clips"
    assert lines["steps"] == "32,830: 70 epochs of 240,436 videos"
    assert "downloaded from" in lines["weights"]
    assert "--data DIR" in lines["videos"]
    teacher = told(resolve(Order(name="umt_large.k710_pt_f8_res224", kind="pretrain")))["teacher"]
    assert teacher.startswith("clip_visual_large_patch14.openai, downloaded from")
    tokenizer = told(resolve(Order(name="lvmae_base.diving48_pt_f128", kind="pretrain")))["tokenizer"]
    assert "never released" in tokenizer


def test_what_was_set_is_told_beside_what_it_was():
    lines = told(resolve(on(8, values=("recipe.base_lr=1e-4", "epochs=7"))))
    assert lines["set"].splitlines() == [
        "recipe.steps: 32830 becomes 3283",
        "recipe.base_lr: 0.0002 becomes 0.0001",
        "epochs: 70 becomes 7",
    ]


def test_videos_that_must_not_be_flipped_are_not():
    plan = resolve(on(1, shrink=True))
    assert plan.training.augment.flip == 0
    assert plan.warnings == ("no flips: left and right are part of the labels of 'appearance'",)


def test_a_dry_run_can_tell_what_a_run_would_be_refused_for(tmp_path):
    assert "--data" in refusal(resolve(on(1)))
    assert "--start weights: there is no such file" in refusal(resolve(on(1, shrink=True, start=Path("weights"))))
    assert "unknown strategy 'foo'" in refusal(resolve(replace(ORDER, hardware=Hardware(strategy="foo"))))
    assert refusal(resolve(on(1, shrink=True))) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, NAME),
        ({"batch_size": 64}, NAME),
        ({"shrink": True}, f"{NAME} (shrunken)"),
        ({"values": ("recipe.base_lr=1e-5",)}, f"{NAME} (other recipe.base_lr)"),
        ({"suite": "breakfast"}, f"{NAME} (other videos)"),
        ({"start": Path("mine.safetensors")}, f"{NAME} (other start)"),
    ],
)
def test_weights_say_their_recipe_and_what_was_changed(changes, words):
    assert resolve(replace(on(1), **changes)).made_by == words


def test_a_start_that_nobody_released_can_only_be_ones_own():
    name = "lvmae_base.ssv2_ft_f64"
    assert resolve(Order(name=name, kind="finetune", start=Path("mine.safetensors"))).made_by == name


@pytest.mark.parametrize("value", ["clip.num_frames=7", "clip.img_size=100"])
def test_clips_that_the_network_cannot_take_are_refused_before_anything_is_read(value):
    with pytest.raises(SettingError, match="cannot be cut into tubelets"):
        resolve(Order(name="videomae_base.k400_pt_e800", kind="pretrain", values=(value,)))


def test_a_batch_of_more_videos_than_there_are_says_so():
    with pytest.raises(SettingError, match="a batch of 4,096 is more than the 1,577 videos of the list"):
        resolve(Order(name="videomamba_tiny.breakfast_f32_res224", kind="finetune", batch_size=4096))
