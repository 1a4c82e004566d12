"""VideoModel: a backbone and a head as one network that speaks timm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from backbones.contract import STEM_NAMES, Backbone, Features, Pool, as_pool
from heads.anticipation import anticipate
from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from heads.masked_decoder import MaskedDecoder
from heads.verb_noun import VerbNounHead
from heads.views import encode
from zoo.card import Architecture, Classifier, ClipSpec
from zoo.load_report import LoadReport

OutputFormat = Literal["NCTHW", "NLC"]
Head = LinearHead | AttentiveHead | VerbNounHead
Scores = Float[Tensor, "batch outputs"] | dict[str, Float[Tensor, "batch _"]]
FUTURE_TOKEN = 1  # the mask token that V-JEPA 2's anticipation asks with (evals/action_anticipation_frozen)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """How a model was made, so that a checkpoint can say it and the model can be made again.

    Attributes:
        architecture: the architecture.
        overrides: options given to its builder.
        classifier: form of the head.
        clip: clip protocol.
        label_names: name of every class, in order; empty when unknown.
        tag: which released weights it carries; empty for none.
        recipe: published training that made the weights, and how it was changed; empty for any other.
    """

    architecture: Architecture
    classifier: Classifier
    clip: ClipSpec
    overrides: Mapping[str, Any] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    tag: str = ""
    recipe: str = ""


def build_head(classifier: Classifier, dim: int, num_classes: int) -> Head:
    """The head that a classifier describes.

    Args:
        classifier: its form.
        dim: width of the features.
        num_classes: number of outputs; 0 returns what the classifier would see. A head with several questions has as
            many as they have together.

    Raises:
        ValueError: for another number of classes than a head with several questions has.
    """
    if classifier.questions:
        total = sum(classifier.questions.values())
        if num_classes != total:
            asked = f"the head answers {dict(classifier.questions)}, {total} classes together, not {num_classes}"
            raise ValueError(f"{asked}; pass a classifier with other questions")
        return VerbNounHead(
            dim,
            classifier.questions,
            num_heads=classifier.num_heads,
            depth=classifier.depth,
            norm_eps=classifier.attention_eps,
        )
    if classifier.kind == "attentive":
        return AttentiveHead(
            dim,
            num_classes,
            num_heads=classifier.num_heads,
            depth=classifier.depth,
            blocks=classifier.blocks,
            norm_eps=classifier.attention_eps,
        )
    return LinearHead(
        dim,
        num_classes,
        pool=classifier.pool,
        norm=classifier.norm,
        dropout=classifier.dropout,
        norm_eps=classifier.norm_eps,
    )


def build_predictor(spec: ModelSpec, backbone: Backbone) -> MaskedDecoder | None:
    """The predictor that the head needs, with random weights; None for a head that sees the clip only.

    Raises:
        ValueError: when the architecture has none.
    """
    if not spec.classifier.fps:
        return None
    if not spec.architecture.predictor:
        raise ValueError(f"{spec.architecture.name} has no predictor, which a head that looks ahead needs")
    frames, side = spec.clip.num_frames, spec.clip.img_size
    grid = backbone.grid(torch.empty(1, 3, frames, side, side, device="meta"))
    return MaskedDecoder(backbone.embed_dim, backbone.embed_dim, grid, **spec.architecture.predictor)


class VideoModel(nn.Module):
    """Backbone and head, with timm's method names.

    `forward(video)` is `forward_head(forward_features(video))`; clips are normalised `[B, 3, T, H, W]`.

    Args:
        backbone: pixels to tokens.
        head: tokens to answers; has `num_classes`, `linear` and `pooled(features)`.
        spec: how the model was made; None for one put together by hand.
        decoder: predictor of a head that also sees what comes after the clip; None for a head that does not.

    Attributes:
        load_report: what the last load of weights did; None when there was none.
    """

    load_report: LoadReport | None = None

    def __init__(
        self, backbone: Backbone, head: Head, spec: ModelSpec | None = None, decoder: MaskedDecoder | None = None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.spec = spec
        if decoder is not None:
            self.decoder = decoder

    @property
    def num_classes(self) -> int:
        """Number of outputs; 0 for pooled features."""
        return self.head.num_classes

    @property
    def pool(self) -> Pool:
        """How the classifier makes one vector of the tokens; the family's way where an attentive head learns it."""
        return self.head.pool if isinstance(self.head, LinearHead) else self.backbone.pool

    @property
    def embed_dim(self) -> int:
        """Width of the tokens."""
        return self.backbone.embed_dim

    @property
    def num_features(self) -> int:
        """Width of the pooled features."""
        return self.backbone.embed_dim

    @property
    def head_hidden_size(self) -> int:
        """Width of what the classifier sees."""
        return self.backbone.embed_dim

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """Facts about the model under timm's names; empty for a model put together by hand."""
        if self.spec is None:
            return {}
        clip = self.spec.clip
        return {
            "architecture": self.spec.architecture.name,
            "tag": self.spec.tag,
            "num_classes": self.num_classes,
            "input_size": (3, clip.num_frames, clip.img_size, clip.img_size),
            "crop_pct": clip.img_size / (clip.short_side or clip.img_size),
            "first_conv": "backbone.patch_embed.proj",
            "classifier": "head.linear",
            "pool_size": None,
            "model_args": dict(self.spec.overrides),
            "label_names": self.spec.label_names,
            **clip.to_dict(),
        }

    @property
    def default_cfg(self) -> dict[str, Any]:
        """Older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    def forward_features(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        keep: Int64[Tensor, "batch tokens"] | None = None,
    ) -> Features:
        """Tokens after the last block and the final norm.

        For a head that looks at several blocks their normed tokens one after the other, as of one longer clip; for a
        head that looks ahead the tokens of the clip, then the predicted ones of what comes after it.

        Args:
            video: normalised clips.
            keep: raster indices of the tokens to compute, ascending; None for all.

        Raises:
            ValueError: for `keep` with such a head.
        """
        form = self.spec.classifier if self.spec else None
        if keep is not None:
            if form is not None and (form.layers or form.fps):
                raise ValueError("a head that looks at several blocks, or ahead, sees whole clips; keep must be None")
            return self.backbone.forward_features(video, keep)
        if form is not None and form.layers:
            features = encode(self.backbone, video, layers=form.layers)
        else:
            features = self.backbone.forward_features(video)
        if form is None or not form.fps:
            return features
        return anticipate(
            features,
            partial(self.decoder, mask_token=FUTURE_TOKEN),
            form.seconds,
            fps=form.fps,
            tubelet_frames=self.backbone.tubelet[0],
        )

    def forward_head(self, features: Features, *, pre_logits: bool = False) -> Scores:
        """Class scores, or with `pre_logits` the vector that the classifier sees."""
        scores: Scores = self.head.pooled(features) if pre_logits else self.head(features)
        return scores

    def forward(self, video: Float[Tensor, "batch 3 frames height width"]) -> Scores:
        """Class scores before softmax `[B, num_classes]`; pooled features when `num_classes` is 0.

        A head with several questions gives the scores by the name of the question.
        """
        return self.forward_head(self.forward_features(video))

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        indices: int | Sequence[int] | None = None,
        *,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        output_fmt: OutputFormat = "NCTHW",
        intermediates_only: bool = False,
    ) -> list[Any] | tuple[Features, list[Any]]:
        """Tokens after several blocks.

        Args:
            video: normalised clips.
            indices: block indices (negative ones count from the end), a number n for the last n blocks, None for all.
            return_prefix_tokens: return pairs (patch tokens, prefix tokens `[B, P, D]`).
            norm: pass the intermediates through the final norm.
            output_fmt: "NCTHW" gives `[B, D, t, h, w]`, "NLC" gives `[B, t*h*w, D]`.
            intermediates_only: leave out the final features.

        Returns:
            The intermediates in the order asked for; before them the final `Features` unless `intermediates_only`.

        Raises:
            ValueError: for a block that does not exist and an unknown format.
        """
        if output_fmt not in ("NCTHW", "NLC"):
            raise ValueError(f"unknown output_fmt {output_fmt!r}; choose 'NCTHW' or 'NLC'")
        wanted = self._blocks(indices)
        # The last block rides along, so that everything costs one pass.
        layers = wanted if intermediates_only else [*wanted, self.backbone.depth - 1]
        found = self.backbone.forward_intermediates(video, layers, norm=norm)
        intermediates = [_formatted(features, output_fmt, return_prefix_tokens) for features in found[: len(wanted)]]
        if intermediates_only:
            return intermediates
        return (found[-1] if norm else self._final(found[-1])), intermediates

    def _blocks(self, indices: int | Sequence[int] | None) -> list[int]:
        depth = self.backbone.depth
        if indices is None:
            return list(range(depth))
        if isinstance(indices, int):
            if not 1 <= indices <= depth:
                raise ValueError(f"the last {indices} blocks were asked for; this backbone has {depth}")
            return list(range(depth - indices, depth))
        return self.backbone.resolve_layers(indices)

    def _final(self, features: Features) -> Features:
        norm = self.backbone.get_submodule("norm")
        return features._replace(tokens=norm(features.tokens), prefix=norm(features.prefix))

    def get_classifier(self) -> nn.Module:
        """The last linear layer, one per question where there are several; an identity when `num_classes` is 0."""
        return self.head.linears if isinstance(self.head, VerbNounHead) else self.head.linear

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one; a norm before it and learned pooling stay.

        Args:
            num_classes: number of outputs; 0 for pooled features.
            global_pool: how tokens become one vector from now on; None keeps it.

        Raises:
            ValueError: when a negative number is asked for, an attentive head is told how to pool, or the head answers
                several questions.
        """
        if isinstance(self.head, VerbNounHead):
            raise ValueError(f"the head answers {list(self.head.linears)}; build the model with another classifier")
        if num_classes < 0:
            raise ValueError(f"a classifier cannot have {num_classes} classes; 0 gives pooled features")
        if global_pool is not None:
            if not isinstance(self.head, LinearHead):
                raise ValueError(f"an attentive head learns its pooling; global_pool={global_pool!r} has no meaning")
            self.head.pool = as_pool(global_pool)
        like = next(self.backbone.parameters())
        # A head of our own makes the layer, so that it starts as every new head starts.
        fresh = LinearHead(self.embed_dim, num_classes, pool="mean").linear
        self.head.linear = fresh.to(device=like.device, dtype=like.dtype)
        self.head.num_classes = num_classes

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns from which timm derives layers for layer decay; they agree with `backbone.layer_of`.

        Args:
            coarse: all blocks as one group.
        """
        return {
            "stem": rf"^backbone\.(?:{'|'.join(STEM_NAMES)})(?:\.|$)",
            "blocks": r"^backbone\.blocks\." if coarse else r"^backbone\.blocks\.(\d+)\.",
            "head": r"^(?:backbone\.norm|head)\.",
        }

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that must not decay although they are matrices."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute all blocks in backward instead of storing their activations."""
        self.backbone.set_grad_checkpointing(self.backbone.depth if enable else 0)


def _formatted(features: Features, output_fmt: OutputFormat, with_prefix: bool) -> Any:
    tokens: Tensor = features.tokens
    if output_fmt == "NCTHW":
        tokens = tokens.transpose(1, 2).unflatten(2, features.grid)
    return (tokens, features.prefix) if with_prefix else tokens
