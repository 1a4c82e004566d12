import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cli, evaluate
from benchmarks.results import Store
from benchmarks.suites import table
from benchmarks.views import VIEWS
from tests.benchmarks.tiny_files import SUITE, TEST, write_files
from zoo import create_model, save_checkpoint
from zoo.push import save_folder
from zoo.registry import get_architecture
from zoo.training.classify import Classify
from zoo.training.predictions import MERGE_RULES

ROOT = Path(__file__).parents[3]
LAUNCH = ROOT / "benchmarks" / "launch"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("videos"))


@pytest.fixture(autouse=True)
def _tiny_suite(monkeypatch):
    monkeypatch.setitem(table.SUITES, SUITE.name, SUITE)


@pytest.fixture
def broken(videos, tmp_path):
    """The same videos with a damaged one, a missing one and an empty one."""
    folder = shutil.copytree(videos, tmp_path / "broken")
    (folder / "2.mp4").write_bytes(b"this is no video")
    (folder / "5.mp4").unlink()
    (folder / "11.mp4").write_bytes(b"")
    return folder


def call(capsys, *words):
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def shade(data, out, *words):
    usual = ("eval", "vit_pico", "--suite", "tiny_files", "--task", "shade", "--accelerator", "cpu")
    return (*usual, "--data", data, "--out", out, *words)


def test_random_weights_are_scored_on_every_video_and_everything_is_kept(videos, tmp_path, capsys):
    status, out, err = call(capsys, *shade(videos, tmp_path))
    assert status == 0, err
    assert "20 scored + 0 failed = 20 videos of tiny_files" in out
    (result,) = Store(tmp_path).results()
    assert list(result.metrics) == ["top1", "mean_class"]
    assert (result.n_expected, result.n_evaluated, result.failed) == (TEST, TEST, [])
    assert result.details["known_sizes"] == ["ours"]
    assert result.details["parameters"] == get_architecture("vit_pico").parameters
    assert set(result.details["per_class"]) == {"dark", "light"}
    assert result.identity.init == "random"
    assert result.decoder
    assert result.versions["torch"]
    views = Store(tmp_path).arrays(result, "views")
    assert views["scores"].shape == (TEST, 2)
    assert views["rows"].tolist() == list(range(TEST))


@pytest.mark.parametrize("workers", [0, 2])
def test_three_broken_videos_among_twenty_mean_no_headline(broken, tmp_path, capsys, workers):
    status, out, _ = call(capsys, *shade(broken, tmp_path / "out", "--workers", workers))
    assert status == 1
    assert "17 scored + 3 failed = 20 videos" in out
    assert "no headline number: 3 of 20 videos could not be scored, and 0 are tolerated" in out
    assert "top1" not in out
    for name in ("2.mp4", "5.mp4", "11.mp4"):
        assert f"failed: {broken / name}: " in out
    (result,) = Store(tmp_path / "out").results()
    assert result.metrics == {}
    assert (result.n_evaluated, len(result.failed)) == (17, 3)


@pytest.mark.parametrize(("words", "status"), [("3", 0), ("15%", 0), ("2", 1), ("14.9%", 1)])
def test_failures_within_a_stated_tolerance_are_told_beside_the_score(broken, tmp_path, capsys, words, status):
    found, out, _ = call(capsys, *shade(broken, tmp_path / "out", "--tolerate", words))
    assert found == status
    (result,) = Store(tmp_path / "out").results()
    assert bool(result.metrics) == (status == 0)
    assert (f"without the 3 failed videos (--tolerate {words}, 3 videos)" in out) == (status == 0)
    assert result.details["tolerated"] == (3 if status == 0 else 2)


def test_a_checkpoint_tells_the_task_by_its_classes_whatever_their_order(videos, tmp_path, capsys):
    model = create_model("vit_pico", num_classes=2)
    names = ("light", "dark")
    model.spec = type(model.spec)(**{**model.spec.__dict__, "label_names": names})
    save_checkpoint(model, tmp_path / "model.safetensors", clip=model.spec.clip)
    words = ("eval", "vit_pico", "--suite", "tiny_files", "--data", videos, "--accelerator", "cpu")
    status, _, err = call(capsys, *words, "--checkpoint", tmp_path / "model.safetensors", "--out", tmp_path / "out")
    assert status == 0, err
    (result,) = Store(tmp_path / "out").results()
    assert result.identity.task == "shade"
    assert result.details["classes"] == "2 of 2 classes have another number in the network"
    assert result.settings["classes"] == [1, 0]
    # The same weights with the data set's order in the file answer the other way round.
    model.spec = type(model.spec)(**{**model.spec.__dict__, "label_names": names[::-1]})
    save_checkpoint(model, tmp_path / "other.safetensors", clip=model.spec.clip)
    call(capsys, *words, "--checkpoint", tmp_path / "other.safetensors", "--out", tmp_path / "other")
    (other,) = Store(tmp_path / "other").results()
    found = (("out", result), ("other", other))
    one, two = (Store(tmp_path / name).arrays(it, "views")["scores"] for name, it in found)
    np.testing.assert_allclose(one, two[:, ::-1], rtol=1e-6)


def test_other_classes_than_the_data_sets_are_refused_by_name(videos, tmp_path, capsys):
    model = create_model("vit_pico", num_classes=2)
    model.spec = type(model.spec)(**{**model.spec.__dict__, "label_names": ("cat", "dog")})
    save_checkpoint(model, tmp_path / "model.safetensors", clip=model.spec.clip)
    status, _, err = call(capsys, *shade(videos, tmp_path, "--checkpoint", tmp_path / "model.safetensors"))
    assert status == 2
    assert "the data set's classes are not the network's" in err
    assert "'dark'" in err


def test_values_are_measured_by_their_squared_error(videos, tmp_path, capsys):
    words = ("eval", "vit_pico", "--suite", "tiny_files", "--task", "level", "--data", videos, "--accelerator", "cpu")
    status, _, err = call(capsys, *words, "--out", tmp_path)
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    assert list(result.metrics) == ["mse"]
    stored = Store(tmp_path).arrays(result, "views")
    values = stored["scores"].reshape(TEST, 2).mean(1)
    assert result.metrics["mse"].value == pytest.approx(np.mean((values - (np.arange(TEST) % 2 + 0.5)) ** 2), rel=1e-5)
    assert result.settings["merge"] == "mean"


def test_windows_of_a_video_are_merged_into_one_answer(videos, tmp_path, capsys):
    words = ("eval", "vit_pico", "--suite", "tiny_files", "--task", "parts", "--data", videos, "--accelerator", "cpu")
    status, _, err = call(capsys, *words, "--out", tmp_path, "--crops", "3")
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    assert result.n_expected == TEST
    assert next(iter(result.metrics)) == "mean_class"
    stored = Store(tmp_path).arrays(result, "views")
    # 2 clips x 3 crops; three videos come in two parts.
    assert np.bincount(stored["rows"]).tolist() == [12] * 3 + [6] * (TEST - 3)


@pytest.mark.parametrize("protocol", ["linear", "finetune", pytest.param("attentive", marks=pytest.mark.slow)])
def test_protocols_that_train_leave_scores_of_every_view(videos, tmp_path, capsys, protocol):
    status, _, err = call(capsys, *shade(videos, tmp_path, "--protocol", protocol, "--budget", "smoke", "--clips", "2"))
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    assert result.identity.protocol == protocol
    attends = protocol == "attentive"
    assert result.settings["merge"] == ("segments attended" if attends else "mean of softmax")
    assert len(Store(tmp_path).arrays(result, "views")["rows"]) == TEST * (1 if attends else 2)
    assert bool(result.weights) == (protocol != "attentive")


def test_an_interrupted_evaluation_says_what_is_kept(videos, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate", interrupted)
    status, _, err = call(capsys, *shade(videos, tmp_path))
    assert status == 130
    assert f"zoo: interrupted: what was computed is kept in {tmp_path}; the same command goes on from there" in err


def test_a_part_of_a_list_is_no_headline(videos, tmp_path, capsys):
    status, out, _ = call(capsys, *shade(videos, tmp_path, "--limit", "4"))
    assert status == 0
    assert "no headline number: only the first 4 of 20 videos were scored (--limit)" in out
    (result,) = Store(tmp_path).results()
    assert result.metrics == {}
    assert result.settings["limit"] == 4


def test_a_dry_run_prints_the_protocol_and_scores_nothing(videos, tmp_path, capsys):
    words = ("--dry-run", "--views", "videomae_k400")
    status, out, err = call(capsys, *shade(videos, tmp_path / "out", *words))
    assert status == 0, err
    for text in (
        "vit_pico, random weights",
        "16 per clip, strided, stride 4",
        "clip 0: frames 0 to 60",
        "clip 4: frames 236 to 296",
        "resized to 32 x 24 px; 24 px crops at top 0, left 0, 4, 8",
        "mean 0.485, 0.456, 0.406",
        "5 clips x 3 crops",
        "mean of softmax: softmax of each view",
        "top-1 accuracy, averaged over videos",
        "test: 20 videos, as many as ours",
        "0 'dark', 1 'light' (2, sha256",
        "Half of the videos are dark.",
    ):
        assert text in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--suite", "tiny_file"], "tiny_files"),
        (["--task", "shde"], "shade"),
        (["--split", "tset"], "test"),
        (["--merge", "mean-of-softmx"], "mean of softmax"),
        (["--merge", "mean"], "does not fit the metric 'top1'"),
        (["--merge", "segments-attended"], "needs a head that looks at all tokens"),
        (["--protocol", "as-is"], "as_is"),
        (["--views", "videomae_k40"], "videomae_k400"),
        (["--data", "no/such/folder"], "no/such/folder: there is no such folder"),
        (["--tolerate", "some"], "neither a number of videos"),
        (["--tolerate", "101%"], "neither a number of videos"),
        (["--checkpoint", "no.safetensors"], "no.safetensors: there is no such file"),
        (["--decoder", "opencv"], "pyav"),
        (["--clips", "0"], "whole number from 1"),
        (["--share", "5%"], "--share is for --protocol low_shot"),
        (["--protocol", "low_shot", "--share", "5"], "such as 5%, 10% or 50%"),
        (["--protocol", "linear", "--lrs", "fast"], "such as 1e-3,3e-4"),
        (["--protocol", "knn", "--lrs", "1e-3"], "not for 'knn'"),
        (["--protocol", "low_shot", "--share", "1%"], "holding out 0.2 of 2 videos leaves a side empty"),
        (
            ["--protocol", "linear", "--devices", "2"],
            "computes on one device in single precision; leave out --devices 2",
        ),
        (
            ["--protocol", "knn", "--strategy", "ddp", "--precision", "bf16-mixed"],
            "--strategy ddp and --precision bf16",
        ),
        (
            ["--out", "/dev/null/x"],
            "zoo eval: --out /dev/null/x: Not a directory; give a folder that can be written to",
        ),
        (["--accelerator", "gpuu"], "unknown accelerator 'gpuu'; known: auto, cpu"),
        (["--precision", "8"], "unknown precision '8'; known: 32-true"),
        (["--strategy", "dpd"], "unknown strategy 'dpd'; known: auto, ddp"),
    ],
)
def test_bad_input_is_answered_with_what_would_be_right(videos, tmp_path, capsys, words, hint):
    status, _, err = call(capsys, *shade(videos, tmp_path / "out", *words))
    assert status == 2
    assert hint in err
    assert "Traceback" not in err


def test_a_suite_with_several_tasks_asks_for_one(videos, capsys):
    status, _, err = call(capsys, "eval", "vit_pico", "--suite", "tiny_files", "--data", videos)
    assert status == 2
    assert "say which with --task: shade, level, parts" in err
    status, _, err = call(capsys, "eval", "vit_pico", "--suite", "tiny_files", "--data", "no/such/folder")
    assert status == 2
    assert "no/such/folder: there is no such folder" in err
    status, _, err = call(capsys, "eval", "vit_pic", "--suite", "tiny_files", "--data", "no/such/folder")
    assert "unknown model 'vit_pic'" in err


def test_the_help_names_all_views_and_merge_rules(capsys):
    status, out, _ = call(capsys, "eval", "--help")
    assert status == 0
    assert all(f"  {name} " in out for name in VIEWS)
    assert ", ".join(MERGE_RULES) in out


def test_what_push_wrote_is_evaluated_by_its_folder(videos, tmp_path, capsys):
    model = create_model("vit_pico", num_classes=2)
    save_folder(model, tmp_path / "pushed")
    usual = shade(videos, tmp_path / "out", "--limit", 2, "--clips", 1, "--crops", 1)[2:]
    status, _, err = call(capsys, "eval", f"local-dir:{tmp_path / 'pushed'}", *usual)
    assert status == 0, err
    (result,) = Store(tmp_path / "out").results()
    assert result.identity.system == "vit_pico"
    assert str(tmp_path / "pushed") in result.details["weights"]
    _, _, err = call(capsys, "eval", "local-dir:x", *usual, "--pretrained")
    assert "local-dir:x brings its weights; leave out --pretrained" in err


@pytest.mark.parametrize("name", ["torchrun.sh", "slurm.sbatch"])
def test_launch_scripts_are_sound_shell(name):
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)


PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from benchmarks.suites import table
from tests.benchmarks.tiny_files import SUITE
table.SUITES[SUITE.name] = SUITE
from benchmarks.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["lightning", "torchrun"])
def test_two_processes_write_the_numbers_of_one(broken, tmp_path, launcher):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT)))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for processes in (1, 2):
        words = [str(word) for word in shade(broken, tmp_path / str(processes), "--devices", processes, "--clips", "2")]
        start = [sys.executable, str(program)]
        if launcher == "torchrun" and processes == 2:
            run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
            start = [sys.executable, *run, str(program)]
        extra = ["--strategy", "ddp"] if processes == 2 else []
        done = subprocess.run([*start, *words, "--batch-size", "6", *extra], env=environment, timeout=300, check=False)
        assert done.returncode == 1  # three videos failed
    one, two = (Store(tmp_path / name).results() for name in ("1", "2"))
    assert len(one) == len(two) == 1
    assert (one[0].failed, one[0].details["metrics_of_the_scored"]) == (
        two[0].failed,
        two[0].details["metrics_of_the_scored"],
    )
    first, second = (Store(tmp_path / name).arrays(it[0], "views") for name, it in (("1", one), ("2", two)))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


@pytest.mark.slow
def test_the_torchrun_script_runs_two_processes(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "ZOO_CACHE": str(tmp_path / "cache")}
    words = ["2", "vit_pico", "--suite", "digits_smoke", "--task", "motion", "--accelerator", "cpu"]
    done = subprocess.run(
        [str(LAUNCH / "torchrun.sh"), *words, "--out", str(tmp_path / "out"), "--data", str(tmp_path)],
        env=environment, cwd=ROOT, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(Store(tmp_path / "out").results()) == 1


def test_json_of_a_result_is_plain(videos, tmp_path, capsys):
    call(capsys, *shade(videos, tmp_path))
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text())["settings"]["protocol"]["precision"] == "32-true"


def test_features_are_computed_once_and_read_by_the_next_probe(videos, tmp_path, capsys):
    words, found = ("--protocol", "linear", "--budget", "smoke", "--features", tmp_path / "kept"), []
    for rates in ("1e-2", "1e-2", "1e-3"):
        status, out, err = call(capsys, *shade(videos, tmp_path / "out", *words, "--lrs", rates))
        assert status == 0, err
        found.append([line.split(": ")[1].split(" ")[0] for line in out.splitlines() if line.startswith("features of")])
    assert found == [["computed"] * 2, ["read"] * 2, ["read"] * 2]
    assert len(list((tmp_path / "kept").iterdir())) == 2
    first, second = (
        it for it in Store(tmp_path / "out").results() if it.settings["protocol"]["recipe"]["lrs"] == [0.01]
    )
    assert first.metrics == second.metrics
    assert first.identity == second.identity


def test_unreadable_training_videos_stop_a_probe_as_they_stop_a_training(videos, tmp_path, capsys):
    folder = shutil.copytree(videos, tmp_path / "broken")
    (folder / "25.mp4").write_bytes(b"this is no video")
    status, _, err = call(capsys, *shade(folder, tmp_path / "out", "--protocol", "knn"))
    assert status == 2
    assert "1 of 12 training videos could not be read, more than the allowed share of 0.01: " in err
    assert "25.mp4" in err


@pytest.mark.parametrize("protocol", ["attentive", pytest.param("attentive4", marks=pytest.mark.slow)])
def test_the_point_of_a_sweep_that_was_chosen_is_kept(videos, tmp_path, capsys, protocol):
    rates = ("--lrs", "1e-3,1e-2", "--weight-decays", "0.01,0.1")
    status, out, err = call(capsys, *shade(videos, tmp_path, "--protocol", protocol, "--budget", "smoke", *rates))
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    recipe, told = result.settings["protocol"]["recipe"], result.details
    assert result.settings["protocol"]["depth"] == (4 if protocol == "attentive4" else 1)
    assert told["lr"] in recipe["lrs"]
    assert told["weight_decay"] in recipe["weight_decays"]
    assert sum(name.startswith("held_out_accuracy_lr") for name in told) == 4
    assert f"chosen on held-out training videos: learning rate {told['lr']:g}, weight decay" in out


def test_low_shot_keeps_every_split_and_tells_their_mean(videos, tmp_path, capsys):
    words = ("--protocol", "low_shot", "--budget", "smoke", "--share", "50%")
    status, out, err = call(capsys, *shade(videos, tmp_path, *words, "--lrs", "1e-2"))
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    settings, told = result.settings["protocol"], result.details["splits"]
    assert (settings["share"], len(set(settings["subsets"]))) == (0.5, 3)
    accuracies = []
    for split in range(3):
        kept = Store(tmp_path).arrays(result, f"views_split_{split}")
        accuracies.append((kept["scores"].argmax(1) == kept["labels"]).mean())
    assert told["each"] == pytest.approx(accuracies)
    assert next(iter(result.metrics)) == "top1_over_splits"
    assert result.metrics["top1_over_splits"].value == pytest.approx(np.mean(accuracies)) == told["mean"]
    assert result.metrics["top1"].value == pytest.approx(np.median(accuracies))
    assert "top1 over 3 splits: " in out


@pytest.mark.parametrize("protocol", ["linear", pytest.param("attentive", marks=pytest.mark.slow)])
def test_values_are_probed_too(videos, tmp_path, capsys, protocol):
    words = ("eval", "vit_pico", "--suite", "tiny_files", "--task", "level", "--data", videos, "--accelerator", "cpu")
    status, _, err = call(
        capsys, *words, "--out", tmp_path, "--protocol", protocol, "--budget", "smoke", "--lrs", "1e-2"
    )
    assert status == 0, err
    (result,) = Store(tmp_path).results()
    assert list(result.metrics) == ["mse"]
    stored = Store(tmp_path).arrays(result, "views")
    assert stored["targets"].tolist() == [row % 2 + 0.5 for row in range(TEST) for _ in range(2)]
    assert result.metrics["mse"].value < 0.5


def test_an_interrupted_evaluation_goes_on_and_leaves_nothing_in_its_folder(videos, tmp_path, capsys, monkeypatch):
    call(capsys, *shade(videos, tmp_path / "whole", "--batch-size", "4"))
    real = Classify.test_step

    def stopping(self, batch, batch_idx):
        real(self, batch, batch_idx)
        if batch_idx == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Classify, "test_step", stopping)
    status, _, err = call(capsys, *shade(videos, tmp_path / "out", "--batch-size", "4"))
    assert status == cli.INTERRUPTED
    assert "interrupted" in err
    monkeypatch.setattr(Classify, "test_step", real)
    status, out, err = call(capsys, *shade(videos, tmp_path / "out", "--batch-size", "4"))
    assert status == 0, err
    assert "3 batches of the test list were scored by the run before" in out
    (whole,), (again,) = (Store(tmp_path / name).results() for name in ("whole", "out"))
    assert whole.metrics == again.metrics
    one, two = (Store(tmp_path / name).arrays(it, "views") for name, it in (("whole", whole), ("out", again)))
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name])
    assert not list((tmp_path / "out" / "work").iterdir())


def test_a_dry_run_of_a_tokenizer_renders_and_reads_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    words = ("eval", "lvmae_tokenizer_tiny", "--suite", "digits", "--protocol", "reconstruction", "--dry-run")
    status, out, err = call(capsys, *words, "--out", tmp_path / "out")
    assert status == 0, err
    assert "64 of each task (appearance, motion, order)" in out
    assert list(tmp_path.iterdir()) == []
