import pytest
import torch

from benchmarks.protocols import as_is
from heads.attentive import AttentiveHead
from tests.benchmarks.protocols.clips import CLASSES, tiny_data, tiny_model
from tests.zoo.training.synthetic import TinyBackbone
from zoo.data.datamodule import FailurePolicy
from zoo.model import VideoModel
from zoo.training.classify import Classify


def test_nothing_is_trained_and_every_view_is_scored(tmp_path):
    models = []

    def model():
        models.append(tiny_model())
        return models[-1]

    data = tiny_data(tmp_path, unreadable=(33,), failures=FailurePolicy(in_evaluation="report"))
    told = as_is.run(model, data, as_is.Settings(), seed=3, run_dir=tmp_path / "run")
    assert told.rows.tolist() == [0, 1, 2, *range(4, 12)]
    assert [failure.row for failure in told.unread] == [3]
    assert (told.expected, told.failed, told.curves) == (12, 1, [])
    clips = torch.cat([batch.video for batch in data.test_dataloader()])
    torch.testing.assert_close(told.scores.scores, models[0].eval()(clips))


def test_an_evaluation_that_was_stopped_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    def run(folder):
        data = tiny_data(tmp_path, unreadable=(33,), failures=FailurePolicy(in_evaluation="report"))
        return as_is.run(tiny_model, data, as_is.Settings(), seed=3, run_dir=folder)

    whole, seen, real = run(tmp_path / "whole"), [], Classify.test_step

    def stopping(self, batch, batch_idx):
        real(self, batch, batch_idx)
        seen.append(batch.row.tolist())
        if len(seen) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Classify, "test_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run")
    # As a kill in the middle of a line would leave it.
    (file,) = (tmp_path / "run").glob("scores-*")
    file.write_bytes(file.read_bytes()[:-9])
    again = run(tmp_path / "run")
    assert (whole.details["batches_read"], again.details["batches_read"]) == (0, 2)
    assert seen[3][0] == 6  # the third batch, of which the line was torn
    assert torch.equal(again.scores.scores, whole.scores.scores)
    assert torch.equal(again.probabilities, whole.probabilities)
    assert again.unread == whole.unread


def test_a_head_that_attends_gives_one_score_per_crop(tmp_path):
    def model():
        return VideoModel(TinyBackbone(), AttentiveHead(16, CLASSES, num_heads=2))

    settings = as_is.Settings(rule="segments attended")
    told = as_is.run(model, tiny_data(tmp_path), settings, seed=0, run_dir=tmp_path / "run")
    assert told.scores.rows.tolist() == list(range(12))
    torch.testing.assert_close(told.probabilities, told.scores.scores.softmax(1))
