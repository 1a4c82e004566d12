"""Tokens of one network in the space of another: norm, then one linear layer."""

from jaxtyping import Float
from torch import Tensor, nn

NORMS: dict[str, type[nn.RMSNorm] | type[nn.LayerNorm]] = {"rms": nn.RMSNorm, "layer": nn.LayerNorm}


class TokenProjection(nn.Module):
    """Norm and linear layer on every token: the distillation head of VideoMamba's image models.

    Source: OpenGVLab/VideoMamba, image_sm/models/videomamba_distill.py (`distill_head`); initial weights are drawn from
    a normal distribution of std 0.02 truncated at two standard deviations, biases are zero.

    Args:
        dim: width of the tokens.
        out_dim: width of the other network's tokens.
        norm: "rms" (VideoMamba's) or "layer".
        norm_eps: epsilon of the norm (1e-5 in VideoMamba).

    Raises:
        ValueError: for an unknown norm.
    """

    def __init__(self, dim: int, out_dim: int, *, norm: str = "rms", norm_eps: float = 1e-5) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"unknown norm {norm!r}; choose 'rms' or 'layer'")
        self.norm = NORMS[norm](dim, eps=norm_eps)
        self.linear = nn.Linear(dim, out_dim)
        nn.init.trunc_normal_(self.linear.weight, std=0.02, a=-0.04, b=0.04)
        nn.init.zeros_(self.linear.bias)

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens out"]:
        """Projected tokens."""
        out: Tensor = self.linear(self.norm(tokens))
        return out
