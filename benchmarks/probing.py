"""What a person may choose of a protocol that trains a head: its share of the videos, and the rates of its sweep."""

import math
import re
from dataclasses import fields, replace

from benchmarks.budgets import Settings
from benchmarks.protocols import attentive_probe, linear_probe
from benchmarks.session import RequestError
from zoo.training.probe_recipe import ProbeRecipe, SweepRecipe

# Of V-JEPA's shares (arXiv 2404.08471, section 5), the one between.
USUAL_SHARE = "10%"


def share_of(text: str) -> float:
    """The share that "5%" or "0.05" name.

    Raises:
        RequestError: for anything else, and for a share that is not in (0, 1].
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text.strip())
    share = float(match.group(1)) / (100 if match.group(2) else 1) if match else 0.0
    if not 0 < share <= 1:
        raise RequestError(f"--share {text!r} is no share of the training videos, such as 5%, 10% or 50%")
    return share


def rates_of(text: str, option: str) -> tuple[float, ...]:
    """Numbers between commas; none for "".

    Args:
        text: such as "1e-3,3e-4".
        option: that gave it, for the message.

    Raises:
        RequestError: for anything that is no finite number from 0, and for one that is named twice.
    """
    try:
        found = tuple(float(word) for word in text.split(",")) if text else ()
    except ValueError:
        found = (math.nan,)
    if not all(0 <= it < math.inf for it in found) or len(set(found)) < len(found):
        raise RequestError(f"{option} {text!r} is no list of different numbers from 0, such as 1e-3,3e-4")
    return found


def with_rates(chosen: Settings, protocol: str, lrs: str, weight_decays: str) -> Settings:
    """Settings with other learning rates and weight decays to choose from, all tried in one pass over the features.

    Args:
        chosen: of the budget.
        protocol: its name, for the message.
        lrs: numbers between commas; "" for the budget's.
        weight_decays: likewise.

    Raises:
        RequestError: for a protocol without such a choice, and what is no list of numbers.
    """
    rates, decays = rates_of(lrs, "--lrs"), rates_of(weight_decays, "--weight-decays")
    if not rates and not decays:
        return chosen
    if not isinstance(chosen, attentive_probe.Settings | linear_probe.Settings):
        raise RequestError(f"--lrs and --weight-decays are for probes with a trained head, not for {protocol!r}")
    return replace(chosen, recipe=_sweep(chosen.recipe, rates, decays))


def _sweep(recipe: ProbeRecipe, lrs: tuple[float, ...], weight_decays: tuple[float, ...]) -> SweepRecipe:
    """The recipe with other rates."""
    kept = {entry.name: getattr(recipe, entry.name) for entry in fields(recipe)}
    if lrs:
        kept["lrs"] = lrs
    if weight_decays:
        kept |= {"weight_decays": weight_decays, "weight_decay": weight_decays[0]}
    return SweepRecipe(**kept)


def sweep_words(recipe: ProbeRecipe) -> str:
    """What there is to choose from."""
    trials = recipe.trials()
    rates, decays = ({getattr(trial, name) for trial in trials} for name in ("lr", "weight_decay"))
    if len(trials) == 1:
        return f"learning rate {trials[0].lr:g}, weight decay {trials[0].weight_decay:g}"
    return (
        f"{_counted(len(rates), 'learning rate')} x {_counted(len(decays), 'weight decay')}, chosen on "
        f"{100 * recipe.held_out:g} % of the training videos"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
