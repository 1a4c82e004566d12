from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.evaluate import evaluate, no_headline, numbers, of_training, settings_of, share_of_batch
from benchmarks.evaluation import Request, resolve
from benchmarks.plan import plain
from benchmarks.protocols.outcome import Outcome
from benchmarks.recompute import recompute
from benchmarks.results import Store
from benchmarks.session import RequestError
from benchmarks.suites import table
from tests.backbones import hf_models
from tests.benchmarks.tiny_files import SUITE, write_files
from tests.benchmarks.tiny_suite import tiny_budget
from zoo import create_model, save_checkpoint
from zoo.batch import Unread
from zoo.card import ClipSpec
from zoo.data.datamodule import VideoDataModule
from zoo.data.decode import DecodeError
from zoo.data.encode import write_video
from zoo.data.records import Record, Span
from zoo.training.fit import Hardware
from zoo.training.predictions import Predictions


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("videos"))


@pytest.fixture
def asked(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)
    cpu = Hardware(accelerator="cpu")
    return Request(name="vit_pico", suite="tiny_files", task="shade", data=videos, out=tmp_path / "out", hardware=cpu)


def test_what_shapes_the_numbers_is_in_the_hash_and_what_does_not_is_not(asked):
    def hashes(**changes):
        return settings_of(resolve(replace(asked, **changes)))[1].settings_hash

    usual = hashes()
    for changes in (
        {"clips": 2},
        {"merge": "mean-of-logits"},
        {"limit": 3},
        {"hardware": Hardware(precision="bf16-mixed")},
    ):
        assert hashes(**changes) != usual
    assert hashes(batch_size=3, workers=2) == usual


def test_settings_and_identity_hold_whatever_tells_two_numbers_apart(asked):
    one = resolve(asked)
    settings, identity = settings_of(one)
    del settings["protocol"]
    assert settings == {
        "clip": plain(one.clip.to_dict()),
        "merge": "mean of softmax",
        "metric": "top1",
        "split": "test",
        "weights": "random",
        "classes": None,
    }
    asked = replace(asked, seed=4, budget="smoke")
    linear, finetune, averaged = (
        settings_of(resolve(replace(asked, protocol=name, **more)))
        for name, more in (("linear", {}), ("finetune", {}), ("attentive", {"merge": "mean-of-softmax", "clips": 2}))
    )
    assert {it.seed for _, it in (linear, finetune, averaged)} == {4}
    # The training list is part of what was evaluated.
    assert len({identity.split_hash, linear[1].split_hash}) == 2
    assert linear[1].split_hash == finetune[1].split_hash
    assert "augment" in finetune[0]["protocol"]
    assert averaged[0]["protocol"]["across_segments"] is False


def test_weights_trained_to_tell_the_classes_score_high_and_say_so_again_from_their_file(asked, tmp_path):
    trained = evaluate(resolve(replace(asked, protocol="linear", budget="smoke")))
    assert trained.result.metrics["top1"].value == 1.0
    weights = asked.out / trained.result.weights
    again = evaluate(resolve(replace(asked, checkpoint=weights, task="")))
    assert again.result.metrics["top1"].value == 1.0
    assert again.result.identity.init.startswith("weights-")
    first, second = (Store(asked.out).arrays(it.result, "predictions")["probabilities"] for it in (trained, again))
    np.testing.assert_allclose(first, second, atol=1e-5)
    assert not again.alarm


def test_trained_weights_near_chance_raise_the_alarm(asked, tmp_path):
    model = create_model("vit_pico", num_classes=2)
    with torch.no_grad():
        model.head.linear.bias.copy_(torch.tensor([50.0, 0.0]))
    model.spec = replace(model.spec, label_names=("dark", "light"))
    save_checkpoint(model, tmp_path / "bad.safetensors", clip=model.spec.clip)
    told = evaluate(resolve(replace(asked, checkpoint=tmp_path / "bad.safetensors")))
    assert told.result.metrics["top1"].value == 0.5
    assert "near the chance of 50.0%" in told.alarm == told.result.details["alarm"]


def test_a_file_without_a_classifier_is_refused(asked, tmp_path):
    state = create_model("vit_pico", num_classes=2).state_dict()
    kept = {name: it.clone() for name, it in state.items() if not name.startswith("head.")}
    save_file(kept, tmp_path / "backbone.safetensors")
    with pytest.raises(RequestError, match="no classifier for 2 classes"):
        evaluate(resolve(replace(asked, checkpoint=tmp_path / "backbone.safetensors")))


def test_nothing_scored_is_told_as_such(asked, tmp_path):
    for row in range(20):
        (tmp_path / f"{row}.mp4").write_bytes(b"nothing")
    told = evaluate(resolve(replace(asked, data=tmp_path, tolerate="100%")))
    assert told.reason == "no video could be scored"
    assert (told.metrics, told.result.n_evaluated, len(told.result.failed)) == ({}, 0, 20)


def test_a_lost_window_fails_its_video_once(asked, videos, tmp_path):
    for file in videos.glob("*.mp4"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    # Only the first of its two parts is there.
    write_video(tmp_path / "1.mp4", np.zeros((4, 24, 24, 3), np.uint8), fps=8)
    (tmp_path / "2.mp4").write_bytes(b"no video")
    one = resolve(replace(asked, data=tmp_path, task="parts", tolerate="2"))
    told = evaluate(replace(one, task=replace(one.task, videos_per_scene=2)))
    assert (told.result.n_evaluated, len(told.result.failed)) == (18, 2)
    assert "no frame lies in the part" in told.result.failed[0]
    again = recompute(told.path)
    assert list(again.metrics.items()) == list(told.result.metrics.items())
    assert told.result.metrics == numbers(again.predictions, headline="mean_class", per_scene=2)
    assert told.result.metrics != numbers(again.predictions, headline="mean_class")


def test_known_sizes_and_reasons(asked):
    one = resolve(asked)
    assert one.suite.copies_of(one.task.name, one.split, one.listed) == ["ours"]
    assert [no_headline(one, failed) != "" for failed in (0, 1, 20)] == [False, True, True]


def test_the_headline_metric_comes_first():
    torch.manual_seed(0)
    given = Predictions(torch.rand(40, 8), torch.arange(40) % 8, torch.arange(40))
    for name in ("top1", "recall5", "mean_class"):
        assert next(iter(numbers(given, headline=name))) == name


def test_a_batch_that_processes_cannot_share_evenly_is_refused():
    recipe = tiny_budget().control
    assert share_of_batch(replace(recipe, global_batch=12, accumulate=2), 3) == 2
    with pytest.raises(RequestError, match="3 processes cannot share a batch of 64 clips evenly"):
        share_of_batch(replace(recipe, global_batch=64), 3)


def test_a_network_of_another_library_is_evaluated_with_its_weights_and_its_class_names(asked, tmp_path):
    hf_models.classifier("videomae", ["light", "dark"]).save_pretrained(tmp_path / "net")
    one = resolve(replace(asked, name=f"hf:{tmp_path / 'net'}", pretrained=True))
    assert one.found.rows == (1, 0)  # by name: the data set's first class is the network's second
    result = evaluate(one).result
    assert (result.n_evaluated, result.identity.init) == (20, "weights-released")


def test_training_videos_count_once_and_all_that_could_not_be_read_are_named():
    records = [Record(Path("a"), 0, 0, Span(0, 1)), Record(Path("a"), 0, 0, Span(1, 2)), Record(Path("b"), 1, 1)]
    data = VideoDataModule(spec=ClipSpec(num_frames=2, sampling="dense", img_size=8), train=records)
    data.log.limit = 0.9
    data.log.add(DecodeError("b", "torn"))
    nothing = torch.empty(0, dtype=torch.int64)
    told = Outcome(
        probabilities=torch.empty(0, 2),
        labels=nothing,
        rows=nothing,
        expected=1,
        curves=[],
        seconds=0.0,
        unread_training=(Unread(0, "a", "gone"),),
    )
    assert of_training(told, data) == {
        "training_videos": 2,
        "training_failed": 2,
        "training_unread": ["a: gone", "b: torn"],
    }
