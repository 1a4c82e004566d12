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


class AttentivePooler(nn.Module):
    """Learned queries and cross-attention over all tokens of a clip (prefix tokens included): the base of the heads.

    It knows no positions: the order of the tokens makes no difference. With `blocks="tokens"`, depth 4 and 16 heads it
    is V-JEPA 2's (facebookresearch/vjepa2, src/models/attentive_pooler.py), with `blocks="query"` V-JEPA 1's
    (facebookresearch/jepa, same file); at depth 1 they agree. The initialisation is the authors' too: truncated normal
    of std 0.02, zero biases, and the branch outputs of block i shrunk by 1 / sqrt(2 i). A head adds its linear layers
    and calls `init_weights` last.

    Args:
        dim: width of the features.
        num_heads: number of attention heads. The published probes have 16 whatever the encoder has; transformers'
            classifiers take the encoder's number instead, 22 for ViT-g.
        num_queries: number of vectors that come out.
        depth: number of blocks, the cross-attention block included.
        blocks: where the others are: "tokens" runs them over all tokens before the cross-attention, "query" over the
            queries after it.
        complete: False leaves only the cross-attention of its block: no norm, no residual, no MLP (`complete_block` of
            the authors, True in everything published).
        mlp_ratio: hidden width of the MLPs over `dim`.
        norm_eps: epsilon of the layer norms (PyTorch's 1e-5 in V-JEPA's probes, 1e-6 in transformers' classifiers).

    Raises:
        ValueError: for sizes that cannot be, and an unknown place of the blocks.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        num_queries: int = 1,
        depth: int = 1,
        blocks: str = "tokens",
        complete: bool = True,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"an attentive head has at least 1 block, not {depth}")
        if blocks not in ("tokens", "query"):
            raise ValueError(f"unknown place of the blocks {blocks!r}; choose 'tokens' or 'query'")
        self.over_tokens = blocks == "tokens"
        self.query = nn.Parameter(torch.zeros(1, num_queries, dim))
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio=mlp_ratio, qkv_bias="qkv", norm_eps=norm_eps) for _ in range(depth - 1)
        )
        self.cross: CrossBlock | CrossAttention = CrossAttention(dim, num_heads)
        if complete:
            self.cross = CrossBlock(dim, num_heads, mlp_ratio=mlp_ratio, norm_eps=norm_eps)

    @torch.no_grad()
    def init_weights(self) -> None:
        """Draw all weights anew."""
        nn.init.trunc_normal_(self.query, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        # Version 1 counts the cross block as the first, version 2 as the last self-attention block, not as one more.
        for index, block in enumerate(self.blocks, start=1 if self.over_tokens else 2):
            for name in ("attn.proj.weight", "mlp.fc2.weight"):
                block.get_parameter(name).div_((2 * index) ** 0.5)
        if isinstance(self.cross, CrossBlock):
            place = max(1, len(self.blocks)) if self.over_tokens else 1
            self.cross.get_parameter("mlp.fc2.weight").div_((2 * place) ** 0.5)

    def queries(self, features: Features) -> Float[Tensor, "batch queries dim"]:
        """The queries after they looked at the tokens."""
        tokens = torch.cat([features.prefix, features.tokens], dim=1)
        if self.over_tokens:
            for block in self.blocks:
                tokens = block(tokens)
        query: Tensor = self.cross(self.query.expand(tokens.shape[0], -1, -1), tokens)
        if not self.over_tokens:
            for block in self.blocks:
                query = block(query)
        return query


class AttentiveHead(AttentivePooler):
    """One query's pooling, then a linear classifier.

    Depth 1 is V-JEPA 1's published probe, depth 2 with `blocks="query"` the one of its best ImageNet number (77.9), and
    depth 4 with 16 heads V-JEPA 2's.

    Args:
        dim: width of the features.
        num_classes: number of outputs; 0 leaves the classifier out, so that pooled features are returned.
        num_heads: number of attention heads (16 in V-JEPA's probes).
        depth: see `AttentivePooler`, as are the others.
        blocks: likewise.
        complete: likewise.
        mlp_ratio: likewise.
        norm_eps: likewise.
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        num_heads: int,
        depth: int = 1,
        blocks: str = "tokens",
        complete: bool = True,
        mlp_ratio: float = 4.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(
            dim,
            num_heads=num_heads,
            depth=depth,
            blocks=blocks,
            complete=complete,
            mlp_ratio=mlp_ratio,
            norm_eps=norm_eps,
        )
        self.num_classes = num_classes
        self.linear = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.init_weights()

    def pooled(self, features: Features) -> Float[Tensor, "batch dim"]:
        """What the classifier sees: the query after it looked at the tokens."""
        return self.queries(features)[:, 0]

    def forward(self, features: Features) -> Float[Tensor, "batch classes"]:
        """Class scores, before softmax."""
        return self.linear(self.pooled(features))
