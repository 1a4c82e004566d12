"""A tokenizer trained on the embedded clips."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.protocols.reconstruction import reconstruct
from benchmarks.tokenizer_training import FILE, PICO, Lesson, train_tokenizer
from tests.digits_suite import rendered
from zoo.data.decode import read_frames
from zoo.data.digits import Sizes
from zoo.data.encode import write_video
from zoo.data.records import Record
from zoo.tokenizers import load_tokenizer

SIZES = Sizes(appearance=(40, 10), motion=(40, 10), order=(6, 6))


def test_a_short_run_leaves_a_file_with_the_averaged_weights(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (16, 24, 24, 3)).astype(np.uint8)
    write_video(tmp_path / "clip.mp4", frames, fps=8)
    small = {"channels": 4}
    lesson = Lesson(overrides=small, recipe=replace(PICO, steps=2, global_batch=1, warmup_steps=0), adversary=1)
    records = [Record(tmp_path / "clip.mp4", -1, 0)]
    tokenizer, told = train_tokenizer(records, tmp_path / "run", lesson)
    assert [row["step"] for row in told.curves] == [1, 2]
    assert "discriminator_loss" in told.curves[0]
    again = load_tokenizer(tmp_path / "run" / FILE)
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in tokenizer.state_dict().items())
    start = lesson.objective(0).tokenizer.state_dict()
    assert not torch.equal(tokenizer.state_dict()["decoder.out.weight"], start["decoder.out.weight"])


def test_a_frozen_scorer_stays_as_it_was_drawn():
    lesson = replace(Lesson(), overrides={"channels": 4, "keep_tokens": 10}, frozen_scorer=True)
    trained = [name for name, it in lesson.objective(0).named_parameters() if it.requires_grad]
    assert trained
    assert not [name for name in trained if "scorer" in name]
    learned = replace(lesson, frozen_scorer=False).objective(0)
    assert [name for name, it in learned.named_parameters() if it.requires_grad and "scorer" in name]


def test_a_scorer_that_is_not_there_cannot_be_frozen():
    lesson = Lesson(name="magvit2_causal", overrides={"channels": 32, "depth": 1}, frozen_scorer=True)
    with pytest.raises(ValueError, match="has no importance scorer to freeze"):
        lesson.objective(0)


@pytest.mark.slow
def test_a_minute_of_training_beats_the_mean_frame_on_clips_it_has_not_seen(tmp_path):
    suite, cache = rendered(tmp_path / "digits", SIZES)
    train = [
        record._replace(row=row)
        for row, record in enumerate([*suite.records("appearance", "train"), *suite.records("motion", "train")])
    ]
    tokenizer, told = train_tokenizer(train, tmp_path / "run", Lesson(), cache=cache)
    files = [record.path for task in ("appearance", "motion") for record in suite.records(task, "test")]
    clips = torch.stack([torch.from_numpy(read_frames(path)).movedim(-1, 0) for path in files]) / 255
    report = reconstruct(tokenizer, [clips], against=())
    mean = float((clips - clips.mean((0, 2), keepdim=True)).square().mean())
    assert report.point.psnr > -10 * math.log10(mean) + 0.7  # measured: 1.33
    last = told.curves[-20:]
    assert sum(row["reconstruction"] for row in last) < sum(row["blank_loss"] for row in last)


@pytest.mark.parametrize("tubelet", [(1, 8, 8), (2, 16, 16)], ids=str)
def test_a_fitted_tokenizer_has_one_code_per_token_and_keeps_half(tubelet):
    clip = replace(Lesson().clip, num_frames=16, img_size=4 * tubelet[1])
    fitted = Lesson(overrides={"channels": 4}).fitted(tubelet, clip)
    tokenizer = fitted.objective(0).tokenizer
    assert tokenizer.tubelet == tubelet
    assert tokenizer.keep_tokens == round(768 / 1568 * (16 // tubelet[0]) * 16)
