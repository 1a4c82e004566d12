import pytest
import torch
from torch.nn import functional as F

from benchmarks.protocols import knn
from tests.benchmarks.protocols.clips import CLASSES, embed, tiny_data, tiny_model


def test_it_votes_with_the_nearest_training_views(tmp_path):
    data, settings = tiny_data(tmp_path), knn.Settings(k=5, temperature=0.1)
    outcome = knn.run(tiny_model, data, settings, seed=0, run_dir=tmp_path)
    torch.manual_seed(0)
    model = tiny_model()
    train, _, labels = embed(model, data, data.train_records)
    test, rows, _ = embed(model, data, data.test_records)
    similarity, nearest = (F.normalize(test) @ F.normalize(train).T).topk(5)
    votes = (similarity / 0.1).exp()[:, :, None] * F.one_hot(labels[nearest], CLASSES)
    shares = votes.sum(1) / votes.sum((1, 2), keepdim=False)[:, None]
    expected = torch.stack([shares[rows == row].mean(0) for row in range(12)])
    torch.testing.assert_close(outcome.probabilities, expected)
    assert outcome.accuracy > 0.9


def test_all_training_clips_vote_where_there_are_fewer_than_k(tmp_path):
    data = tiny_data(tmp_path)
    torch.manual_seed(0)
    clips = len(embed(tiny_model(), data, data.train_records)[0])
    few, all_of_them = (
        knn.run(tiny_model, data, knn.Settings(k=k), seed=0, run_dir=tmp_path) for k in (clips + 1, clips)
    )
    assert few.details["k"] == clips
    torch.testing.assert_close(few.probabilities, all_of_them.probabilities)


def test_neighbours_are_looked_for_where_it_was_asked(tmp_path, monkeypatch):
    def asked(head, bank, **_):
        raise InterruptedError(next(head.buffers()).device.type)

    monkeypatch.setattr(knn, "device_of", lambda accelerator: "meta")
    monkeypatch.setattr(knn.KNN, "fit", lambda self, pooled, labels: setattr(self, "bank", pooled))
    monkeypatch.setattr(knn, "score", asked)
    with pytest.raises(InterruptedError, match="meta"):
        knn.run(tiny_model, tiny_data(tmp_path), knn.Settings(k=1), seed=0, run_dir=tmp_path, accelerator="cpu")
