"""Verb, noun and action of what happens in a kitchen: several questions about one clip, each with its own query."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from backbones.contract import Features
from heads.attentive import AttentivePooler


class VerbNounHead(AttentivePooler):
    """One learned query and one linear layer per question, over shared attention: V-JEPA 2's head for EPIC-KITCHENS.

    Source: facebookresearch/vjepa2, evals/action_anticipation_frozen/models.py (16 heads, depth 4; verb, noun, action).

    Args:
        dim: width of the features.
        num_classes: number of classes by the name of the question, in the order of the queries; the authors' is
            {"verb": ..., "noun": ..., "action": ...}.
        num_heads: number of attention heads.
        depth: number of blocks, see `AttentivePooler`.
        norm_eps: epsilon of the layer norms.

    Raises:
        ValueError: when there is no question.
    """

    def __init__(
        self, dim: int, num_classes: Mapping[str, int], *, num_heads: int, depth: int = 4, norm_eps: float = 1e-5
    ) -> None:
        if not num_classes:
            raise ValueError("num_classes names no question, such as {'verb': 97, 'noun': 300, 'action': 3568}")
        super().__init__(dim, num_heads=num_heads, num_queries=len(num_classes), depth=depth, norm_eps=norm_eps)
        self.num_classes = sum(num_classes.values())
        self.linears = nn.ModuleDict({name: nn.Linear(dim, count) for name, count in num_classes.items()})
        self.init_weights()

    def pooled(self, features: Features) -> Float[Tensor, "batch width"]:
        """What the linear layers see: the vectors of all questions, one after the other."""
        return self.queries(features).flatten(1)

    def forward(self, features: Features) -> dict[str, Float[Tensor, "batch _"]]:
        """Class scores of each question, before softmax."""
        vectors = self.queries(features).unbind(1)
        return {name: linear(vector) for (name, linear), vector in zip(self.linears.items(), vectors, strict=True)}
