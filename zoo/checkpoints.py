"""Weights into a model and out of it: all checks first, then the copy, so a failed load changes nothing."""

import inspect
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from zoo.card import Classifier, ClipSpec, Converted, Converter
from zoo.fitting import fit_to_model
from zoo.layouts import Recognised, recognise
from zoo.load_report import LoadReport
from zoo.model import VideoModel
from zoo.reshape import Inflation
from zoo.weight_files import STATE_DICT, CheckpointError, read_metadata, read_weights, unwrap

FORMAT = 1
METADATA_KEY = "zoo"
# Options with which the same weights stay the same network.
FREE_OPTIONS = {"img_size", "num_frames", "drop_path_rate", "init", "scan"}


def load_checkpoint(
    model: VideoModel,
    source: str | Path | Mapping[str, Any],
    *,
    strict: bool = True,
    resize_positions: bool = False,
    inflate: Inflation | None = None,
    classes: Sequence[int] | None = None,
    entry: str = "",
    layout: str = "",
) -> LoadReport:
    """Fill a model from a file or a state dict in any layout that its architecture knows.

    Wrappers (`model`, `module`, `state_dict`, `model_state`) and prefixes are taken off. Tensors for another number of
    classes are left out and the classifier keeps its values, which the report says. Nothing in a file is executed.

    Args:
        model: where the weights go; unchanged when anything is wrong.
        source: a file (safetensors or what torch.save wrote), or a state dict or checkpoint dictionary.
        strict: everything but a replaced classifier must be there, and nothing else. False skips what does not match by
            name, and says so; wrong shapes and broken numbers are refused all the same.
        resize_positions: interpolate learned position tables that are for another grid or clip length.
        inflate: "center" or "mean" turns image weights into video weights; the temporal table becomes zero.
        classes: rows of the file's classifier to take, in this order: range(400) for Kinetics-400 from a file of K710.
        entry: which dictionary of the file to take, such as "encoder" or "classifiers.0"; empty for the usual one. A
            predictor that lies beside an encoder is read with it when the model has one.
        layout: name of the layout that the file must turn out to have; empty for any.

    Returns:
        What became of every tensor; kept as `model.load_report` too.

    Raises:
        CheckpointError: naming the file, when it is no sound file of weights or does not fit.
        TypeError: when the model or the source is something else.
    """
    if not isinstance(source, Mapping | str | Path):
        raise TypeError(f"weights come from a file or a state dict, not from {source!r}")
    part = Part(source=source, entry=entry, layout=layout, resize_positions=resize_positions)
    return load_parts(model, (part,), strict=strict, inflate=inflate, classes=classes)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the files that fill a model.

    Attributes:
        source: the file, or a state dict.
        prefix: the tensors of the model that it fills, "backbone." or "head."; empty for all.
        entry: which of several networks in the file.
        layout: name of the layout that it must turn out to have; empty for any.
        resize_positions: interpolate learned position tables that are for another grid or clip length.
        num_classes: rows that the classifier in the file must have; 0 for any, or none.
    """

    source: str | Path | Mapping[str, Any]
    prefix: str = ""
    entry: str = ""
    layout: str = ""
    resize_positions: bool = False
    num_classes: int = 0


def load_parts(
    model: VideoModel,
    parts: Sequence[Part],
    *,
    strict: bool = True,
    inflate: Inflation | None = None,
    classes: Sequence[int] | None = None,
) -> LoadReport:
    """Fill a model from several files, such as a frozen backbone and the head that was trained on it.

    Args:
        model: where the weights go; unchanged when anything is wrong with any file.
        parts: the files.
        strict: see `load_checkpoint`; so are `inflate` and `classes`.
        inflate: how image weights become video weights.
        classes: rows of the classifier to take.

    Raises:
        CheckpointError: naming the file.
        TypeError: when the model is something else.
    """
    if not isinstance(model, VideoModel):
        raise TypeError(f"weights go into a model made by create_model, not into a {type(model).__name__}")
    state: dict[str, Tensor] = {}
    reports = []
    for part in parts:
        filled, report = _read_part(model, part, strict=strict, inflate=inflate, classes=classes)
        state.update(filled)
        reports.append(report)
    own = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)
    model.load_report = reports[0] if len(reports) == 1 else LoadReport.joined(reports)
    return model.load_report


def _read_part(
    model: VideoModel, part: Part, *, strict: bool, inflate: Inflation | None, classes: Sequence[int] | None
) -> tuple[dict[str, Tensor], LoadReport]:
    """The tensors of one file that fit the model, and what became of all others; the model is only looked at.

    Raises:
        CheckpointError: naming the file.
    """
    source = part.source
    path = STATE_DICT if isinstance(source, Mapping) else str(source)
    contents = unwrap(source, path, part.entry) if isinstance(source, Mapping) else read_weights(source, part.entry)
    # A predictor belongs to the backbone's file.
    mine = ("backbone.", "decoder.") if part.prefix == "backbone." else (part.prefix,)
    own = {name: it for name, it in model.state_dict(keep_vars=True).items() if name.startswith(mine)}
    official = model.spec.architecture.converters if model.spec else ()
    try:
        found = with_predictor(recognise(contents.state, official, own), contents.predictor, official, own)
        if part.prefix != "backbone.":
            _require_same_head(found.layout, model)
        report = LoadReport(source=path, layout=found.layout.name)
        report.dropped.update(dict.fromkeys(contents.ignored, "not a tensor"))
        _require_as_stated(found, part)
        state = fit_to_model(
            _only(found, part.prefix, report),
            own,
            report,
            tubelet=model.backbone.tubelet,
            strict=strict,
            resize=part.resize_positions,
            inflate=inflate,
            classes=classes,
        )
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(path, _other_architecture(source, model) or str(error)) from None
    if not isinstance(source, Mapping):
        _require_same_options(source, model)
    return state, report


def _require_as_stated(found: Recognised, part: Part) -> None:
    """Refuse a file that is not what its card says.

    Raises:
        ValueError: naming the difference.
    """
    if part.layout and found.layout.name != part.layout:
        count = len(found.converted.state)
        if 2 * found.matched < count:
            # Our own names fit a little of everything, so that the layout by itself would mislead.
            fitting = f"only {found.matched} of its {count} tensors have a place in the model"
            raise ValueError(f"it has not the layout {part.layout!r}: {fitting}; these are weights of another network")
        raise ValueError(f"it has the layout {found.layout.name!r}, not {part.layout!r}")
    # One linear layer, or one for each of several questions.
    rows = sum(
        len(tensor)
        for name, tensor in found.converted.state.items()
        if name.startswith("head.linear") and name.endswith(".weight") and tensor.ndim
    )
    if part.num_classes and rows != part.num_classes:
        raise ValueError(f"its classifier has {rows} classes, not {part.num_classes}")


def _only(found: Recognised, prefix: str, report: LoadReport) -> Recognised:
    """Without what another file brings: the head of a file that is to fill the backbone, or the other way round."""
    others = [name for name in ("backbone.", "head.") if prefix and name != prefix]
    left_out = [name for name in found.converted.state if name.startswith(tuple(others))]
    report.dropped.update(dict.fromkeys(left_out, "another file brings it"))
    rest = {name: it for name, it in found.converted.state.items() if name not in set(left_out)}
    return found._replace(converted=found.converted._replace(state=rest))


def with_predictor(
    found: Recognised, beside: Mapping[str, Tensor], official: Iterable[Converter], own: Iterable[str]
) -> Recognised:
    """The encoder's tensors, and those of the predictor beside it when the model has one."""
    wanted = [name for name in own if name.startswith("decoder.")]
    if not wanted or not beside or any(name.startswith("decoder.") for name in found.converted.state):
        return found
    second = recognise(beside, official, wanted).converted
    state = {**found.converted.state, **second.state}
    dropped, unexpected = found.converted.dropped + second.dropped, found.converted.unexpected + second.unexpected
    return found._replace(converted=Converted(state, dropped, unexpected))


def _require_same_head(layout: Converter, model: VideoModel) -> None:
    """Refuse a file whose head computes something else with tensors of the same shapes.

    Raises:
        ValueError: naming the field of the classifier.
    """
    if model.spec is None or not model.num_classes or model.spec.classifier.kind != "attentive":
        return
    heads = inspect.signature(model.spec.architecture.build).parameters.get("num_heads")
    for name, value in layout.classifier.items():
        encoder = model.spec.overrides.get("num_heads", heads.default if heads else None)
        wanted, ours = (encoder if value == "encoder" else value), getattr(model.spec.classifier, name)
        if ours != wanted:
            say = f"its head has {name}={wanted}, the model's has {ours}"
            raise ValueError(f"{say}: pass a Classifier with {name}={wanted}, or create the model by a card's name")


def _other_architecture(source: str | Path | Mapping[str, Any], model: VideoModel) -> str:
    """What to say of a file of ours that does not fit because another network is in it; empty for any other."""
    saved = None if isinstance(source, Mapping) else read_saved(source)
    if saved is None or model.spec is None or saved.architecture == model.spec.architecture.name:
        return ""
    return f"it holds a {saved.architecture}, and the model is a {model.spec.architecture.name}"


def _require_same_options(path: str | Path, model: VideoModel) -> None:
    """Refuse a file of ours whose model computes something else with tensors of the same shapes.

    Raises:
        CheckpointError: naming the option.
    """
    saved = read_saved(path)
    if saved is None or model.spec is None or saved.architecture != model.spec.architecture.name:
        return
    options = inspect.signature(model.spec.architecture.build).parameters
    for name in sorted(({*saved.overrides, *model.spec.overrides} & options.keys()) - FREE_OPTIONS):
        theirs, ours = (it.get(name, options[name].default) for it in (saved.overrides, model.spec.overrides))
        if theirs != ours:
            raise CheckpointError(path, f"it was made with {name}={theirs!r}, the model has {name}={ours!r}")


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What one of our files says about the model in it.

    Attributes:
        architecture: its name.
        overrides: options of the builder.
        num_classes: rows of the classifier.
        classifier: form of the head.
        clip: clip protocol.
        label_names: name of every class, in order; empty when unknown.
        recipe: published training that made the weights, and how it was changed; empty for any other.
    """

    architecture: str
    overrides: dict[str, Any]
    num_classes: int
    classifier: Classifier
    clip: ClipSpec
    label_names: tuple[str, ...]
    recipe: str = ""


def read_saved(path: str | Path, architecture: str = "") -> Saved | None:
    """What a file of ours says about its model; None for any other file.

    Args:
        path: the file.
        architecture: name that it must have; empty for any.

    Raises:
        CheckpointError: for a damaged file, and for another architecture.
    """
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        return None
    try:
        values = json.loads(text)
        saved = Saved(
            architecture=str(values["architecture"]),
            overrides=_jsonless(values["overrides"]),
            num_classes=int(values["num_classes"]),
            classifier=Classifier(**_jsonless(values["classifier"])),
            clip=ClipSpec.from_dict(values["clip"]),
            label_names=tuple(str(name) for name in values["label_names"]),
            recipe=str(values.get("recipe", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(path, f"its description of the model is damaged ({error})") from None
    if architecture and saved.architecture != architecture:
        raise CheckpointError(path, f"it holds a {saved.architecture}, not a {architecture}")
    return saved


def _jsonless(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were before JSON, which has no tuples."""
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return {name: _jsonless(value) if isinstance(value, Mapping) else value for name, value in plain.items()}


def save_checkpoint(
    model: VideoModel,
    path: str | Path,
    *,
    label_names: tuple[str, ...] | list[str] = (),
    clip: ClipSpec | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a model to a safetensors file from which `create_model(name, checkpoint_path=path)` makes it again.

    The file appears whole or not at all: it is written beside its final place, flushed to disk and renamed.

    Args:
        model: made by `create_model`, or given a `spec`.
        path: the file; an older one is replaced.
        label_names: name of every class, in order; empty for those of the model.
        clip: clip protocol to evaluate with; None for the model's.
        metadata: further text to keep in the file.

    Raises:
        ValueError: when the model does not say how it was made, or says it with values that JSON cannot hold.
        SaveError: when the file cannot be written; an older one is then still there.
    """
    if model.spec is None:
        raise ValueError("this model does not say how it was made; build it with create_model, or set model.spec")
    labels = tuple(label_names) or model.spec.label_names
    if labels and len(labels) != model.num_classes:
        raise ValueError(f"{len(labels)} label names for {model.num_classes} classes")
    description = {
        "format": FORMAT,
        "architecture": model.spec.architecture.name,
        "overrides": dict(model.spec.overrides),
        "num_classes": model.num_classes,
        "classifier": asdict(model.spec.classifier),
        "clip": (clip or model.spec.clip).to_dict(),
        "label_names": labels,
        **({"recipe": model.spec.recipe} if model.spec.recipe else {}),
    }
    try:
        text = {**(metadata or {}), METADATA_KEY: json.dumps(description, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise ValueError(f"an option of the model cannot be written down: {error}") from None
    write_tensors(model.state_dict(), path, text)


class SaveError(CheckpointError):
    """A file of weights that cannot be written."""

    def __str__(self) -> str:
        return f"cannot write {self.path!r}: {self.reason}"


def write_tensors(tensors: Mapping[str, Tensor], path: str | Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file: beside its place, flushed and renamed, so that it appears whole or not at all.

    Raises:
        SaveError: naming the file and the free space, when the disk is full or the folder closed.
    """
    path = Path(os.path.expanduser(path))
    # Copies, because the format refuses tensors that share memory.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(state, beside, metadata)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except Exception as error:
        free = shutil.disk_usage(path.parent).free / 1e6 if path.parent.is_dir() else 0.0
        raise SaveError(path, f"{error}; {free:,.0f} MB are free there") from None
    finally:
        with suppress(OSError):  # there is no such folder
            beside.unlink()
