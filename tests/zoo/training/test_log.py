import json

import pytorch_lightning as lightning

from tests.zoo.training.synthetic import RECIPE, MeanColour, TinyData, tiny_model
from zoo.batch import Unread
from zoo.training.classify import Classify
from zoo.training.fit import SILENT, fit, quiet
from zoo.training.log import EvaluationBar, read_log
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
