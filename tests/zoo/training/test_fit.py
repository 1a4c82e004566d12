import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData, tiny_model
from zoo.training.checkpoint import Interrupted, RunFileError, load_checkpoint
from zoo.training.classify import Classify
from zoo.training.features import AcceleratorError
from zoo.training.fit import Hardware, evaluate, fit
from zoo.training.log import read_log
from zoo.training.pretrain import Pretrain

AVERAGED = replace(RECIPE, ema_decay=0.7)
WORKER = Path(__file__).with_name("run_in_a_process.py")


class BrokenError(RuntimeError):
    """Raised on purpose."""


class BreaksAt(TinyData):
    """Data whose clips cannot be read from a step on."""

    def __init__(self, step, **options):
        super().__init__(**options)
        self.step = step

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.global_step >= self.step:
            raise BrokenError("a clip cannot be read")
        return batch


def pretrain(recipe=AVERAGED, seed=0):
    return Pretrain(MeanColour(), recipe, seed=seed)


def at(step, action):
    """A progress function that does something after a step."""
    return lambda now, row: action() if now == step else None


def fail():
    raise BrokenError("the callback fails")


def assert_same_file(run, other):
    """Checkpoints with the same content, tensor by tensor and bit by bit, and the same log."""
    assert (run / "log.jsonl").read_text() == (other / "log.jsonl").read_text()
    first, second = load_checkpoint(run / "last.ckpt"), load_checkpoint(other / "last.ckpt")
    for part in ("state_dict", "optimizer_states", "current_model_state", "averaging_state", "run", "global_step"):
        assert_same(first.get(part), second.get(part), part)


def assert_same(one, other, path):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}.{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    torch.manual_seed(0)
    run = tmp_path_factory.mktemp("whole")
    fit(pretrain(), TinyData(), run_dir=run)
    return run


def resume(run, data=None):
    """Go on with a fresh process' worth of state: other initial weights, other global random numbers."""
    torch.manual_seed(12345)
    report = fit(pretrain(), data or TinyData(), run_dir=run)
    return report.resumed_from


def test_a_run_that_dies_between_checkpoints_resumes_bit_for_bit(whole, tmp_path):
    with pytest.raises(BrokenError):
        fit(pretrain(), TinyData(), run_dir=tmp_path, checkpoint_every=3, progress=at(8, fail))
    assert resume(tmp_path) == 6
    assert_same_file(whole, tmp_path)


def test_a_run_whose_data_fail_keeps_every_step_and_resumes_bit_for_bit(whole, tmp_path):
    with pytest.raises(BrokenError):
        fit(pretrain(), BreaksAt(7), run_dir=tmp_path, checkpoint_every=0)
    assert resume(tmp_path) == 7
    assert_same_file(whole, tmp_path)


@pytest.fixture
def hears_ctrl_c():
    """Whoever runs the tests in the background of a shell has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_the_step_and_it_resumes_bit_for_bit(number, whole, tmp_path):
    handlers = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
    stopping = at(5, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted) as stop:
        fit(pretrain(), TinyData(), run_dir=tmp_path, checkpoint_every=0, progress=stopping)
    assert stop.value.code == 128 + number
    assert [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)] == handlers
    assert resume(tmp_path) == 5
    assert_same_file(whole, tmp_path)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        report = fit(
            pretrain(), TinyData(), run_dir=tmp_path, progress=at(5, lambda: os.kill(os.getpid(), signal.SIGINT))
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(report.curves) == 12


def test_interrupting_again_and_again_changes_nothing(whole, tmp_path):
    for step in (2, 3, 9):
        with pytest.raises(BrokenError):
            fit(pretrain(), BreaksAt(step), run_dir=tmp_path, checkpoint_every=2)
    assert resume(tmp_path, TinyData(num_workers=2)) == 9
    assert_same_file(whole, tmp_path)


def test_workers_and_another_start_of_the_global_generator_change_nothing(whole, tmp_path):
    torch.manual_seed(0)
    module = pretrain()
    torch.manual_seed(99)
    fit(module, TinyData(num_workers=2), run_dir=tmp_path)
    assert_same_file(whole, tmp_path)


def test_the_seed_changes_the_run(whole, tmp_path):
    torch.manual_seed(0)
    fit(pretrain(seed=1), TinyData(), run_dir=tmp_path)
    losses = [[row["loss"] for row in read_log(run)] for run in (whole, tmp_path)]
    assert losses[0] != losses[1]


def test_accumulated_batches_resume_bit_for_bit(tmp_path):
    recipe = replace(AVERAGED, accumulate=3, global_batch=12, steps=6)
    for folder in ("whole", "parts"):
        torch.manual_seed(0)
        if folder == "parts":
            with pytest.raises(BrokenError):
                fit(pretrain(recipe), BreaksAt(4), run_dir=tmp_path / folder)
            torch.manual_seed(7)
        fit(pretrain(recipe), TinyData(), run_dir=tmp_path / folder)
    assert_same_file(tmp_path / "whole", tmp_path / "parts")
    assert len(read_log(tmp_path / "whole")) == 6


def test_validating_changes_nothing_and_is_done_when_asked(tmp_path):
    seen = []

    class Watched(Classify):
        def on_validation_epoch_end(self):
            super().on_validation_epoch_end()
            seen.append((self.global_step, self.accuracy))

    for folder, every in (("without", 0), ("with", 4)):
        torch.manual_seed(0)
        fit(Watched(tiny_model(), AVERAGED), TinyData(), run_dir=tmp_path / folder, validate_every=every)
    assert [step for step, _ in seen] == [4, 8, 12]
    assert_same_file(tmp_path / "with", tmp_path / "without")


def test_a_finished_run_is_not_run_again(whole, monkeypatch):
    before = (whole / "last.ckpt").stat().st_mtime_ns
    module = pretrain()
    monkeypatch.setattr(module, "training_step", lambda *_: pytest.fail("trained again"))
    report = fit(module, TinyData(), run_dir=whole)
    assert (report.resumed_from, [row["step"] for row in report.curves]) == (12, list(range(1, 13)))
    assert (whole / "last.ckpt").stat().st_mtime_ns == before
    averaged = load_checkpoint(whole / "last.ckpt")["state_dict"]
    assert all(torch.equal(value, averaged[name]) for name, value in module.state_dict().items())


def test_another_recipe_does_not_continue_a_run(whole):
    with pytest.raises(ValueError, match=r"another run: it has \{'base_lr': 0.2\}, this run has \{'base_lr': 0.3\}"):
        fit(pretrain(replace(AVERAGED, base_lr=0.3)), TinyData(), run_dir=whole)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"batch_size": 3}, r"global batch of 4, but 3 clips x 1 devices x 1 accumulated batches are 3"),
        ({"repeats": 2}, "the recipe has 1 repeats of each clip, the data module 2"),
    ],
)
def test_data_that_do_not_fit_the_recipe_are_refused(data, message, tmp_path):
    module = TinyData()
    vars(module).update(data)
    with pytest.raises(ValueError, match=message):
        fit(pretrain(), module, run_dir=tmp_path)


def test_a_broken_checkpoint_stops_the_run(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(RunFileError, match=r"cannot read checkpoint .*last\.ckpt"):
        fit(pretrain(), TinyData(), run_dir=tmp_path)


def test_averaged_weights_follow_their_formula_and_replace_the_others_at_the_end(tmp_path):
    history = []

    class Recorded(Pretrain):
        def after_step(self, step):
            history.append(self.objective.decoder.weight.detach().clone())

    torch.manual_seed(0)
    module = Recorded(MeanColour(), AVERAGED)
    fit(module, TinyData(), run_dir=tmp_path)
    average = history[0]
    for weight in history[1:]:
        average = 0.7 * average + 0.3 * weight
    torch.testing.assert_close(module.objective.decoder.weight.detach(), average)
    stored = load_checkpoint(tmp_path / "last.ckpt")
    assert torch.equal(stored["current_model_state"]["objective.decoder.weight"], history[-1])
    assert torch.equal(stored["state_dict"]["objective.decoder.weight"], module.objective.decoder.weight)


def test_the_learning_rate_of_every_step_is_the_schedules(whole):
    schedule = pretrain().schedule
    assert [row["lr"] for row in read_log(whole)] == [schedule(step) for step in range(12)]


def test_progress_sees_every_logged_step(tmp_path):
    seen = []
    report = fit(
        pretrain(), TinyData(), run_dir=tmp_path, log_every=5, progress=lambda step, row: seen.append((step, row))
    )
    assert [step for step, _ in seen] == [5, 10, 12]
    assert [row for _, row in seen] == report.curves


def test_the_bar_shows_groups_steps_and_loss(tmp_path, capsys):
    report = fit(pretrain(), TinyData(), run_dir=tmp_path, progress="bar")
    assert "12/12" in (out := capsys.readouterr().err)
    assert "objective.decoder.weight" in out
    assert f"loss {report.curves[-1]['loss']:.4f}" in out


def test_the_table_of_groups_lies_beside_the_log(whole):
    assert "objective.decoder.weight" in (whole / "groups.txt").read_text()


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    module = None
    with torch.random.fork_rng():
        module = pretrain()
    fit(module, TinyData(), run_dir=tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_bf16_and_gradient_checkpointing_train(tmp_path):
    recipe = replace(RECIPE, precision="bf16-mixed", checkpointed_blocks=2, gradient_clip=0.01)
    module = pretrain(recipe)
    report = fit(module, TinyData(), run_dir=tmp_path)
    assert len(report.curves) == 12
    assert module.backbone.checkpointed_blocks == 2


def test_evaluation_gives_each_video_once(tmp_path):
    module = Classify(tiny_model(), replace(RECIPE, steps=80), num_views=3)
    fit(module, TinyData(), run_dir=tmp_path)
    predictions = evaluate(module, TinyData(views=3))
    assert predictions.rows.tolist() == list(range(10))
    assert module.accuracy == (predictions.probabilities.argmax(1) == predictions.labels).float().mean() > 0.5


@pytest.mark.gpu
def test_a_gpu_trains_resumes_and_evaluates(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    gpu = Hardware(accelerator="gpu")
    recipe = replace(AVERAGED, precision="bf16-mixed", steps=80, gradient_clip=1.0)
    losses = []
    for folder in ("whole", "parts"):
        torch.manual_seed(0)
        if folder == "parts":
            with pytest.raises(BrokenError):
                fit(
                    Classify(tiny_model(), recipe),
                    BreaksAt(40),
                    run_dir=tmp_path / folder,
                    hardware=gpu,
                )
        module = Classify(tiny_model(), recipe, num_views=3)
        report = fit(module, TinyData(), run_dir=tmp_path / folder, hardware=gpu)
        assert report.resumed_from == (40 if folder == "parts" else 0)
        losses.append([row["loss"] for row in report.curves])
    # Kernels on a GPU may add in another order from run to run, so closeness is all that can be asked for.
    assert losses[0] == pytest.approx(losses[1], rel=0.1, abs=0.02)
    predictions = evaluate(module, TinyData(views=3), hardware=gpu)
    assert predictions.rows.tolist() == list(range(10))
    assert module.accuracy > 0.5


def run_in_a_process(run, *options):
    return subprocess.Popen([sys.executable, str(WORKER), str(run), *options], cwd=Path(__file__).parents[3])


@pytest.mark.slow
def test_sigterm_ends_the_process_with_143(tmp_path):
    process = run_in_a_process(tmp_path, "--terminate-at", "5")
    assert process.wait(timeout=120) == 143
    assert load_checkpoint(tmp_path / "last.ckpt")["global_step"] == 5


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
def test_eight_kills_leave_the_run_unchanged(tmp_path, workers):
    steps, whole, parts = "40", tmp_path / "whole", tmp_path / "parts"
    assert run_in_a_process(whole, "--steps", steps).wait(timeout=120) == 0
    for kill in range(8):
        process = run_in_a_process(parts, "--steps", steps, "--workers", workers, "--kill-at", str(4 * kill + 3))
        assert process.wait(timeout=120) == -signal.SIGKILL
    assert run_in_a_process(parts, "--steps", steps, "--workers", workers).wait(timeout=120) == 0
    assert_same_file(whole, parts)


@pytest.mark.parametrize(("option", "known"), [("precision", "32-true"), ("strategy", "ddp"), ("accelerator", "cpu")])
def test_hardware_that_lightning_does_not_know_is_told_before_anything_is_read(option, known):
    Hardware(accelerator="cpu").check()
    replace(Hardware(accelerator="cpu"), **{option: known}).check()
    with pytest.raises(AcceleratorError, match=f"unknown {option} 'nonsense'; known: .*{known}"):
        replace(Hardware(accelerator="cpu"), **{option: "nonsense"}).check()
