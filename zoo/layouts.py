"""Which layout a state dict has, and its tensors under our names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from zoo.card import Converted, Converter, fits, rename
from zoo.suggest import closest

# What our own files look like: VideoModel, the two training modules of zoo.training, a backbone by itself.
OWN = (
    Converter(
        name="zoo",
        needs=("backbone.*",),
        rules=tuple(rename(name, name) for name in ("backbone.*", "head.*", "decoder.*", "latent.*")),
        # What a tokenizer has beside its encoder.
        optional=("decoder.*", "latent.*"),
    ),
    # A probe by itself, whose backbone is in another file.
    Converter(
        name="zoo probe",
        needs=("head.query",),
        lacks=("backbone.*",),
        rules=(rename("head.*", "head.*"),),
        fills=("head.*",),
    ),
    Converter(name="zoo classification run", needs=("model.backbone.*",), rules=(rename("model.*", "*"),)),
    Converter(
        name="zoo pretraining run",
        needs=("objective.student.*",),
        rules=(rename("objective.student.*", "backbone.*"), rename("objective.*", "decoder.*")),
        optional=("decoder.*", "backbone.norm.*"),
    ),
    Converter(
        name="zoo backbone",
        needs=("patch_embed.proj.weight", "blocks.*"),
        rules=(rename("*", "backbone.*"),),
        optional=("backbone.norm.*",),
    ),
)
# Added by wrappers around the whole network; torch.compile's may stand anywhere.
PREFIXES = ("module.", "model.", "backbone.", "encoder.", "net.")
COMPILED = "_orig_mod."


class Recognised(NamedTuple):
    """A state dict under our names, and the layout it had."""

    layout: Converter
    prefix: str
    converted: Converted
    matched: int


def recognise(state: Mapping[str, Tensor], official: Iterable[Converter], names: Iterable[str]) -> Recognised:
    """Find the layout of a state dict: the one after which most names fit the model.

    Args:
        state: tensors as a file names them.
        official: the authors' layouts of the model's architecture.
        names: names of the model.

    Raises:
        ValueError: when no layout fits, when two fit equally well, and when part of a group of tensors is absent.
    """
    converters, wanted = (*OWN, *official), set(names)
    found, failures = [], []
    for prefix, variant in _variants(state):
        for converter in converters:
            if not converter.matches(list(variant)):
                continue
            try:
                converted = converter.to_zoo(variant)
            except ValueError as error:
                failures.append(f"{converter.name} layout: {error}")
                continue
            found.append(Recognised(converter, prefix, converted, len(wanted & set(converted.state))))
    found = [entry for entry in found if entry.matched]
    if not found:
        raise ValueError(failures[0] if failures else _unknown(state, converters))
    return _best(found, wanted)


def _variants(state: Mapping[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The state dict as it is, and without each prefix that all its names share."""
    prefix, variant = "", {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
    if len(variant) < len(state):
        counted = Counter(name.replace(COMPILED, "") for name in state)
        raise ValueError(f"{counted.most_common(1)[0][0]!r} is there twice, with {COMPILED!r} in its name and without")
    yield prefix, variant
    while shared := next((it for it in PREFIXES if all(name.startswith(it) for name in variant)), None):
        prefix += shared
        variant = {name.removeprefix(shared): tensor for name, tensor in variant.items()}
        yield prefix, variant


def _best(found: list[Recognised], wanted: set[str]) -> Recognised:
    """The entry that fits best; entries that agree on every tensor of the model are one."""

    def score(entry: Recognised) -> tuple[int, int]:
        converted = entry.converted
        surplus = [name for name in converted.state if name not in wanted and not is_optional(entry.layout, name)]
        return entry.matched, -len(surplus) - len(converted.unexpected)

    top = max(score(entry) for entry in found)
    best = [entry for entry in found if score(entry) == top]
    for other in best[1:]:
        mine, theirs = best[0].converted.state, other.converted.state
        if any(not _equal(mine.get(name), theirs.get(name)) for name in wanted):
            names = " and ".join(repr(entry.layout.name) for entry in best)
            raise ValueError(f"it could be any of the layouts {names}; rename its keys to make it one of them")
    # What DistributedDataParallel wrapped is somebody else's, even where its names are ours (V-JEPA's encoders).
    return min(best, key=lambda it: it.prefix.startswith("module.") and it.layout in OWN)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two layouts read the same numbers; views of one tensor need no comparison."""
    if one is None or other is None:
        return one is other
    same = one.shape == other.shape and one.dtype == other.dtype
    view = one.data_ptr() == other.data_ptr() and one.stride() == other.stride()
    return same and (one.is_meta or view or bool((one == other).all()))


def is_optional(layout: Converter, name: str) -> bool:
    """Whether a model may lack this one of our names."""
    return any(fits(template, name) for template in layout.optional)


def _unknown(state: Mapping[str, Tensor], converters: Iterable[Converter]) -> str:
    """What to say about keys that belong to no layout."""
    keys = list(state)
    known = list(converters)
    near = max(known, key=lambda it: sum(any(fits(need, key) for key in keys) for need in it.needs) / len(it.needs))
    lacking = [need for need in near.needs if not any(fits(need, key) for key in keys)]
    text = f"its {len(keys)} keys ({', '.join(repr(key) for key in keys[:3])}, ...) have no layout known for this model"
    text += f"; known are {', '.join(repr(it.name) for it in known)}. The closest is {near.name!r}"
    if lacking:
        like = closest(lacking[0], keys, 1)
        text += f", which needs {lacking[0]!r}" + (f" (the file has {like[0]!r})" if like else "")
    return text
