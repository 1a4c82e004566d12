import json

import pytorch_lightning as lightning

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData, tiny_model
from zoo.batch import Unread
from zoo.training.classify import Classify
from zoo.training.fit import SILENT, fit, quiet
from zoo.training.log import EvaluationBar, bar_of, read_log, steps_shown
from zoo.training.pretrain import Pretrain


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.5}]


def test_a_run_without_a_log_has_no_steps(tmp_path):
    assert read_log(tmp_path) == []


def test_a_run_that_starts_anew_drops_the_lines_of_an_earlier_attempt(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": -1}\n{"step": 99, "loss": -1}\n{"st')
    fit(Pretrain(MeanColour(), RECIPE), TinyData(), run_dir=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert all(row["loss"] >= 0 for row in rows)
    assert rows[0].keys() == {"step", "loss", "error", "answer", "grad_norm", "lr"}


def test_the_bar_of_an_evaluation_counts_batches_and_what_could_not_be_read():
    class Lost(TinyData):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch._replace(failed=(Unread(99, "x.mp4", "damaged"),)) if batch.row[0] == 4 else batch

    bars = []

    class Watched(EvaluationBar):
        def on_test_end(self, trainer, pl_module):
            super().on_test_end(trainer, pl_module)
            bars.append(self)

    trainer = lightning.Trainer(accelerator="cpu", enable_checkpointing=False, callbacks=[Watched()], **SILENT)
    with quiet():
        trainer.test(Classify(tiny_model(), RECIPE), Lost(), verbose=False)
    task = bars[0].progress.tasks[0]
    assert (task.completed, task.total, task.fields["failed"]) == (3, 3, "1 unreadable")
    assert bars[0].progress.finished


def test_bars_of_a_training_count_its_steps_and_go_to_the_error_stream(capsys):
    with bar_of("{task.fields[told]}") as shown:
        task = shown.add_task("features", total=2, told="1 unreadable")
        shown.update(task, completed=2)
    with steps_shown("training the head", 3, show=True) as on_step:
        on_step(3, {"step": 3, "loss": 0.25})
    with steps_shown("nobody sees this", 3, show=False) as on_step:
        on_step(1, {"step": 1})
    told = capsys.readouterr()
    assert told.out == ""
    for words in ("features", "1 unreadable", "training the head", "3/3", "loss 0.2500"):
        assert words in told.err
    assert "nobody" not in told.err
