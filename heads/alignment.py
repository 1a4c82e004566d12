"""From a student's layers to a teacher's features: UMT's and VideoMamba's alignment head.

Sources: OpenGVLab/unmasked_teacher single_modality/models/modeling_pretrain_umt.py, and OpenGVLab/VideoMamba
video_sm/models/videomamba_pretrain.py, which calls it `clip_decoder` too.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Features, Grid
from backbones.layers import init_linear, unit_length
from backbones.positions import sincos_1d
from backbones.tokens import take


class AlignedLayer(nn.Module):
    """Linear, layer norm: the way of one student layer into the teacher's space.

    Args:
        dim: width of the student.
        out_dim: width of the teacher's features.
        norm_eps: epsilon of the norm.
    """

    def __init__(self, dim: int, out_dim: int, norm_eps: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, out_dim)
        self.norm = nn.LayerNorm(out_dim, eps=norm_eps)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens out_dim"]:
        """Project every token."""
        return self.norm(self.linear(x))


class AlignmentHead(nn.Module):
    """Predict a teacher's features at the visible tokens, layer by layer.

    The fixed sine and cosine table of VideoMAE, of the student's width, is added to the tokens once more, the prefix
    token at position 0 when it is taught too. Each layer then has a linear map and a norm of its own.

    Args:
        dim: width of the student.
        out_dim: width of the teacher's features.
        grid: grid of the clips that the table is for; clips of another grid get a table of their own, by the same
            formula, as the authors' class makes it for its own number of tokens.
        num_layers: number of aligned layers.
        class_token: align the student's first prefix token too (VideoMamba).
        unit: divide predictions by their length ("l2" of the authors' option clip_norm_type, against "none").
        norm_eps: epsilon of the norms: 1e-6 in UMT's stage 1, 1e-5 in its stage 2 and in VideoMamba.
    """

    pos_embed: Tensor

    def __init__(
        self,
        dim: int,
        out_dim: int,
        grid: Grid,
        *,
        num_layers: int = 1,
        class_token: bool = False,
        unit: bool = True,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.dim, self.out_dim, self.class_token, self.unit = dim, out_dim, class_token, unit
        self.layers = nn.ModuleList(AlignedLayer(dim, out_dim, norm_eps) for _ in range(num_layers))
        self.register_buffer("pos_embed", sincos_1d(grid.num_tokens + class_token, dim), persistent=False)
        self.apply(init_linear)

    def forward(self, layers: Sequence[Features]) -> list[Features]:
        """Predictions for every layer, at the tokens that the student kept.

        Raises:
            ValueError: for another number of layers, and when the class token is aligned but the student has none.
        """
        if len(layers) != len(self.layers):
            raise ValueError(f"{len(layers)} layers of the student for a head of {len(self.layers)}")
        return [self._aligned(align, features) for align, features in zip(self.layers, layers, strict=True)]

    def _aligned(self, align: nn.Module, features: Features) -> Features:
        prefix = features.prefix[:, : int(self.class_token)]
        if prefix.shape[1] < self.class_token:
            raise ValueError("the head aligns a class token, and this student has none")
        first, table = self._table(features).split([int(self.class_token), features.grid.num_tokens], 1)
        x = torch.cat([prefix + first, features.tokens + take(table, features.keep)], 1)
        out = unit_length(align(x)) if self.unit else align(x)
        prefix, tokens = out.split([prefix.shape[1], features.tokens.shape[1]], 1)
        return Features(tokens, prefix, features.grid, features.keep)

    def _table(self, features: Features) -> Float[Tensor, "1 positions dim"]:
        positions = features.grid.num_tokens + self.class_token
        if positions == self.pos_embed.shape[1]:
            return self.pos_embed
        return sincos_1d(positions, self.dim).to(self.pos_embed)
