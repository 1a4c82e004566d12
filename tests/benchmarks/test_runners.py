from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import metrics, plan, runners
from benchmarks.plan import Comparison
from benchmarks.provenance import Provenance
from benchmarks.results import Store
from benchmarks.systems import systems
from tests.benchmarks.tiny_suite import LEAKING, SUITE, VIDEOS, TinyVideos, tiny_budget
from zoo import create_model
from zoo.data.transforms import eval_clips
from zoo.tokenizers import load_tokenizer
from zoo.training.pretrain import fingerprint

TOLD = Provenance(device="a processor", versions={"torch": "2"}, commit="abc", command="zoo compare")


class Bench:
    """Runs single entries of a plan in this process."""

    def __init__(self, folder, *, suite=SUITE, broken=(), protocol="finetune", system="vit_pico"):
        videos = TinyVideos(folder / "videos", broken)
        self.comparison = Comparison(
            systems=systems([system], side_px=24, suite="tiny"),
            suite=suite,
            videos=videos,
            protocol=protocol,
            budget=tiny_budget(),
            seeds=range(1),
        )
        self.context = runners.Context(
            folder=folder / "out",
            suite=suite,
            videos=videos,
            cache=videos.cache(),
            budget=self.comparison.budget,
            provenance=TOLD,
        )
        self.worker = runners.make_runner(self.context)
        self.store = Store(self.context.results)
        self.seen = []

    def run(self, kind, **wanted):
        """The result of the first run that fits, after those that it needs."""
        runs = plan.plan(self.comparison)
        return self.carry_out(
            next(
                run
                for run in runs
                if run.identity.kind == kind
                and all(getattr(run.identity, name) == value for name, value in wanted.items())
            ),
            {run.key: run for run in runs},
        )

    def carry_out(self, run, runs):
        finished = self.store.finished()
        needed = {key: finished.get(key) or self.carry_out(runs[key], runs) for key in run.needs}
        return self.worker(run, needed, lambda *progress: self.seen.append(progress))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


def test_pretraining_leaves_weights_curves_and_a_picture(bench):
    result = bench.run("pretrain")
    assert [row["step"] for row in result.curves] == [1, 2, 3]
    loss, blank = (sum(row[name] for row in result.curves) for name in ("loss", "blank_loss"))
    assert result.metrics["explained"].value == pytest.approx(1 - loss / blank)
    assert (bench.context.folder / result.weights).exists()
    assert result.details["clips_listed"] == 2 * VIDEOS["train"]
    arrays = bench.store.arrays(result, "picture")
    assert list(arrays) == ["clip", "1 shown", "2 predicted"]
    assert {array.shape for array in arrays.values()} == {(2, 16, 24, 24, 3)}
    assert "patches" in result.details["picture_note"]
    assert bench.seen[-1][:2] == (3, 3)
    assert not list((bench.context.folder / "work").iterdir())


def test_what_the_network_is_shown_is_the_clip_where_it_is_not_gray(bench):
    clip, seen, made = bench.store.arrays(bench.run("pretrain"), "picture").values()
    gray = (seen == 128).all(-1)
    # Tubes: three quarters of nine places, rounded down to 6, are dropped in every frame.
    assert gray.mean() == pytest.approx(6 / 9, abs=0.01)
    np.testing.assert_array_equal(seen[~gray], clip[~gray])
    np.testing.assert_array_equal(made[~gray], clip[~gray])
    assert (made[gray] != clip[gray]).any()


def test_an_evaluation_scores_every_test_video_once_and_says_how(bench):
    result = bench.run("evaluate", task="drift", init="random")
    assert (result.n_expected, result.n_evaluated, result.failed) == (16, 16, [])
    predictions = bench.store.arrays(result, "predictions")
    np.testing.assert_array_equal(predictions["rows"], np.arange(16))
    np.testing.assert_array_equal(predictions["labels"], np.arange(16) % 2)
    np.testing.assert_allclose(predictions["probabilities"].sum(1), 1, rtol=1e-5)
    hits = predictions["probabilities"].argmax(1) == predictions["labels"]
    # Videos 2k and 2k + 1 are one scene.
    assert result.metrics["top1"] == pytest.approx(metrics.accuracy(hits[None], scenes=np.arange(16) // 2))
    assert (result.commit, result.command, result.versions) == ("abc", "zoo compare", {"torch": "2"})
    assert result.decoder.startswith("pyav ")


def test_the_kept_weights_are_the_model_that_was_scored_with_its_class_names(bench):
    result = bench.run("evaluate", task="drift", init="random")
    model = create_model("vit_pico", checkpoint_path=bench.context.folder / result.weights).eval()
    assert model.spec.label_names == ("right", "left")
    assert model.spec.clip.sampling == "segments"
    record = bench.context.videos.records("drift", "test")[5]
    frames = torch.from_numpy(bench.context.cache.read(record.path))
    with torch.no_grad():
        again = model(eval_clips(frames, model.spec.clip, crops=1)).softmax(1)[0]
    stored = bench.store.arrays(result, "predictions")["probabilities"][5]
    np.testing.assert_allclose(again.numpy(), stored, rtol=1e-4, atol=1e-5)


def test_a_pretrained_start_begins_from_those_weights_and_a_random_one_does_not(bench):
    pretrained, random = (bench.run("evaluate", task="drift", init=init) for init in ("mae", "random"))
    assert pretrained.settings["start"] == bench.run("pretrain").identity.key
    first = [result.curves[0]["loss"] for result in (pretrained, random)]
    assert first[0] != first[1]


@pytest.mark.slow  # a whole comparison is repeated in test_compare.py
def test_the_same_seed_gives_the_same_predictions_in_another_folder(bench, tmp_path):
    other = Bench(tmp_path)
    for wanted in ({"init": "mae", "task": "drift"}, {"init": "random", "task": "shade"}):
        first, second = (one.run("evaluate", **wanted) for one in (bench, other))
        assert first.identity == second.identity
        np.testing.assert_array_equal(
            bench.store.arrays(first, "predictions")["probabilities"],
            other.store.arrays(second, "predictions")["probabilities"],
        )


def test_an_unreadable_test_video_is_listed_and_not_replaced(tmp_path):
    bench = Bench(tmp_path, broken=("test-3.mp4",))
    for kind, wanted in (("evaluate", {"task": "drift", "init": "random"}), ("control", {"system": "first frame"})):
        result = bench.run(kind, **wanted)
        assert (result.n_expected, result.n_evaluated) == (16, 15)
        (failed,) = result.failed
        assert failed.endswith("test-3.mp4: damaged")
        assert 3 not in bench.store.arrays(result, "predictions")["rows"]
        assert not result.complete


def test_the_first_frame_control_sees_a_leak_and_nothing_where_there_is_none(tmp_path):
    bench = Bench(tmp_path, suite=LEAKING)
    shade, drift = (bench.run("control", system="first frame", task=task) for task in ("shade", "drift"))
    assert shade.metrics["top1"].value == 1.0
    assert drift.metrics["top1"].value == 1.0  # the bright bar starts on one side
    assert "penalty" in shade.details


def test_the_bag_of_frames_cannot_tell_directions(bench):
    result = bench.run("control", system="bag of frames", task="drift")
    predictions = bench.store.arrays(result, "predictions")["probabilities"]
    np.testing.assert_allclose(predictions[0::2], predictions[1::2], rtol=1e-4, atol=1e-6)
    assert result.metrics["top1"].value == 0.5
    assert result.weights == ""


@pytest.mark.parametrize("protocol", ["linear", "attentive", "knn"])
def test_every_protocol_runs(tmp_path, protocol):
    bench = Bench(tmp_path, protocol=protocol)
    if protocol != "knn":
        budget = bench.context.budget
        settings = budget.evaluate[protocol]
        quick = replace(settings, recipe=replace(settings.recipe, steps=2, lrs=(1e-3,), warmup_steps=0))
        budget = replace(budget, evaluate={**budget.evaluate, protocol: quick})
        bench.comparison = replace(bench.comparison, budget=budget)
        bench.worker.context = replace(bench.context, budget=budget)
    result = bench.run("evaluate", task="shade", init="random")
    assert result.n_evaluated == 16
    assert bool(result.weights) == (protocol != "knn")


@pytest.mark.slow  # three trainings
def test_a_tokenizer_is_measured_kept_and_used_by_the_pretraining(tmp_path):
    bench = Bench(tmp_path, system="videomamba_pico:lvmae")
    pretrained = bench.run("pretrain")
    (codes,) = (it for it in bench.store.results() if it.identity.kind == "tokenizer")
    assert (codes.n_evaluated, len(codes.curves)) == (2 * VIDEOS["test"], 3)
    assert {"psnr", "ssim", "codebook_usage", "blank_psnr"} <= set(codes.metrics)
    kept = load_tokenizer(bench.context.folder / codes.weights)
    assert codes.details["hash"] == fingerprint(kept) == pretrained.details["outside"]["tokenizer"]
    shown = bench.store.arrays(pretrained, "picture")
    assert list(shown) == ["clip", "1 shown", "2 scores", "3 decoded", "4 tokenizer", "5 predicted"]
    assert shown["clip"].shape[1] == 32
    # Positions in time were learned on longer clips.
    evaluated = bench.run("evaluate", task="drift", init="lvmae")
    assert evaluated.settings["clip"]["num_frames"] == 16
    assert not list((bench.context.folder / "work").iterdir())
