"""Attentive pooling: a learned query looks at all tokens, then one linear layer. V-JEPA's probe."""

import torch
from jaxtyping import Float
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Features
from backbones.layers import Block


class CrossAttention(nn.Module):
    """Queries attend to tokens. As in V-JEPA's probes there is no projection after the attention.

    Args:
        dim: width of queries and tokens.
        num_heads: number of heads; must divide `dim`.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"{num_heads} heads do not divide a width of {dim}")
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)

    def forward(
        self, query: Float[Tensor, "batch queries dim"], tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        """One mixture of tokens per query."""
        q = self.q(query).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.kv(tokens).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(2)


class CrossBlock(nn.Module):
    """Cross-attention and MLP with residuals; the tokens are normed, the query is not.

    Args:
        dim: width of queries and tokens.
        num_heads: number of attention heads.
        mlp_ratio: hidden width of the MLP over `dim`.
        norm_eps: epsilon of the layer norms.
    """

    def __init__(self, dim: int, num_heads: int, *, mlp_ratio: float, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps)
        self.xattn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self, query: Float[Tensor, "batch queries dim"], tokens: Float[Tensor, "batch tokens dim"]
    ) -> Float[Tensor, "batch queries dim"]:
        """Update the queries from the tokens."""
        query = query + self.xattn(query, self.norm1(tokens))
        return query + self.mlp(self.norm2(query))


class AttentiveHead(nn.Module):
    """Learned query, cross-attention over all tokens of a clip (prefix tokens included), linear classifier.

    The head knows no positions: the order of the tokens makes no difference. Depth 1 is V-JEPA 1's probe, depth 4 with
    16 heads V-JEPA 2's (facebookresearch/vjepa2, src/models/attentive_pooler.py), from which the initialisation is
    taken too.

    Args:
        dim: width of the features.
        num_classes: number of outputs; 0 leaves the classifier out, so that pooled features are returned.
        num_heads: number of attention heads (16 in V-JEPA's probes).
        depth: number of blocks: `depth - 1` self-attention blocks over the tokens, then the cross-attention block.
        mlp_ratio: hidden width of the MLPs over `dim`.
        norm_eps: epsilon of the layer norms (V-JEPA's probes keep PyTorch's 1e-5).
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        num_heads: int,
        depth: int = 1,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"an attentive head has at least 1 block, not {depth}")
        self.num_classes = num_classes
        self.query = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias="qkv", norm_eps=norm_eps) for _ in range(depth - 1)
        )
        self.cross = CrossBlock(dim, num_heads, mlp_ratio=mlp_ratio, norm_eps=norm_eps)
        self.linear = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.init_weights()

    @torch.no_grad()
    def init_weights(self) -> None:
        """Truncated normal of std 0.02, zero biases; branch outputs of block i shrunk by 1 / sqrt(2 i)."""
        nn.init.trunc_normal_(self.query, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for index, block in enumerate(self.blocks, start=1):
            for name in ("attn.proj.weight", "mlp.fc2.weight"):
                block.get_parameter(name).div_((2 * index) ** 0.5)
        # The authors' loop counts the cross block as the last self-attention block, not as one more.
        self.cross.get_parameter("mlp.fc2.weight").div_((2 * max(1, len(self.blocks))) ** 0.5)

    def pooled(self, features: Features) -> Float[Tensor, "batch dim"]:
        """What the classifier sees: the query after it looked at the tokens."""
        tokens = torch.cat([features.prefix, features.tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.cross(self.query.expand(len(tokens), -1, -1), tokens)[:, 0]

    def forward(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Class scores, before softmax."""
        return self.linear(self.pooled(features))
