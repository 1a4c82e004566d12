"""A file of weights in another layout: the authors', transformers' or ours. What is written is safetensors, always."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from backbones.meta import meta_device
from zoo.card import Architecture, Classifier, ClipSpec, Converter, fits
from zoo.checkpoints import Saved, load_checkpoint, save_checkpoint, with_predictor, write_tensors
from zoo.layouts import OWN, Recognised, is_optional, recognise
from zoo.model import VideoModel
from zoo.registry import builder_options, create_model, get_architecture, get_card, read_description
from zoo.suggest import UnknownNameError, unknown
from zoo.weight_files import STATE_DICT, CheckpointError, Contents, read_weights

TARGETS = ("official", "hf", "zoo")
# Computed from the size of the clips: a layout without it loses nothing.
COMPUTED = "backbone.pos_embed"


class ConvertError(ValueError):
    """A file that cannot be written in the wished layout; the message names it and says why."""


@dataclass(kw_only=True)
class Conversion:
    """What became of a file.

    Attributes:
        source: layout that was read.
        target: layout that was written.
        written: number of tensors written.
        dropped: name in the file that was read, or ours -> why it was left out.
    """

    source: str
    target: str
    written: int
    dropped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.source} -> {self.target}, {self.written} tensors"]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            lines.append(f"dropped {', '.join(names[:4])}{more}: {reason}")
        return "\n".join(lines)


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str,
    name: str = "",
    layout: str = "",
    entry: str = "",
    options: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Conversion:
    """Write a file of weights again in another layout.

    Args:
        source: a file in any layout that its architecture knows; nothing in it is executed.
        target: the safetensors file to write; it appears whole or not at all.
        to: "official" (the authors' names), "hf" (transformers') or "zoo" (ours, with the description from which
            `create_model(checkpoint_path=target)` makes the model).
        name: architecture, or card of released weights; a file of ours says it itself.
        layout: name of the layout to write, where the architecture has several that fit. What has no place in one
            chosen so is dropped, and the result says so.
        entry: which dictionary of the file to read; empty for the usual one.
        options: options of the architecture that the file needs, where it is not of the published size.
        force: replace a file that is there already.

    Raises:
        ValueError: for an unknown target or layout, and when no name is given.
        ConvertError: when several layouts would do or none does, for keys that nobody knows, and when `target` is there
            already.
        CheckpointError: when the file cannot be read, or the new one cannot be written.
    """
    if to not in TARGETS:
        raise ValueError(f"unknown target {to!r}; choose {', '.join(map(repr, TARGETS))}")
    source, target = (Path(os.path.expanduser(path)) for path in (source, target))
    if target.exists() and not force:
        raise ConvertError(f"{str(target)!r} is there already; nothing was written (force, or --force, replaces it)")
    saved = read_description(source)
    if not name and saved is None:
        raise UnknownNameError(f"{str(source)!r} does not say which network it holds; name it (name, or --as NAME)")
    name = name or (saved.architecture if saved else "")
    architecture = get_architecture(name)
    chosen = _layout(architecture, to, layout) if layout else None
    given = {**(saved.overrides if saved else {}), **(options or {})}
    contents = read_weights(source, entry)
    try:
        found = _found(contents, name, architecture, given)
        result = Conversion(source=found.layout.name, target="zoo", written=0)
        result.dropped.update(dict.fromkeys(found.converted.dropped, "has no place in our models"))
        if to == "zoo":
            _write_ours(found, target, name, given, saved, result)
        else:
            candidates = [chosen] if chosen else layouts(architecture, to)
            if saved:
                _require_same_head(candidates, saved, name, given)
            _write_theirs(found.converted.state, target, candidates, result, bool(chosen))
    except CheckpointError as error:
        raise _told(error, source) from None
    except (ValueError, RuntimeError) as error:
        raise ConvertError(f"cannot convert {str(source)!r}: {error}") from None
    return result


def _told(error: CheckpointError, source: Path) -> CheckpointError:
    """The error with the path of the file, whose tensors are loaded without it."""
    return CheckpointError(source, error.reason) if error.path == STATE_DICT else error


def layouts(architecture: Architecture, to: str) -> list[Converter]:
    """Layouts of an architecture that are transformers' ("hf") or the authors' ("official")."""
    return [it for it in architecture.converters if ("transformers" in it.name) == (to == "hf")]


def _layout(architecture: Architecture, to: str, name: str) -> Converter:
    """The layout of a name.

    Raises:
        UnknownNameError: when the architecture has none of this name, with those that it has.
    """
    known = {it.name: it for it in layouts(architecture, to)}
    if name in known:
        return known[name]
    if not known:
        raise UnknownNameError(f"{architecture.name} has no layout to write with --to {to}")
    raise UnknownNameError(f"{unknown('layout', name, known)}; there are {', '.join(map(repr, known))}")


def _head_of(layout: Converter, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the classifier that a layout implies."""
    heads = {**builder_options(get_architecture(name)), **options}.get("num_heads")
    return {key: heads if value == "encoder" else value for key, value in layout.classifier.items()}


def _require_same_head(candidates: list[Converter], saved: Saved, name: str, options: Mapping[str, Any]) -> None:
    """Refuse to write a head into a layout whose networks compute something else with the same tensors.

    Raises:
        ValueError: naming the field.
    """
    if saved.classifier.kind != "attentive" or not saved.num_classes:
        return
    for layout in candidates:
        for key, value in _head_of(layout, name, options).items():
            if getattr(saved.classifier, key) != value:
                ours = getattr(saved.classifier, key)
                raise ValueError(f"networks of the layout {layout.name!r} have {key}={value}, this head has {ours}")


def _found(contents: Contents, name: str, architecture: Architecture, options: Mapping[str, Any]) -> Recognised:
    """The tensors under our names, those of a predictor beside the encoder included.

    Raises:
        ValueError: for keys that no rule knows.
    """
    with meta_device():
        names = list(create_model(name, **options).state_dict())
    # Names of a pretraining file count too, so that the layout that knows them wins.
    names += [f"decoder.{part}" for part in ("embed.weight", "mask_tokens.0", "norm.weight", "head.weight")]
    found = recognise(contents.state, architecture.converters, names)
    found = with_predictor(found, contents.predictor, architecture.converters, names)
    if found.converted.unexpected:
        keys = found.converted.unexpected
        raise ValueError(f"{found.layout.name} layout: {len(keys)} keys are not known ({', '.join(keys[:3])}, ...)")
    return found


def _write_theirs(
    state: Mapping[str, Tensor], target: Path, candidates: list[Converter], result: Conversion, anyway: bool
) -> None:
    """Write in the one layout that fits.

    Args:
        state: tensors under our names.
        target: the file.
        candidates: layouts to consider.
        result: what is written and left out is noted here.
        anyway: leave out what has no place instead of refusing.

    Raises:
        ValueError: when none fits, or several do.
    """
    tried = [(it, *_translated(state, it)) for it in candidates]
    fitting = [(it, theirs, left) for it, theirs, left in tried if it.matches(list(theirs)) and (anyway or not left)]
    if not fitting:
        raise ValueError(_none_fits(tried))
    # Of two that fit, the one that has a place for more is meant: a pretraining layout for a file with a decoder.
    most = max(len(_kept(state, it, theirs)) for it, theirs, _ in fitting)
    best = [entry for entry in fitting if len(_kept(state, entry[0], entry[1])) == most]
    if len(best) > 1:
        names = ", ".join(repr(it.name) for it, _, _ in best)
        raise ValueError(f"several layouts would do; choose with layout, or --layout: {names}")
    converter, theirs, _ = best[0]
    kept = _kept(state, converter, theirs)
    lost = [key for key in state if key not in kept]
    result.dropped.update(dict.fromkeys(lost, f"has no place in the layout {converter.name!r}"))
    result.target, result.written = converter.name, len(theirs)
    # transformers asks for this line.
    write_tensors(theirs, target, {"format": "pt"})


def _translated(state: Mapping[str, Tensor], converter: Converter) -> tuple[dict[str, Tensor], list[str]]:
    """Their tensors, and ours that have no place there and should have one; nothing where groups are incomplete."""
    known = {
        key: it for key, it in state.items() if any(fits(ours, key) for rule in converter.rules for ours in rule.ours)
    }
    try:
        theirs = converter.to_official(known).state
    except ValueError:
        return {}, list(state)
    left = [key for key in state if key not in known and key != COMPUTED and not is_optional(converter, key)]
    return theirs, left


def _kept(state: Mapping[str, Tensor], converter: Converter, theirs: Mapping[str, Tensor]) -> set[str]:
    """Our names that the layout holds."""
    return set(converter.to_zoo(theirs).state) & set(state)


def _none_fits(tried: Iterable[tuple[Converter, dict[str, Tensor], list[str]]]) -> str:
    """Why no layout can be written."""
    reasons = []
    for converter, theirs, left in tried:
        lacking = [need for need in converter.needs if not any(fits(need, key) for key in theirs)]
        why = f"needs {lacking[0]!r}" if lacking else f"has no place for {left[0]!r} and {len(left) - 1} others"
        reasons.append(f"{converter.name!r} {why if left or lacking else 'has other keys'}")
    return "no layout fits what is in it: " + ("; ".join(reasons) or "this network has none of this kind")


def _write_ours(
    found: Recognised,
    target: Path,
    name: str,
    options: Mapping[str, Any],
    saved: Saved | None,
    result: Conversion,
) -> None:
    """Write a whole model with its description, or the head alone where the file holds a probe.

    Raises:
        ValueError: when the tensors make no model.
        CheckpointError: likewise, or when the file cannot be written.
    """
    state = found.converted.state
    if found.layout.fills:
        probe = next(it for it in OWN if it.name == "zoo probe")
        if not probe.matches(list(state)):
            raise ValueError(f"the layout {found.layout.name!r} holds a part of a model only; convert the whole file")
        result.target, result.written = probe.name, len(state)
        write_tensors(state, target, {"format": "pt"})
        return
    make = _maker(found, name, options, saved.classifier if saved else None)
    model = make()
    report = load_checkpoint(model, dict(state))
    result.dropped.update(report.dropped)
    result.written = len(model.state_dict())
    told = saved.clip if saved else None
    same_size = told is not None and model.spec is not None and _size(told) == _size(model.spec.clip)
    save_checkpoint(model, target, label_names=saved.label_names if saved else (), clip=told if same_size else None)


def _size(clip: ClipSpec) -> tuple[int, int]:
    return clip.num_frames, clip.img_size


def _maker(
    found: Recognised, name: str, options: Mapping[str, Any], saved: Classifier | None
) -> Callable[[], VideoModel]:
    """How to create the model that has exactly these tensors: with the published head, another linear one, or none.

    Raises:
        ValueError: the reason for which the first form does not fit, when none does.
    """
    architecture, card, state = get_architecture(name), get_card(name) if "." in name else None, found.converted.state
    rows = [
        len(it)
        for key, it in state.items()
        if key.startswith(("head.linear", "head.linears.")) and key.endswith("weight")
    ]
    published = saved or (card.classifier if card else None) or architecture.classifier
    if found.layout.classifier:
        pooler = {key.split(".")[2] for key in state if key.startswith("head.blocks.")}
        published = replace(published, depth=1 + len(pooler), **_head_of(found.layout, name, options))
    plain = Classifier(pool=architecture.classifier.pool)
    forms = (published, replace(published, options={}), plain, replace(plain, options=architecture.classifier.options))
    meta = {key: it.to("meta") for key, it in state.items()}
    problems = []
    for form in forms:
        make = partial(create_model, name, num_classes=sum(rows), classifier=form, **options)
        try:
            with meta_device():
                report = load_checkpoint(make(), meta)
        except ValueError as error:
            problems.append(str(error))
        except CheckpointError as error:
            problems.append(error.reason)
        else:
            if not report.missing:
                return make
            problems.append(f"{len(report.missing)} tensors are missing ({', '.join(report.missing[:3])}, ...)")
    raise ValueError(problems[0])
