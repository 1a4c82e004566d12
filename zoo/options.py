"""What the named options of an architecture may be, so that a wrong one is told apart from a bug."""

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin


def check_options(architecture: str, build: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Hold options against the types that a builder declares.

    Whole numbers are sizes and counts, at least 1; a `..._rate` lies in [0, 1); other numbers are above 0.

    Args:
        architecture: its name, for messages.
        build: the builder.
        options: option -> value; the builder has them all.

    Raises:
        ValueError: naming the option, the value and what would be right.
    """
    parameters = inspect.signature(build).parameters
    for name, value in options.items():
        wanted = parameters[name].annotation
        if wanted is not inspect.Parameter.empty and not _fits(name, value, wanted):
            raise ValueError(f"{name}={value!r} is no {name} of {architecture}; it takes {_words(name, wanted)}")


def check_classes(number: Any) -> None:
    """Refuse what is no number of classes.

    Raises:
        ValueError: naming the value.
    """
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"num_classes={number!r} is no number of classes; 0 gives pooled features")


def _choices(wanted: Any) -> tuple[Any, ...]:
    return get_args(wanted) if get_origin(wanted) in (Union, UnionType) else (wanted,)


def _fits(name: str, value: Any, wanted: Any) -> bool:
    return any(_is(name, value, kind) for kind in _choices(wanted))


def _is(name: str, value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        if isinstance(value, tuple) and kinds[-1] is Ellipsis:
            kinds = kinds[:1] * len(value)
        if not isinstance(value, tuple) or len(value) != len(kinds):
            return False
        return all(_is(name, part, wanted) for part, wanted in zip(value, kinds, strict=True))
    if kind in (int, float):
        if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
            return False
        return value >= 1 if kind is int else 0 <= value < 1 if name.endswith("_rate") else value > 0
    return isinstance(value, kind) if isinstance(kind, type) else True


def _words(name: str, wanted: Any) -> str:
    return " or ".join(_word(name, kind) for kind in _choices(wanted))


def _word(name: str, kind: Any) -> str:
    if get_origin(kind) is tuple:
        kinds = get_args(kind)
        return "a tuple of whole numbers" if kinds[-1] is Ellipsis else f"a tuple of {len(kinds)} of them"
    number = "a number from 0 to below 1" if name.endswith("_rate") else "a number above 0"
    known = {int: "a whole number of at least 1", float: number, bool: "True or False", str: "a text", NoneType: "None"}
    return known.get(kind) or f"a {getattr(kind, '__name__', kind)}"
