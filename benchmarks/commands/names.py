"""Which released weights a command line means."""

from collections.abc import Sequence

from zoo.suggest import UnknownNameError, closest


def chosen(names: Sequence[str], *, everything: bool = False) -> list[str]:
    """Full names of cards.

    Args:
        names: full names, and patterns with stars.
        everything: all cards instead.

    Raises:
        UnknownNameError: for a name that no card has, for a pattern that fits none, for no name at all, for names
            beside all cards, and for networks of others, which have no cards.
    """
    from zoo.foreign import is_foreign
    from zoo.registry import PUSHED, get_card, list_pretrained

    if other := next((name for name in names if is_foreign(name) or name.startswith(PUSHED)), None):
        raise UnknownNameError(
            f"{other!r} has no card to check a file against (zoo list --pretrained names those that have one); "
            f"zoo.create_model({other!r}, pretrained=True) fetches and loads it"
        )
    if everything and names:
        raise UnknownNameError(f"--all is every card, {names[0]!r} among them: leave out the names, or --all")
    if everything:
        return list_pretrained()
    if not names:
        raise UnknownNameError("name some released weights (`zoo list --pretrained` knows them), or say --all")
    found: list[str] = []
    for name in names:
        fitting = list_pretrained(name) if any(it in name for it in "*?[") else [get_card(name).name]
        if not fitting:
            near = ", ".join(closest(name.strip("*"), list_pretrained(), 3)) or "there are none at all"
            raise UnknownNameError(f"no released weights fit {name!r}; the closest: {near}")
        found += fitting
    return list(dict.fromkeys(found))
