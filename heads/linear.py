"""One linear layer on pooled features: linear probing, and the head of every fine-tuned classifier."""

from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Features, Pool


class LinearHead(nn.Module):
    """Pool, optionally normalise, drop out, classify.

    Weights are drawn from a normal distribution of std 0.02 truncated at two standard deviations, biases are zero
    (VideoMAE and UMT: modeling_finetune.py, `_init_weights`).

    Args:
        dim: width of the features.
        num_classes: number of outputs; 0 leaves the classifier out, so that pooled features are returned.
        pool: how the tokens of a clip become one vector.
        norm: put a LayerNorm after pooling. VideoMAE and UMT call it `fc_norm`; their encoder then ends without norm.
        dropout: probability of dropping an input of the classifier (0.5 for VideoMAE-H and for UCF101).
        norm_eps: epsilon of that norm.
        init_scale: factor on the initial classifier weights (VideoMAE and UMT fine-tune with 0.001 by default).
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        pool: Pool,
        norm: bool = False,
        dropout: float = 0.0,
        norm_eps: float = 1e-6,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pool: Pool = pool
        self.norm = nn.LayerNorm(dim, eps=norm_eps) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        if isinstance(self.linear, nn.Linear):
            nn.init.trunc_normal_(self.linear.weight, std=0.02 * init_scale, a=-0.04 * init_scale, b=0.04 * init_scale)
            nn.init.zeros_(self.linear.bias)

    def pooled(self, features: Features) -> Float[Tensor, "batch dim"]:
        """What the classifier sees: one normalised vector per clip."""
        return self.norm(features.pool(self.pool))

    def forward(self, features: Features) -> Float[Tensor, "batch outputs"]:
        """Class scores `[B, num_classes]`, before softmax."""
        return self.linear(self.dropout(self.pooled(features)))
