"""Video tokenizers by name: those of `zoo.cards`, released weights, and files of ours."""

import inspect
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backbones.meta import meta_device
from backbones.tokenizer import Tokenizer
from zoo.card import Architecture, Converter, rename
from zoo.checkpoints import write_tensors
from zoo.fetch import fetch
from zoo.fitting import fit_to_model
from zoo.layouts import recognise
from zoo.load_report import LoadReport
from zoo.options import check_options
from zoo.registry import architectures, get_architecture, get_card, has_tag
from zoo.suggest import UnknownNameError, natural, unknown
from zoo.weight_cache import remember
from zoo.weight_files import SPARE_BYTES, CheckpointError, extent, read_metadata, read_weights

METADATA_KEY = "zoo_tokenizer"
OURS = Converter(name="zoo tokenizer", needs=(), rules=(rename("*", "*"),))
_logger = logging.getLogger(__name__)


def list_tokenizers() -> list[str]:
    """Names that `create_tokenizer` takes, in natural order."""
    return sorted((name for name, it in architectures().items() if it.tokenizer is not None), key=natural)


def tokenizer_of(name: str) -> Architecture:
    """The architecture of a tokenizer's name; a tag is ignored.

    Raises:
        UnknownNameError: when there is none, with the closest tokenizers.
    """
    stem = name.partition(".")[0]
    if stem not in list_tokenizers():
        if stem in architectures():
            known = ", ".join(list_tokenizers())
            raise UnknownNameError(f"{stem!r} is the encoder of no tokenizer; tokenizers are {known}")
        raise unknown("tokenizer", stem, list_tokenizers())
    return get_architecture(stem)


def create_tokenizer(
    name: str, *, pretrained: bool = False, checkpoint_path: str | Path | None = None, **overrides: Any
) -> Tokenizer:
    """A video tokenizer.

    Args:
        name: architecture ("magvit2_causal") or released weights ("open_magvit2_video_128.ucf101").
        pretrained: load the released weights.
        checkpoint_path: load this file instead: of ours, whose options need not be repeated, or of the authors.
        overrides: options of the tokenizer, such as `channels` or `levels`; None leaves the default.

    Returns:
        The tokenizer, in eval mode where it was filled.

    Raises:
        UnknownNameError: for an unknown name or option, with the closest ones, and for weights that nobody released.
        ValueError: for a value that the option does not take.
        CheckpointError: when the file does not fit; a FetchError when it cannot be had.
    """
    architecture = tokenizer_of(name)
    card = get_card(name) if has_tag(name) or pretrained else None
    given = {key: value for key, value in overrides.items() if value is not None}
    # With `pretrained` it is the authors' file.
    saved = read_description(checkpoint_path, architecture.name) if checkpoint_path and not pretrained else {}
    tokenizer = _build(architecture, {**saved, **given})
    if pretrained and card is not None:
        path = fetch(card.weights, card.name, local=checkpoint_path)
        fill(tokenizer, path, architecture, layout=card.weights.layout)
        if checkpoint_path is None:
            remember(card.name, path)
    elif checkpoint_path is not None:
        fill(tokenizer, checkpoint_path, architecture)
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a file that `save_tokenizer` wrote, in eval mode.

    Raises:
        CheckpointError: for any other file, and a damaged one.
    """
    return create_tokenizer(saved_tokenizer(path), checkpoint_path=path)


def saved_tokenizer(path: str | Path) -> str:
    """Architecture of the tokenizer in a file that `save_tokenizer` wrote.

    Raises:
        CheckpointError: for any other file, and a damaged one.
    """
    return _metadata(path)[0]


def save_tokenizer(
    tokenizer: Tokenizer, path: str | Path, *, name: str, overrides: Mapping[str, Any] | None = None
) -> None:
    """Write a tokenizer to a safetensors file that says how to make it again.

    Args:
        tokenizer: what to write.
        path: the file; an older one is replaced.
        name: its architecture.
        overrides: options that it was made with.

    Raises:
        ValueError: when a tokenizer made so has other tensors.
        SaveError: when the file cannot be written; an older one is then still there.
    """
    options = dict(overrides or {})
    with meta_device():
        expected = _shapes(_build(tokenizer_of(name), options))
    found = _shapes(tokenizer)
    if wrong := sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key)):
        raise ValueError(f"{name!r} with the options {options} has another tensor {wrong[0]!r} than this tokenizer")
    description = json.dumps({"architecture": name, "overrides": options}, allow_nan=False)
    write_tensors(tokenizer.state_dict(), path, {METADATA_KEY: description})


def fill(tokenizer: Tokenizer, path: str | Path, architecture: Architecture, *, layout: str = "") -> LoadReport:
    """Load a file strictly: every tensor of the tokenizer is in it, and nothing else but what its layout drops.

    Args:
        tokenizer: unchanged when anything is wrong; in eval mode afterwards.
        path: a file of ours or of the authors.
        architecture: whose layouts it may have.
        layout: name of the layout that it must have; empty for any.

    Raises:
        CheckpointError: naming the file.
    """
    contents, own = read_weights(path), tokenizer.state_dict(keep_vars=True)
    try:
        # A classifier on the encoder may leave out the rest; a tokenizer may not.
        found = recognise(contents.state, [replace(it, optional=()) for it in (OURS, *architecture.converters)], own)
        if layout and found.layout.name != layout:
            raise ValueError(f"it has the layout {found.layout.name!r}, not {layout!r}")
        report = LoadReport(source=str(path), layout=found.layout.name)
        report.dropped.update(dict.fromkeys(contents.ignored, "not a tensor"))
        state = fit_to_model(found, own, report, tubelet=tokenizer.tubelet, strict=True, resize=False, inflate=None)
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(path, str(error)) from None
    with torch.no_grad():
        for name, tensor in state.items():
            own[name].copy_(tensor)
    tokenizer.eval()
    report.tell(_logger)
    return report


def read_description(path: str | Path, name: str) -> dict[str, Any]:
    """Options of the tokenizer in a file of ours; empty for any other file.

    It is made on the meta device first: a damaged or hostile description may ask for any amount of memory.

    Raises:
        CheckpointError: for a damaged file, another architecture, and a tokenizer far larger than the file.
    """
    if METADATA_KEY not in read_metadata(path):
        return {}
    saved, options = _metadata(path)
    if saved != name:
        raise CheckpointError(path, f"it holds a {saved}, not a {name}")
    tensors, size = extent(path)
    try:
        if (depth := options.get("depth", 1)) > tensors:
            raise ValueError(f"it asks for {depth} blocks per level, and the file has {tensors} tensors")
        with meta_device():
            made = _build(tokenizer_of(name), options)
        wanted = sum(it.numel() * it.element_size() for it in made.state_dict().values())
        if wanted > 2 * size + SPARE_BYTES:
            raise ValueError(f"it asks for a tokenizer of {wanted:,} bytes, and the file has {size:,}")
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise CheckpointError(path, f"its description of the tokenizer is damaged ({error})") from None
    return options


def _metadata(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Architecture and options in a file of ours.

    Raises:
        CheckpointError: for any other file, and a damaged one.
    """
    text = read_metadata(path).get(METADATA_KEY)
    if text is None:
        raise CheckpointError(path, "it does not say which tokenizer it holds; name it: create_tokenizer(NAME, ...)")
    try:
        values = json.loads(text)
        # JSON has no tuples.
        options = {key: tuple(it) if isinstance(it, list) else it for key, it in values["overrides"].items()}
        name = values["architecture"]
        tokenizer_of(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(path, f"its description of the tokenizer is damaged ({error})") from None
    return name, options


def _build(architecture: Architecture, options: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer with random weights.

    Raises:
        UnknownNameError: for an option that the builder does not have.
        ValueError: for a value that it does not take.
    """
    build = architecture.tokenizer
    if build is None:
        raise UnknownNameError(f"{architecture.name!r} is no tokenizer")
    valid = inspect.signature(build).parameters
    if strange := [key for key in options if key not in valid]:
        raise unknown(f"option of {architecture.name}", strange[0], valid)
    check_options(architecture.name, build, options)
    return build(**options)


def _shapes(tokenizer: Tokenizer) -> dict[str, torch.Size]:
    return {name: it.shape for name, it in tokenizer.state_dict().items()}
