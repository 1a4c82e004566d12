import torch

from backbones.tokens import complement, take


def test_take_picks_rows_per_sample_and_shares_a_table():
    tokens = torch.arange(12.0).reshape(2, 6, 1)
    keep = torch.tensor([[0, 3], [1, 5]])
    assert take(tokens, keep).squeeze(-1).tolist() == [[0, 3], [7, 11]]
    assert take(tokens[:1], keep).squeeze(-1).tolist() == [[0, 3], [1, 5]]
    assert take(tokens, None) is tokens


def test_complement_is_ascending_and_disjoint():
    keep = torch.tensor([[5, 0, 3], [1, 2, 4]])
    assert complement(keep, 6).tolist() == [[1, 2, 4], [0, 3, 5]]


def test_complement_of_everything_is_empty():
    assert complement(torch.arange(4)[None], 4).shape == (1, 0)
