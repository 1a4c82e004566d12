"""Weighted k-nearest-neighbour classification of pooled features: no training, no hyperparameter search."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Features, Pool


class KNN(nn.Module):
    """The k most similar training clips vote for their class with weight exp(cosine / temperature).

    k = 20 and temperature 0.07 are DINO's (facebookresearch/dino, eval_knn.py; Wu et al. 2018 chose the temperature).

    Args:
        num_classes: number of classes.
        pool: how the tokens of a clip become one vector.
        k: number of neighbours that vote.
        temperature: the smaller, the more the nearest neighbours weigh.
        chunk: queries compared with the whole bank at once; bounds memory, not results.
    """

    bank: Tensor
    labels: Tensor

    def __init__(
        self, num_classes: int, *, pool: Pool, k: int = 20, temperature: float = 0.07, chunk: int = 1024
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pool: Pool = pool
        self.k = k
        self.temperature = temperature
        self.chunk = chunk
        self.register_buffer("bank", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))

    def fit(self, pooled: Float[Tensor, "clips dim"], labels: Int64[Tensor, "clips"]) -> "KNN":
        """Remember the training clips, in place of any remembered before.

        Args:
            pooled: one vector per training clip.
            labels: its class, 0 to `num_classes` - 1.

        Raises:
            ValueError: for fewer clips than k, and for labels outside the range.
        """
        if len(pooled) < self.k:
            raise ValueError(
                f"{self.k} neighbours cannot be found among {len(pooled)} training clips; choose a smaller k"
            )
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f"labels must lie in 0..{self.num_classes - 1}; found {labels.min().item()}..{labels.max().item()}"
            )
        self.bank = F.normalize(pooled, dim=1)
        self.labels = labels
        return self

    def forward(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Log-probabilities, so that softmax gives the share of the votes; -inf where nobody voted.

        Raises:
            ValueError: when `fit` was not called.
        """
        if not len(self.bank):
            raise ValueError("KNN has no training clips to compare with; call fit first")
        queries = F.normalize(features.pool(self.pool), dim=1)
        return torch.cat([self.vote(chunk) for chunk in queries.split(self.chunk)]).log()

    def vote(self, queries: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Share of the votes per class."""
        similarity, neighbours = (queries @ self.bank.T).topk(self.k, dim=1)
        weight = (similarity / self.temperature).softmax(1)
        return weight.new_zeros(len(queries), self.num_classes).scatter_add_(1, self.labels[neighbours], weight)
