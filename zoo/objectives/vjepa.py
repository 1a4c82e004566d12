"""V-JEPA: predict the features that a slowly following copy of the student gives to the whole clip.

Sources: V-JEPA (arXiv 2404.08471; facebookresearch/jepa, app/vjepa/train.py) and V-JEPA 2 (arXiv 2506.09985;
facebookresearch/vjepa2, app/vjepa/train.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from backbones.contract import Backbone, Grid
from backbones.layers import Flavor
from backbones.tokens import take
from heads.masked_decoder import MaskedDecoder
from zoo import pictures
from zoo.batch import Batch
from zoo.ema import LinearMomentum, Target
from zoo.multiblock import LONG_RANGE, SHORT_RANGE, RandomTube, Split, Splitter
from zoo.objectives.contract import Loss, Objective, Picture, Steps, backbone_of

MASKS = ("multiblock", "tube")
Pair = tuple[Float[Tensor, "batch _query dim"], Float[Tensor, "batch _query dim"]]  # masks differ in their queries


TABLES = Flavor(positions="vjepa", qkv_bias="qkv", start="normal")


@dataclass(frozen=True, kw_only=True)
class PredictorForm:
    """Size and form of a predictor; the defaults are those of V-JEPA L and H (facebookresearch/jepa, configs/pretrain).

    Attributes:
        width: of its tokens.
        depth: its blocks.
        num_heads: its heads; V-JEPA has as many as the encoder.
        num_mask_tokens: learned tokens for the queries.
        flavor: form of blocks, positions and initial weights. `start="xavier"` suits widths far below 384.
    """

    width: int = 384
    depth: int = 12
    num_heads: int = 16
    num_mask_tokens: int = 2
    flavor: Flavor = TABLES

    def __post_init__(self) -> None:
        for name in ("width", "depth", "num_heads", "num_mask_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"PredictorForm.{name} must be at least 1, not {getattr(self, name)}")

    def build(self, dim: int, grid: Grid) -> MaskedDecoder:
        """The predictor of features of width `dim`, for clips of a grid."""
        return MaskedDecoder(
            dim,
            dim,
            grid,
            width=self.width,
            depth=self.depth,
            num_heads=self.num_heads,
            embed_bias=True,
            num_mask_tokens=self.num_mask_tokens,
            zero_mask_tokens=True,
            decay_mask_tokens=True,
            flavor=self.flavor,
        )


PREDICTOR = PredictorForm()
# Ten mask tokens stand in the released files: two masks times five data sources, of which one pair is used.
PREDICTOR_2 = PredictorForm(
    num_heads=12,
    num_mask_tokens=10,
    flavor=Flavor(positions="rotary", qkv_bias="qkv", start="normal_rescaled"),
)


class VJEPA(Objective):
    """Feature prediction with any backbone that can drop tokens.

    The target sees the whole clip once for all masks; the student sees the visible tokens of each mask. Targets are
    layer-normed over channels, without learned scale. The loss is the mean of |prediction - target| ** exponent /
    exponent over clips, queries and channels, averaged over masks.

    Downstream the authors use the target: `objective.target.network`.

    Args:
        student: the backbone.
        predictor: predicts `student.embed_dim` channels; has mask tokens for all masks.
        masks: what is seen and what is predicted; one pass of student and predictor each.
        momentum: of the target.
        exponent: 1 is the published loss.
        variance_weight: of a penalty on predictions whose channels vary less than 1 over a clip; 0 in every published
            recipe.
        mask_tokens: number of the mask token for each mask; None for one after the other, from the beginning again when
            they are used up, as V-JEPA does it. V-JEPA 2 tells clip lengths apart instead of masks: (0, 0) for its
            first clip length.

    Raises:
        ValueError: for a student that cannot drop tokens, a predictor of another width, and mask tokens that do not
            exist.
    """

    def __init__(
        self,
        student: Backbone,
        predictor: MaskedDecoder,
        masks: Sequence[Splitter],
        *,
        momentum: LinearMomentum,
        exponent: float = 1.0,
        variance_weight: float = 0.0,
        mask_tokens: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not backbone_of(student, "student").drops_tokens:
            raise ValueError(f"{type(student).__name__} cannot drop tokens, which V-JEPA needs")
        if predictor.head.out_features != student.embed_dim:
            raise ValueError(
                f"the predictor gives {predictor.head.out_features} channels, but the targets have {student.embed_dim}"
            )
        there = len(predictor.mask_tokens)
        tokens = [index % there for index in range(len(masks))] if mask_tokens is None else list(mask_tokens)
        if len(tokens) != len(masks) or any(not 0 <= token < there for token in tokens):
            raise ValueError(f"{len(masks)} masks cannot use the mask tokens {tokens}; the predictor has {there}")
        self.student, self.predictor, self.target = student, predictor, Target(student)
        self.steps = Steps()
        # What no mask uses gets no gradient, which distributed training takes for an error.
        for index, token in enumerate(predictor.mask_tokens):
            token.requires_grad_(index in tokens)
        self.masks, self.mask_tokens, self.momentum = tuple(masks), tokens, momentum
        self.exponent, self.variance_weight = exponent, variance_weight

    def forward(self, batch: Batch) -> Loss:
        """Loss of one batch with freshly drawn masks.

        Logs `blank_loss`, what the best constant per channel would give (the median of the targets, or their mean for
        exponents other than 1), and `target_std`, their standard deviation. Both fall towards zero when the features
        collapse, as the loss does then.
        """
        return self.loss(self.predict(batch.video, self.draw(batch.video)))

    def draw(self, video: Float[Tensor, "batch 3 frames height width"]) -> list[Split]:
        """What is seen and predicted under each mask.

        Cuboids have one size in a batch, which depends on the number of steps taken alone: it is the same on all
        processes, as in the authors' collator, whose counter starts at 0 too.
        """
        grid, device = self.student.grid(video), video.device
        splits = [mask(grid, len(video), self.generator, counter=self.steps.taken) for mask in self.masks]
        return [Split(split.keep.to(device), split.query.to(device)) for split in splits]

    def predict(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        splits: Sequence[Split],
        mask_tokens: Sequence[int] | None = None,
    ) -> list[Pair]:
        """Predictions and targets at the queries of each mask, in raster order.

        Args:
            video: clips.
            splits: from `draw`.
            mask_tokens: in place of the objective's own, for batches that mix clip lengths.
        """
        targets, pairs = self.targets(video), []
        for split, token in zip(splits, self.mask_tokens if mask_tokens is None else mask_tokens, strict=True):
            prediction = self.predictor(self.student.forward_features(video, split.keep), split.query, token)
            pairs.append((prediction, take(targets, split.query)))
        return pairs

    @torch.no_grad()
    def targets(self, video: Float[Tensor, "batch 3 frames height width"]) -> Float[Tensor, "batch tokens dim"]:
        """What the following copy makes of whole clips, normed over channels with an epsilon of 1e-5."""
        tokens = self.target.network.forward_features(video).tokens
        return F.layer_norm(tokens.to(torch.promote_types(tokens.dtype, torch.float32)), tokens.shape[-1:])

    def loss(self, pairs: Sequence[Pair]) -> Loss:
        """Loss and logs from predictions and targets."""
        error = torch.stack([self.distance(prediction - target) for prediction, target in pairs]).mean()
        with torch.no_grad():
            rows = [target.flatten(0, 1) for _, target in pairs]
            # The median is the best constant for the published L1 loss.
            spreads = [target - (target.median(0).values if self.exponent == 1 else target.mean(0)) for target in rows]
            logs = {
                "blank_loss": torch.stack([self.distance(spread) for spread in spreads]).mean(),
                "target_std": torch.stack(
                    [target.std(0, correction=0).square().mean().sqrt() for target in rows]
                ).mean(),
            }
        if not self.variance_weight:
            return Loss(error, logs)
        penalty = self.variance_penalty([prediction for prediction, _ in pairs])
        return Loss(error + self.variance_weight * penalty, {**logs, "variance_penalty": penalty.detach()})

    def distance(self, difference: Tensor) -> Float[Tensor, ""]:
        """Mean of |difference| ** exponent / exponent."""
        if self.exponent == 1:
            return difference.abs().mean()
        return (difference.abs() ** self.exponent).mean() / self.exponent

    def variance_penalty(self, predictions: Sequence[Tensor]) -> Float[Tensor, ""]:
        """How far channels stay below a standard deviation of 1 over the queries of a clip, averaged over masks first.

        Source: facebookresearch/jepa, app/vjepa/train.py, reg_fn.
        """
        deviations = [(prediction.float().var(1) + 1e-4).sqrt() for prediction in predictions]
        return F.relu(1 - torch.stack(deviations).mean(0)).mean()

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Float[Tensor, "batch 3 frames height width"]) -> Picture:
        """The target's features of whole clips, and under each mask what is seen and what is predicted elsewhere."""
        splits, targets = self.draw(batch.video), self.targets(batch.video)
        grid, tubelet, palette = self.student.grid(batch.video), self.student.tubelet, pictures.Palette(targets)
        panels = {"target's features": pictures.paint(palette(targets), grid, tubelet)}
        pairs = self.predict(batch.video, splits)
        for number, (split, (prediction, _)) in enumerate(zip(splits, pairs, strict=True), start=1):
            panels[f"shown, mask {number}"] = pictures.visible(pixels, split.keep, tubelet)
            panels[f"predicted, mask {number}"] = pictures.paint(palette(prediction), grid, tubelet, split.query)
        note = "V-JEPA predicts the target's features where it sees nothing; colours are their principal components."
        return Picture(panels, note)

    def after_step(self, step: int) -> None:
        """Let the target follow the student that was just updated."""
        self.target.follow(self.student, self.momentum(step))
        self.steps.taken = step


def vjepa_for(
    student: Backbone,
    img_size: int,
    num_frames: int,
    *,
    steps: int,
    mask: str = "multiblock",
    truncation: str = "first",
    tube_ratio: float = 0.9,
    predictor: PredictorForm = PREDICTOR,
    momentum: LinearMomentum | None = None,
    mask_tokens: Sequence[int] | None = None,
) -> VJEPA:
    """V-JEPA for any backbone; prefix tokens, if it has some, pass through the predictor.

    Args:
        student: the backbone.
        img_size: side of the clips in pixels.
        num_frames: frames of the clips.
        steps: optimiser steps of the run.
        mask: "multiblock": V-JEPA's short and long range; "tube": one random tube mask.
        truncation: of "multiblock"; see `zoo.multiblock.Multiblock`. Divided attention needs "tube" here or as `mask`.
        tube_ratio: fraction of the positions of a frame that a tube mask hides.
        predictor: its size and form, by default those of V-JEPA L and H; `PREDICTOR_2` for V-JEPA 2.
        momentum: of the target; from 0.998 towards 1 over 1.25 times `steps` when None, as for V-JEPA. V-JEPA 2 keeps
            0.99925 throughout.
        mask_tokens: see `VJEPA`; (0, 0) for V-JEPA 2.

    Raises:
        ValueError: for an unknown mask, and for sizes below 1.
        TypeError: when the student is a whole model.
    """
    if mask not in MASKS:
        raise ValueError(f"unknown mask {mask!r}; choose from {MASKS}")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    grid: Grid = backbone_of(student, "student").grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta"))
    multiblock = tuple(replace(it, truncation=truncation) for it in (SHORT_RANGE, LONG_RANGE))
    masks: tuple[Splitter, ...] = multiblock if mask == "multiblock" else (RandomTube(ratio=tube_ratio),)
    return VJEPA(
        student,
        predictor.build(student.embed_dim, grid),
        masks,
        momentum=momentum or LinearMomentum(start=0.998, final=1.0, steps=int(1.25 * steps)),
        mask_tokens=mask_tokens,
    )
