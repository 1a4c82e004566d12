"""Fields of a published training as text: all of them by dotted names, some of them set, two rows held side by side."""

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin

from zoo.options import check_options
from zoo.recipes.training import Descent, Training
from zoo.registry import builder_options, get_architecture
from zoo.suggest import unknown

# What says where a row comes from, and is no setting of a run.
FACTS = (
    *("name", "family", "kind", "original", "cost", "expected", "source", "produces", "views"),
    *("unknown", "lacks", "notes", "obstacle", "data"),
)
COUNTED = ("steps", "warmup_steps")


class SettingError(ValueError):
    """A --set that names no field or gives it no value that it takes."""


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Every field by its dotted name; those of dataclasses and mappings inside one by one.

    Args:
        value: a dataclass or a mapping.
        prefix: what stands before each name.
    """
    parts = value if isinstance(value, Mapping) else {it.name: getattr(value, it.name) for it in fields(value)}
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if isinstance(part, Mapping) or (is_dataclass(part) and not isinstance(part, type)):
            found |= flat(part, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = part
    return found


def settings_of(training: Training) -> dict[str, Any]:
    """The fields that shape a run, by dotted names."""
    return {name: it for name, it in flat(training).items() if name.partition(".")[0] not in FACTS}


def difference(one: Training, other: Training) -> dict[str, tuple[Any, Any]]:
    """The fields that differ, notes among them; None where one of the two has no such field."""
    left, right = flat(one), flat(other)
    names = dict.fromkeys((*left, *right))
    return {name: (left.get(name), right.get(name)) for name in names if left.get(name) != right.get(name)}


def with_values(training: Training, assignments: Iterable[str]) -> Training:
    """The row with fields set; steps follow epochs, videos and batch unless they are set themselves.

    Args:
        training: the row.
        assignments: texts such as "recipe.base_lr=1e-4" or "options.drop_path_rate=0.2".

    Raises:
        SettingError: for what is no assignment, and for a value that the field does not take.
        UnknownNameError: for a field that there is not, with the closest ones.
    """
    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f"--set {text!r} is no assignment; write it as FIELD=VALUE, such as recipe.base_lr=1e-4")
        place, leaf = _owner(training, name), name.rpartition(".")[2]
        inside = changes
        for part in name.split(".")[:-1]:
            inside = inside.setdefault(part, {})
        if leaf in inside:
            raise SettingError(f"--set {name}={value}: {name} is set twice; give one value")
        inside[leaf] = _value(training, place, name, value)
    try:
        return _rebuilt(training, changes)
    except (ValueError, TypeError) as error:
        raise SettingError(f"--set {' '.join(assignments)}: {error}") from None


def _owner(training: Training, name: str) -> Any:
    """What holds a field.

    Raises:
        UnknownNameError: naming the closest fields.
    """
    known = [*settings_of(training), *(f"options.{it}" for it in _options(training))]
    if name not in known:
        raise unknown(f"field of {training.name}", name, dict.fromkeys(known))
    owner: Any = training
    for part in name.split(".")[:-1]:
        owner = owner[part] if isinstance(owner, Mapping) else getattr(owner, part)
    return owner


def _options(training: Training) -> list[str]:
    return list(builder_options(get_architecture(training.architecture))) if not training.obstacle else []


def _value(training: Training, owner: Any, name: str, text: str) -> Any:
    """A text as what the field holds."""
    leaf = name.rpartition(".")[2]
    if isinstance(owner, Mapping):
        value = plain(text)
        if name.startswith("options."):
            architecture = get_architecture(training.architecture)
            try:
                check_options(architecture.name, architecture.build, {leaf: value})
            except ValueError as error:
                raise SettingError(f"--set {name}={text}: {error}") from None
        return value
    if name == "architecture":
        get_architecture(text)  # refuses a name that there is not, with the closest ones
    kind = next(it.type for it in fields(owner) if it.name == leaf)
    try:
        return typed(text, kind)
    except ValueError as error:
        raise SettingError(f"--set {name}={text}: {error}") from None


def plain(text: str) -> Any:
    """A whole number, a number, True, False, None, or the text itself."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def typed(text: str, kind: Any) -> Any:
    """A text as a value of a type.

    Raises:
        ValueError: saying what would be right.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in inside and text.lower() in ("none", ""):
            return None
        return typed(text, next(it for it in inside if it is not type(None)))
    if origin is Literal:
        if text not in inside:
            raise unknown("value", text, inside)
        return text
    if origin is tuple:
        parts = [part.strip() for part in text.strip("()").split(",") if part.strip()]
        kinds = [inside[0]] * len(parts) if inside[-1] is Ellipsis else list(inside)
        if len(parts) != len(kinds):
            raise ValueError(f"{text!r} are {len(parts)} values and not {len(kinds)}; write them as 0.9,0.95")
        return tuple(typed(part, it) for part, it in zip(parts, kinds, strict=True))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither True nor False")
        return text.lower() == "true"
    if kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is no {'whole number' if kind is int else 'number'}") from None
        if not math.isfinite(value):
            raise ValueError(f"{text!r} is no finite number")
        return value
    if kind is str:
        return text
    raise ValueError("it cannot be set as a whole; set its fields")


def _rebuilt(training: Training, changes: dict[str, Any]) -> Training:
    recipe = dict(changes.get("recipe", {}))
    if any(name in recipe for name in COUNTED):
        # Epochs would say something else.
        changes = {**changes, "epochs": None, "warmup_epochs": None}
    elif not isinstance(training.recipe, Descent) and changes.get("epochs", training.epochs) is not None:
        epochs = int(changes.get("epochs", training.epochs) or 0)
        warmup = min(int(changes.get("warmup_epochs", training.warmup_epochs) or 0), epochs)
        batch = next((int(recipe[it]) for it in ("batch_size", "global_batch") if it in recipe), training.global_batch)
        videos = int(changes.get("videos", training.videos))
        each = videos // batch
        if batch > videos:
            raise ValueError(f"a batch of {batch:,} is more than the {videos:,} videos of the list")
        recipe |= {"steps": epochs * each, "warmup_steps": warmup * each}
        changes = {**changes, "warmup_epochs": warmup}
    merged = {**changes, "recipe": recipe}
    return replace(training, **{name: _changed(getattr(training, name), it) for name, it in merged.items()})


def _changed(value: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    if isinstance(value, Mapping):
        return {**value, **change}
    return replace(value, **{name: _changed(getattr(value, name), it) for name, it in change.items()})
