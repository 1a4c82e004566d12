import numpy as np
import pytest
import torch

from backbones.contract import Features, Grid
from heads.knn import KNN


def features(pooled):
    return Features(pooled[:, None], torch.zeros(len(pooled), 0, pooled.shape[1]), Grid(1, 1, 1), None)


def brute_force(bank, labels, queries, *, num_classes, k, temperature):
    """The definition, one query and one neighbour at a time."""
    out = np.zeros((len(queries), num_classes))
    for row, query in enumerate(queries):
        cosine = [float(query @ clip / np.linalg.norm(query) / np.linalg.norm(clip)) for clip in bank]
        for neighbour in sorted(range(len(bank)), key=lambda index: -cosine[index])[:k]:
            out[row, labels[neighbour]] += np.exp(cosine[neighbour] / temperature)
    return out / out.sum(1, keepdims=True)


@pytest.mark.parametrize("chunk", [3, 1024])
def test_equals_brute_force(chunk):
    bank, queries = torch.randn(50, 8).double(), torch.randn(10, 8).double()
    labels = torch.randint(0, 4, (50,))
    knn = KNN(4, pool="mean", k=7, temperature=0.1, chunk=chunk).fit(bank, labels)
    expected = brute_force(bank.numpy(), labels.numpy(), queries.numpy(), num_classes=4, k=7, temperature=0.1)
    np.testing.assert_allclose(knn(features(queries)).softmax(1).numpy(), expected, atol=1e-12)


def test_a_training_clip_finds_itself():
    bank, labels = torch.randn(30, 16), torch.arange(30) % 3
    assert torch.equal(KNN(3, pool="mean", k=1).fit(bank, labels)(features(bank)).argmax(1), labels)


def test_classes_nobody_voted_for_have_probability_zero():
    scores = KNN(3, pool="mean", k=2).fit(torch.eye(4), torch.tensor([0, 0, 1, 1]))(features(torch.eye(4)))
    assert torch.equal(scores.softmax(1)[:, 2], torch.zeros(4))


def test_the_length_of_features_makes_no_difference():
    bank, labels, queries = torch.randn(30, 16), torch.arange(30) % 3, torch.randn(5, 16)
    knn = KNN(3, pool="mean").fit(bank, labels)
    torch.testing.assert_close(knn(features(queries * 7)), knn(features(queries)))


def test_misuse_is_explained():
    with pytest.raises(ValueError, match="20 neighbours cannot be found among 4 training clips"):
        KNN(2, pool="mean").fit(torch.eye(4), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1; found 0\.\.2"):
        KNN(2, pool="mean", k=1).fit(torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match="call fit first"):
        KNN(2, pool="mean", k=1)(features(torch.eye(3)))
