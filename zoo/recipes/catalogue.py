"""Every published training by name, of all papers."""

from collections.abc import Iterator

from zoo.recipes import (
    lvmae,
    mae_st,
    magvit,
    timesformer,
    umt,
    videomae,
    videomamba,
    videomamba_image,
    vjepa,
    vjepa_probe,
)
from zoo.recipes.training import Training
from zoo.suggest import unknown

FAMILIES = (
    videomamba_image,
    videomamba,
    umt,
    videomae,
    mae_st,
    vjepa,
    vjepa_probe,
    timesformer,
    magvit,
    lvmae,
)
CONVERTED = "_hf"  # ends the tag of a card that holds another card's weights in transformers' layout


def _all() -> Iterator[Training]:
    for family in FAMILIES:
        yield from family.rows()


TRAININGS: dict[str, Training] = {}
for _one in _all():
    if _one.name in TRAININGS:
        raise ValueError(f"two trainings are called {_one.name!r}")
    TRAININGS[_one.name] = _one


def get_training(name: str) -> Training:
    """The training of a name.

    Raises:
        UnknownNameError: naming the closest ones.
    """
    if name not in TRAININGS:
        raise unknown("recipe", name, TRAININGS)
    return TRAININGS[name]


def recipe_for(card: str) -> Training | None:
    """The training that made a card's weights, or those that it holds in another layout; None where nobody says."""
    made = {it.produces: it for it in TRAININGS.values() if it.produces}
    same = card.removesuffix(CONVERTED)
    # A classifier in transformers' layout holds V-JEPA 2's encoder and the probe of that data set.
    probe = same.replace(".videomix22m_", ".videomix22m_probe_")
    return made.get(card) or made.get(same) or (made.get(probe) if same != card else None)
