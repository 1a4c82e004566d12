"""(visible tokens, query positions) -> predictions at the queries, by a transformer over both.

One class is VideoMAE's decoder and mae_st's; what they differ in are plain arguments. mae_st runs its decoder on the
unshuffled sequence and VideoMAE on visible tokens followed by mask tokens: attention with positions added beforehand
does not depend on the order, so both are computed in the second form.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import Features, Grid
from backbones.layers import Flavor, init_linear, plain_blocks
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
        drop_path_rate: drop-path rate of the last block; earlier ones grow linearly from 0.
        flavor: form of blocks and positions. With `cls_token` the decoder has a class token of its own and ignores the
            backbone's prefix tokens, as mae_st does; without, prefix tokens pass through the decoder.
    """

    pos_embed: Tensor
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
        drop_path_rate: float = 0.0,
        flavor: Flavor = Flavor(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        self.table_grid = grid
        self.embed = nn.Linear(dim, width, bias=embed_bias)
        self.mask_token = _token(width)
        register_positions(self, flavor.positions, grid, width)
        self.cls_token = _token(width) if flavor.cls_token else None
        self.cls_pos_embed = _token(width) if flavor.cls_token else None
        self.blocks = plain_blocks(width, depth, num_heads, drop_path_rate, flavor)
        self.norm = nn.LayerNorm(width, eps=flavor.norm_eps)
        self.head = nn.Linear(width, out_dim)
        self.apply(init_linear)

    def no_weight_decay(self) -> set[str]:
        """Tokens and position tables must not decay although they are matrices (VideoMAE, modeling_pretrain.py)."""
        return {name for name, _ in self.named_parameters(recurse=False)}

    def forward(self, features: Features, query: Int64[Tensor, "batch query"]) -> Float[Tensor, "batch query out_dim"]:
        """Predictions at `query`: raster indices in the grid of the clip, none of them visible."""
        return self.head(self.norm(self.states(features, query)[:, -query.shape[1] :]))

    def everywhere(self, features: Features) -> Float[Tensor, "batch grid_tokens out_dim"]:
        """Predictions at every token of the clip in raster order, visible ones included, as mae_st returns them."""
        if features.keep is None:
            raise ValueError("nothing is masked: `features.keep` is None")
        query = complement(features.keep, features.grid.num_tokens)
        states = self.states(features, query)[:, -features.grid.num_tokens :]
        order = torch.cat([features.keep, query], 1).argsort(1)
        return self.head(self.norm(take(states, order)))

    def states(self, features: Features, query: Int64[Tensor, "batch query"]) -> Float[Tensor, "batch sequence width"]:
        """Output of the last block: prefix, then visible tokens, then queries."""
        table = grid_positions(self.pos_embed, self.temporal_pos_embed, self.table_grid, features.grid)
        visible = self.embed(features.tokens) + take(table, features.keep)
        x = torch.cat([self.prefix(features), visible, self.mask_token + take(table, query)], 1)
        for block in self.blocks:
            x = block(x)
        return x

    def prefix(self, features: Features) -> Float[Tensor, "batch prefix width"]:
        """The decoder's own class token where it has one, else the backbone's prefix tokens, embedded."""
        if self.cls_token is None or self.cls_pos_embed is None:
            return self.embed(features.prefix)
        return (self.cls_token + self.cls_pos_embed).expand(len(features.tokens), -1, -1)


def _token(width: int) -> nn.Parameter:
    """A learned token, truncated normal of standard deviation 0.02."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))
