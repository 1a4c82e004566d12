"""A tokenizer trained on listed clips: the path from a list of videos to a file that `create_tokenizer` loads."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from backbones.importance import AdaptiveTokenizer, ImportanceScorer
from backbones.tokenizer import Tokenizer
from zoo.card import ClipSpec
from zoo.data.cache import FrameCache
from zoo.data.datamodule import VideoDataModule
from zoo.data.records import Record
from zoo.data.transforms import Augment
from zoo.objectives.discriminator import Discriminator
from zoo.objectives.perceptual import find_perceptual
from zoo.objectives.tokenizer import LossWeights, TokenizerTraining
from zoo.recipes.recipe import Recipe
from zoo.tokenizers import create_tokenizer, load_tokenizer, save_tokenizer, tokenizer_of
from zoo.training.fit import FitReport, Hardware, fit
from zoo.training.log import OnStep
from zoo.training.parts import pretrainer

FILE = "tokenizer.safetensors"
KEPT = 768 / 1568  # share of the codes that LVMAE keeps in training, of 16 frames of 224 px
_logger = logging.getLogger(__name__)

# For the embedded clips, with 8 channels, in 40 s on one core; every number is ours. With MAGVIT's betas (0, 0.99) a
# longer run did not come as far.
PICO = Recipe(
    steps=220,
    global_batch=4,
    base_lr=0.256,
    warmup_steps=10,
    betas=(0.9, 0.99),
    weight_decay=0.0,
    gradient_clip=1.0,
)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How a tokenizer is trained; the defaults are for the embedded clips.

    Attributes:
        name: architecture of the tokenizer.
        overrides: options that it is made with.
        recipe: every number of the run.
        adversary: channels of the discriminator; 0 for none.
        perceptual: see `zoo.objectives.perceptual.find_perceptual`.
        error: "l2" or "l1".
        weights: of the terms of the losses.
        momentum: of the averaged weights, which are kept; MAGVIT's 0.999 suits runs of many thousand steps.
        frozen_scorer: the importance scorer of an adaptive tokenizer stays as it was drawn.
    """

    name: str = "lvmae_tokenizer_tiny"
    overrides: dict[str, Any] = field(default_factory=lambda: {"channels": 8})
    recipe: Recipe = PICO
    adversary: int = 0
    perceptual: str = "none"
    error: str = "l2"
    weights: LossWeights = field(default_factory=LossWeights)
    momentum: float = 0.95
    frozen_scorer: bool = False

    @property
    def clip(self) -> ClipSpec:
        """The clips of the tokenizer."""
        return tokenizer_of(self.name).clip

    def fitted(self, tubelet: tuple[int, int, int], clip: ClipSpec) -> "Lesson":
        """The same for an adaptive tokenizer with one code per token of a backbone.

        Every step halves the sides, the last ones also the frames; widths double at every second step, as LVMAE's.

        Args:
            tubelet: of the backbone; powers of two, see `zoo.objectives.matrix.obstacle`.
            clip: that the tokenizer is trained on.
        """
        frames, side, _ = tubelet
        steps, late = side.bit_length() - 1, frames.bit_length() - 1
        codes = clip.num_frames // frames * (clip.img_size // side) ** 2
        shape = {
            "multipliers": tuple(2 ** (at // 2) for at in range(steps + 1)),
            "time_strides": (1,) * (steps - late) + (2,) * late,
            "keep_tokens": round(KEPT * codes),
        }
        return replace(self, overrides={**self.overrides, **shape})

    def objective(self, seed: int, clip: ClipSpec | None = None) -> TokenizerTraining:
        """What is learned, from random weights of a seed, on some clips; the tokenizer's own when None."""
        perceptual, note = find_perceptual(self.perceptual)
        _logger.info(note)
        clip = clip or self.clip
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            judge = None
            if self.adversary:
                judge = Discriminator(num_frames=clip.num_frames, img_size=clip.img_size, channels=self.adversary)
            tokenizer = create_tokenizer(self.name, **self.overrides)
            if self.frozen_scorer:
                scorer_of(tokenizer).requires_grad_(False)
            return TokenizerTraining(
                tokenizer,
                judge,
                perceptual=perceptual,
                error=self.error,
                weights=self.weights,
                momentum=self.momentum,
                mean=clip.mean,
                std=clip.std,
            )


def scorer_of(tokenizer: Tokenizer) -> ImportanceScorer:
    """The importance scorer of an adaptive tokenizer.

    Raises:
        ValueError: for a tokenizer that has none.
    """
    if not isinstance(tokenizer, AdaptiveTokenizer):
        raise ValueError(f"a {type(tokenizer).__name__} has no importance scorer to freeze; take an adaptive tokenizer")
    return tokenizer.scorer


def train_tokenizer(
    records: Sequence[Record],
    run_dir: Path,
    lesson: Lesson,
    *,
    seed: int = 0,
    clip: ClipSpec | None = None,
    cache: FrameCache | None = None,
    augment: Augment | None = None,
    on_step: OnStep | None = None,
    hardware: Hardware | None = None,
    checkpoint_every: int = 1000,
) -> tuple[Tokenizer, FitReport]:
    """Train a tokenizer and keep its averaged weights in `run_dir/tokenizer.safetensors`.

    A run that was stopped goes on where it was.

    Args:
        records: training clips; labels are not looked at.
        run_dir: folder of this run alone.
        lesson: how.
        seed: of weights and clips.
        clip: what a clip is; the tokenizer's own when None.
        cache: decoded videos; files are read when None.
        augment: what varies between clips; nothing but the frames when None.
        on_step: told of every step.
        hardware: where to compute; the CPU when None.
        checkpoint_every: steps between two checkpoints.

    Returns:
        The averaged tokenizer in eval mode, as loaded from the file, and what the run logged.
    """
    clip = clip or lesson.clip
    objective = lesson.objective(seed, clip)
    data = VideoDataModule(
        spec=clip,
        train=records,
        augment=augment or Augment(crop="centre"),
        batch_size=lesson.recipe.global_batch,
        seed=seed,
        cache=cache,
    )
    told = fit(
        pretrainer(objective, lesson.recipe, seed=seed),
        data,
        run_dir=run_dir,
        checkpoint_every=checkpoint_every,
        progress=on_step,
        hardware=hardware or Hardware(accelerator="cpu"),
    )
    path = run_dir / FILE
    save_tokenizer(objective.average.network, path, name=lesson.name, overrides=lesson.overrides)
    return load_tokenizer(path), told
