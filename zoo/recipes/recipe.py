"""A recipe: every number that shapes a training run, in one frozen value."""

from dataclasses import dataclass
from typing import Literal

LayerRule = Literal["all", "videomamba", "videomamba_published"]
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
RATES = ("base_lr", "base_final_lr", "base_warmup_lr")
Shape = Literal["cosine", "vjepa_cosine", "vjepa_linear"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train; what to learn is the objective's, and what clips look like is the data module's.

    What it cost the authors and what is expected of it stands in the row that it belongs to (`zoo.recipes.training`).
    Learning rates are the published base rates: `peak_lr`, `final_lr` and `warmup_lr` of an optimiser step follow from
    them by the rule of `zoo.training.optim.scale_lr`.

    Attributes:
        steps: optimiser steps.
        global_batch: clips per optimiser step, over all devices and accumulated batches, counting repeats once.
        repeats: augmented copies of each clip in a batch (repeated augmentation); the video that is decoded once
            counts once in `global_batch`.
        repeats_scale_lr: multiply learning rates by `repeats`, as UMT and VideoMamba do and VideoMAE does not.
        base_lr: peak learning rate for a batch of 256.
        base_final_lr: learning rate that the cosine would reach one step after the last, for a batch of 256.
        base_warmup_lr: learning rate of the first step, for a batch of 256.
        warmup_steps: steps of linear warm-up.
        schedule: course of the learning rate: "cosine" as in the MAE family, "vjepa_cosine" or "vjepa_linear" (the
            cool-down of V-JEPA 2, without warm-up); see `zoo.training.schedules`. A constant rate after the warm-up is
            a cosine whose `base_final_lr` is `base_lr`.
        stretch: V-JEPA's schedules are made for `stretch` times as many steps, and cut off.
        betas: AdamW's decay rates.
        eps: AdamW's epsilon.
        weight_decay: of matrices; vectors, biases, tables and tokens have none.
        final_weight_decay: what `weight_decay` becomes along half a cosine over the steps, stretched as the learning
            rate is; None for no change.
        layer_decay: factor on the learning rate from a layer to the one below; 1 for the same rate everywhere.
        layer_rule: which layer a parameter belongs to, see `zoo.training.optim.layer_of`.
        gradient_clip: largest norm of the gradient; None for no clipping.
        clip_parts: clip the backbone by itself and the rest by itself, each at `gradient_clip`.
        clip_after: steps without clipping at the beginning.
        accumulate: batches per optimiser step.
        precision: of the arithmetic, in Lightning's words.
        checkpointed_blocks: blocks whose activations are recomputed in backward.
        ema_decay: decay per step of the averaged weights that replace the trained ones at the end; None for none.
        label_smoothing: share of the target that is spread over all classes (classification only).
        mixup: alpha of mixup; 0 for none (classification only).
        cutmix: alpha of CutMix; 0 for none. With both, each batch gets one of them with equal chance.
        token_drop: share of each frame's positions that the backbone does not see in training, the same ones in every
            frame of a clip (classification only; never in evaluation).
    """

    steps: int
    global_batch: int
    base_lr: float
    repeats: int = 1
    repeats_scale_lr: bool = True
    base_final_lr: float = 0.0
    base_warmup_lr: float = 0.0
    warmup_steps: int = 0
    schedule: Shape = "cosine"
    stretch: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.05
    final_weight_decay: float | None = None
    layer_decay: float = 1.0
    layer_rule: LayerRule = "all"
    gradient_clip: float | None = None
    clip_parts: bool = False
    clip_after: int = 0
    accumulate: int = 1
    precision: Precision = "32-true"
    checkpointed_blocks: int = 0
    ema_decay: float | None = None
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    token_drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "global_batch", "repeats", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in (
            *RATES,
            "weight_decay",
            "final_weight_decay",
            "mixup",
            "cutmix",
            "clip_after",
            "checkpointed_blocks",
        ):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        for name in ("eps", "gradient_clip"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), not {self.betas}")
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"{self.warmup_steps} warm-up steps do not fit into {self.steps} steps")
        if self.stretch < 1:
            raise ValueError(f"stretch must be at least 1, not {self.stretch}")
        if self.schedule == "cosine" and self.stretch != 1:
            raise ValueError("schedule 'cosine' is not stretched; choose 'vjepa_cosine'")
        if self.schedule == "vjepa_linear" and self.warmup_steps:
            raise ValueError(f"schedule 'vjepa_linear' has no warm-up, not one of {self.warmup_steps} steps")
        if self.final_weight_decay is not None and not self.weight_decay:
            raise ValueError("final_weight_decay needs a weight_decay above 0 to start from")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], not {self.layer_decay}")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must lie between 0 and 1, not {self.ema_decay}")
        if not 0 <= self.token_drop < 1:
            raise ValueError(f"token_drop must lie in [0, 1), not {self.token_drop}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")


def steps_of(epochs: int, *, videos: int, global_batch: int) -> int:
    """Optimiser steps of a number of passes over a list, counting whole batches only, as the MAE family does."""
    return epochs * (videos // global_batch)
