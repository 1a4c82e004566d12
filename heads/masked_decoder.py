"""(visible tokens, query positions) -> predictions at the queries, by a transformer over both.

One class is VideoMAE's decoder, mae_st's and V-JEPA's predictor; what they differ in are plain arguments. mae_st runs
its decoder on the unshuffled sequence, V-JEPA 2 sorts its by position, and VideoMAE takes visible tokens followed by
mask tokens: attention does not depend on the order when positions are added beforehand or turn with their tokens, so
all are computed in the third form.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Features, Grid
from backbones.layers import Flavor, plain_blocks, rotation_of, start_weights
from backbones.positions import grid_positions, register_positions
from backbones.tokens import complement, take


class MaskedDecoder(nn.Module):
    """Predict something at masked positions from the visible tokens.

    The queries attend to each other: leaving some out changes the predictions at the others slightly, as it does in
    LVMAE's adaptive decoder masking. In VideoMAE, mae_st and V-JEPA the query is every position to be predicted.

    Args:
        dim: width of the backbone's tokens.
        out_dim: width of a prediction, e.g. values per tubelet.
        grid: grid of the clips that the position tables are made for; others are interpolated.
        width: width of the decoder's tokens.
        depth: number of blocks.
        num_heads: number of heads.
        embed_bias: bias of the projection from `dim` to `width` (mae_st has one, VideoMAE does not).
        num_mask_tokens: learned tokens to choose from for the queries; V-JEPA has one for each of its masks.
        zero_mask_tokens: they start as zeros (V-JEPA) instead of truncated normal of standard deviation 0.02.
        decay_mask_tokens: weight decay applies to them, as in V-JEPA, which exempts vectors only.
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.
        flavor: form of blocks and positions. With `cls_token` the decoder has a class token of its own and ignores the
            backbone's prefix tokens, as mae_st does; without, prefix tokens pass through the decoder.
    """

    pos_embed: Tensor | None
    temporal_pos_embed: Tensor | None

    def __init__(
        self,
        dim: int,
        out_dim: int,
        grid: Grid,
        *,
        width: int,
        depth: int,
        num_heads: int,
        embed_bias: bool = False,
        num_mask_tokens: int = 1,
        zero_mask_tokens: bool = False,
        decay_mask_tokens: bool = False,
        drop_path_rate: float = 0.0,
        flavor: Flavor = Flavor(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.table_grid, self.flavor = grid, flavor
        self.head_dim, self.decay_mask_tokens = width // num_heads, decay_mask_tokens
        self.embed = nn.Linear(dim, width, bias=embed_bias)
        self.mask_tokens = nn.ParameterList(_token(width, zero=zero_mask_tokens) for _ in range(num_mask_tokens))
        register_positions(self, flavor.positions, grid, width)
        self.cls_token = _token(width) if flavor.cls_token else None
        self.cls_pos_embed = _token(width) if flavor.cls_token else None
        self.blocks = plain_blocks(width, depth, num_heads, drop_path_rate, flavor)
        self.norm = nn.LayerNorm(width, eps=flavor.norm_eps)
        self.head = nn.Linear(width, out_dim)
        start_weights(self, self.blocks, flavor.start)

    def no_weight_decay(self) -> set[str]:
        """Tokens and position tables must not decay although they are matrices (VideoMAE, modeling_pretrain.py)."""
        tokens = set() if self.decay_mask_tokens else {f"mask_tokens.{index}" for index in range(len(self.mask_tokens))}
        return tokens | {name for name, _ in self.named_parameters(recurse=False)}

    def forward(
        self, features: Features, query: Int64[Tensor, "batch query"], mask_token: int = 0
    ) -> Float[Tensor, "batch query out_dim"]:
        """Predictions at `query`: raster indices in the grid of the clip; `mask_token` is the number of their token."""
        return self.head(self.norm(self.states(features, query, mask_token)[:, -query.shape[1] :]))

    def everywhere(self, features: Features) -> Float[Tensor, "batch grid_tokens out_dim"]:
        """Predictions at every token of the clip in raster order, visible ones included, as mae_st returns them."""
        if features.keep is None:
            raise ValueError("nothing is masked: `features.keep` is None")
        query = complement(features.keep, features.grid.num_tokens)
        states = self.states(features, query)[:, -features.grid.num_tokens :]
        order = torch.cat([features.keep, query], 1).argsort(1)
        return self.head(self.norm(take(states, order)))

    def states(
        self, features: Features, query: Int64[Tensor, "batch query"], mask_token: int = 0
    ) -> Float[Tensor, "batch sequence width"]:
        """Output of the last block: prefix, then visible tokens, then queries."""
        visible, prefix = self.embed(features.tokens), self.prefix(features)
        rotation = self.rotation(features, query, visible, prefix.shape[1])
        queries = self.mask_tokens[mask_token].expand(*query.shape, -1)
        if self.pos_embed is not None:
            kind, new = self.flavor.positions, features.grid
            table = grid_positions(self.pos_embed, self.temporal_pos_embed, self.table_grid, new, kind=kind)
            visible, queries = visible + take(table, features.keep), queries + take(table, query)
        x = torch.cat([prefix, visible, queries], 1)
        for block in self.blocks:
            x = block(x, rotation)
        return x

    def rotation(
        self, features: Features, query: Int64[Tensor, "batch query"], visible: Tensor, num_prefix: int
    ) -> Float[Tensor, "rows sequence 2 head_dim"] | None:
        """How attention turns the sequence of `states`, where positions are rotary."""
        everything = torch.arange(features.grid.num_tokens, device=query.device).expand(query.shape[0], -1)
        ids = torch.cat([everything if features.keep is None else features.keep, query], 1)
        return rotation_of(self.flavor, features.grid, self.head_dim, ids, visible, num_prefix=num_prefix)

    def prefix(self, features: Features) -> Float[Tensor, "batch prefix width"]:
        """The decoder's own class token where it has one, else the backbone's prefix tokens, embedded."""
        if self.cls_token is None or self.cls_pos_embed is None:
            return self.embed(features.prefix)
        return (self.cls_token + self.cls_pos_embed).expand(features.tokens.shape[0], -1, -1)


def _token(width: int, *, zero: bool = False) -> nn.Parameter:
    """A learned token: zeros, or truncated normal of standard deviation 0.02."""
    return nn.Parameter(torch.zeros(1, 1, width) if zero else nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
