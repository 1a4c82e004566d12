"""A published training as lines for a person: its fields, the rates that follow from them, its layers."""

from dataclasses import is_dataclass
from typing import Any

from rich.table import Table

from backbones.meta import meta_device
from benchmarks.suites.table import SUITES
from benchmarks.training_settings import flat
from zoo.catalogue_text import two_columns
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import Descent, Training
from zoo.registry import create_model, get_architecture
from zoo.training.classify import Classify
from zoo.training.optim import describe_groups, schedule_of, weight_decay_of
from zoo.training.probe_recipe import SweepRecipe

UNKNOWN_CLASSES = 400  # rows of the classifier in the table of layers, for videos that are no suite


def table(training: Training) -> Table:
    """Every field, one line each, and what follows from the numbers."""
    return two_columns({name: it for name, it in lines(training).items() if it})


def lines(training: Training) -> dict[str, str]:
    """The same as words by name."""
    told: dict[str, str] = {}
    for name, value in flat(training).items():
        if name in ("expected", "views", "original", "unknown", "lacks", "notes", "obstacle"):
            continue
        told[name] = words(value) + (" (not in our sources)" if is_unknown(training, name) else "")
    told["views"] = "\n".join(f"{it.clips} clips x {it.crops} crops: {it.source}" for it in training.views)
    told["original hardware"] = hardware_words(training)
    told["expected"] = "\n".join(f"{it.dataset} {it.metric} {it.value:g} ({it.source})" for it in training.expected)
    told["effective rates"] = rates(training)
    told["not in our sources"] = ", ".join(training.unknown)
    told["not done by the zoo"] = "\n".join(training.lacks)
    told["notes"] = "\n".join(training.notes)
    told["cannot be run"] = training.obstacle
    return told


def is_unknown(training: Training, name: str) -> bool:
    """Whether a field's value is our choice."""
    return any(name == it or name.startswith(f"{it}.") for it in training.unknown)


def words(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(words(it) for it in value) or "none"
    if value is None or value == "":
        return "none"
    return type(value).__name__ if is_dataclass(value) else str(value)


def hardware_words(training: Training) -> str:
    """What the authors trained on."""
    on = training.original
    if not on.devices:
        return "not in our sources"
    devices = f"{on.devices} x {on.name or 'device'}"
    return f"{devices}, {on.clips} videos on each" if on.clips else devices


def rates(training: Training) -> str:
    """Learning rates as the optimiser gets them."""
    recipe = training.recipe
    if isinstance(recipe, Descent):
        return f"{recipe.lr:g}, a tenth after epochs {', '.join(str(it) for it in recipe.drops)}"
    if isinstance(recipe, SweepRecipe):
        return ", ".join(f"{it:g}" for it in recipe.lrs) + f" for {len(recipe.trials())} heads, not scaled by the batch"
    schedule, decay = schedule_of(recipe), weight_decay_of(recipe)
    repeats = f" x {recipe.repeats} copies" if recipe.repeats > 1 and recipe.repeats_scale_lr else ""
    told = (
        f"step 1 {schedule(0):.4g}, peak {schedule.peak:.4g}, last step {schedule(recipe.steps - 1):.4g} "
        f"(base {recipe.base_lr:g} x {recipe.global_batch} videos{repeats} / 256)"
    )
    if decay is not None:
        told += f"; weight decay {decay(0):.4g} to {decay(recipe.steps - 1):.4g}"
    return told


def layers(training: Training) -> str:
    """The table of layers with their rates; "" where every layer has the same, and for what is not built.

    The network is made without memory for its weights.
    """
    recipe = training.recipe
    if training.obstacle or not isinstance(recipe, Recipe) or training.kind != "finetune" or recipe.layer_decay == 1:
        return ""
    get_architecture(training.architecture)
    with meta_device():
        model = create_model(
            training.architecture,
            num_classes=_num_classes(training),
            classifier=training.classifier,
            **training.options,
        )
        return describe_groups(Classify(model, recipe).placements(), recipe)


def _num_classes(training: Training) -> int:
    if training.suite not in SUITES:
        return UNKNOWN_CLASSES
    suite = SUITES[training.suite]
    task = suite.task(training.task) if training.task else suite.tasks[0]
    return 1 if task.metric == "mse" else task.num_classes
