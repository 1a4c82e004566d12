"""A published training made so small that it ends on a processor within seconds: `--shrink`.

The kind of everything stays (objective, masks, layer decay, mixing, augmentation); sizes, steps and batches shrink, and
weights start at random. Nothing it measures says anything about the recipe.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.shrunken_network import small_head
from zoo.recipes.learned import Alignment, Codes, Distillation, Learned, Pixels, Prediction, Reconstruction
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import RANDOM, Descent, Original, Training
from zoo.registry import get_architecture
from zoo.tokenizers import tokenizer_of
from zoo.training.probe_recipe import SweepRecipe

STEPS, BATCH, WIDTH = 4, 4, 32
SIDE = 32  # pixels
CODE_PX, CODED = 16, 64  # of a token on which a code lies, and of the clips
SIZES = ("num_frames", "img_size")
SUITE, TASK = "digits_smoke", "appearance"
# Of the teachers that stand in for CLIP.
TEACHER: dict[str, Any] = {"image_size": 16, "patch_size": 4, "width": 16, "depth": 3, "num_heads": 2, "out_dim": 8}
TEACHER_WIDTH = 16  # of a smaller network of the student's kind


def shrunk(training: Training, *, steps: int = STEPS) -> Training:
    """The small version of a row.

    Args:
        training: the row.
        steps: optimiser steps.
    """
    options, clip = small_options(training), training.clip
    shrink = get_architecture(training.architecture).shrink
    size = {name: options.get(name, shrink.get(name, getattr(clip, name))) for name in SIZES}
    short = None if clip.short_side is None else round(clip.short_side * size["img_size"] / clip.img_size)
    return replace(
        training,
        options=options,
        classifier=None if training.classifier is None else small_head(training.classifier, options),
        head_start="fresh",
        start=RANDOM,
        objective=small_objective(training.objective),
        clip=replace(clip, **size, short_side=short, stride=1, clips=min(clip.clips, 2), crops=1),
        augment=replace(training.augment, short_side=(size["img_size"], size["img_size"] + 8)),
        recipe=small_recipe(training.recipe, steps),
        epochs=None,
        warmup_epochs=None,
        original=Original(devices=1, clips=BATCH, name="processor"),
        expected=(),
        produces="",
    )


def small_options(training: Training) -> dict[str, Any]:
    """Options of the builder, those that make it small in place of the published ones."""
    shrink = get_architecture(training.architecture).shrink
    if isinstance(training.objective, Reconstruction):
        return {**training.options, **small_tokenizer(training.architecture)}
    # Masks of nine tenths leave something of 16 patches, not of 4.
    options = {**training.options, **shrink, "img_size": max(SIDE, shrink.get("img_size", SIDE))}
    if training.options.get("num_frames") == 1:
        options["num_frames"] = 1
    if isinstance(training.objective, Codes):
        # One code of the small tokenizer must lie on one token.
        theirs = tokenizer_of(training.objective.tokenizer).shrink
        options |= {"patch_size": CODE_PX, "img_size": CODED, "num_frames": theirs["num_frames"]}
    return options


def small_tokenizer(name: str) -> dict[str, Any]:
    """Options of a small tokenizer; its clips are no option of it."""
    return {key: it for key, it in tokenizer_of(name).shrink.items() if key not in SIZES}


def small_recipe(recipe: Recipe | SweepRecipe | Descent, steps: int) -> Recipe | SweepRecipe | Descent:
    """A few steps of a few clips in single precision."""
    if isinstance(recipe, Descent):
        return recipe
    if isinstance(recipe, SweepRecipe):
        decays = recipe.weight_decays[:2]
        return replace(recipe, steps=steps, warmup_steps=0, batch_size=BATCH, lrs=recipe.lrs[:2], weight_decays=decays)
    warmup = 0 if recipe.schedule == "vjepa_linear" else 1
    return replace(
        recipe, steps=steps, warmup_steps=warmup, global_batch=BATCH, accumulate=1, precision="32-true", clip_after=0
    )


def small_objective(objective: Learned | None) -> Learned | None:
    """The objective with small decoders and teachers."""
    if objective is None:
        return None
    makers: dict[type, Callable[[Any], Learned]] = {
        Pixels: lambda it: replace(it, decoder_width=WIDTH, decoder_depth=1, decoder_heads=2),
        Alignment: lambda it: replace(it, teacher_layers=min(2, it.teacher_layers), teacher_interval=1, interval=1),
        Prediction: lambda it: replace(it, predictor_width=24, predictor_depth=1, predictor_heads=2),
        Distillation: lambda it: it,
        Codes: lambda it: replace(it, decoder_width=WIDTH, decoder_depth=1, decoder_heads=2),
        Reconstruction: lambda it: replace(
            it, perceptual="none", discriminator=min(2, it.discriminator), keep_tokens=min(6, it.keep_tokens)
        ),
    }
    return makers[type(objective)](objective)
