"""What `zoo list` and `zoo info` tell: tables for people, plain values for programs."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import nn

from backbones.meta import meta_device
from heads.linear import LinearHead
from zoo.card import Architecture, ClipSpec
from zoo.catalogue import record
from zoo.catalogue_text import card_lines, clip_text, describe_card, two_columns
from zoo.foreign import is_foreign
from zoo.model import VideoModel
from zoo.registry import PUSHED, builder_options, create_model, get_architecture, get_card, has_tag, released
from zoo.suggest import UnknownNameError, natural


def facts(name: str) -> dict[str, Any]:
    """Everything known about an architecture, or about released weights `architecture.tag`, as plain values.

    Of weights that no network can take it is what their card says.

    Raises:
        UnknownNameError: for an unknown name, with the closest ones, and for what `zoo push` wrote.
    """
    card = get_card(name) if has_tag(name) and not name.startswith(PUSHED) else None
    if card is not None and card.missing:
        return record(card)
    if name.startswith(PUSHED):
        raise UnknownNameError(f"{name!r} is one model and no architecture: its README.md and config.json describe it")
    architecture = get_architecture(name)
    model = _on_meta(name)
    clip = card.clip if card else architecture.clip
    grid = model.backbone.grid(torch.empty(1, 3, clip.num_frames, clip.img_size, clip.img_size, device="meta"))
    return {
        **(record(card) if card else {}),
        "name": name,
        "family": architecture.family,
        "parameters": {"backbone": _count(model.backbone), "head": _count(model.head)},
        "classes": model.num_classes,
        "embed_dim": model.embed_dim,
        "depth": model.backbone.depth,
        "tubelet": model.backbone.tubelet,
        "grid": tuple(grid),
        "tokens": grid.num_tokens,
        "pool": model.pool,
        "classifier": _classifier_words(model),
        "clip": clip.to_dict(),
        "tokenizer": _tokenizer(architecture),
        "options": {key: _plain(value) for key, value in builder_options(architecture).items()},
        "layers": [(part, _count(module)) for part, module in _parts(model)],
        "layouts": [converter.name for converter in architecture.converters],
        "source": architecture.source,
        "code_licence": card.weights.code_licence if card and card.weights.code_licence else architecture.code_licence,
        "weights": [it for it in sorted(released(), key=natural) if it.startswith(f"{architecture.name}.")],
        "notes": [*architecture.notes, *(card.notes if card else ())],
    }


def describe(name: str) -> RenderableType:
    """The facts of a name for a person to read, to be printed by rich.

    Raises:
        UnknownNameError: for an unknown name, with the closest ones.
    """
    card = get_card(name) if has_tag(name) and not name.startswith(PUSHED) else None
    if card is not None and card.missing:
        return describe_card(card)
    told = facts(name)
    backbone, head = told["parameters"]["backbone"], told["parameters"]["head"]
    lines = {
        "family": told["family"],
        "parameters": f"{_millions(backbone)} + {_millions(head)} for a head with {told['classes']} classes",
        "network": f"{told['depth']} blocks of width {told['embed_dim']}",
        "tokens": f"{told['tokens']:,} in a grid of {_sides(told['grid'])}",
        "a token is": f"{told['tubelet'][0]} frames of {told['tubelet'][1]} x {told['tubelet'][2]} px",
        "clip": clip_text(ClipSpec.from_dict(told["clip"])),
        "classifier": told["classifier"],
        "tokenizer": _tokenizer_words(told["tokenizer"]),
        "options": ", ".join(f"{key}={value}" for key, value in told["options"].items()),
        "file layouts": "\n".join(["zoo", *told["layouts"]]),
        "source": told["source"],
        "code licence": told["code_licence"],
        "notes": "\n".join(told["notes"]),
    }
    if card is None and is_foreign(name):
        lines["weights"] = "its own: create_model(NAME, pretrained=True)"
    elif card is None:
        lines["weights"] = ", ".join(told["weights"]) or "none known yet; load your own with checkpoint_path"
    else:
        lines |= card_lines(card) | {"notes": lines["notes"]}
    table = two_columns(lines)
    return Group(Text(name, style="bold green"), table, Text(), _layer_table(told["layers"]))


def table_of(names: Sequence[str]) -> Table:
    """One line per architecture: family, size, clip, licence. `zoo.catalogue_text.cards_table` is that of weights.

    Raises:
        UnknownNameError: for an unknown name.
    """
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("name", no_wrap=True, min_width=max((len(name) for name in names), default=0))
    table.add_column("family", no_wrap=True)
    table.add_column("params", justify="right", no_wrap=True)
    table.add_column("clip", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for name in names:
        architecture = get_architecture(name)
        size = _millions(architecture.parameters or _count(_on_meta(name).backbone))
        table.add_row(
            name,
            architecture.family + (" (tokenizer)" if architecture.tokenizer else ""),
            size,
            clip_text(architecture.clip, views=False),
            architecture.code_licence.partition(" (")[0],
        )
    return table


def _classifier_words(model: VideoModel) -> str:
    """How the classifier makes class scores of the tokens."""
    if isinstance(model.head, LinearHead):
        return f"pools {model.head.pool!r}, then linear"
    return f"attentive: a learned query looks at all tokens, {len(model.head.blocks)} blocks before"


def _tokenizer(architecture: Architecture) -> dict[str, Any] | None:
    """The tokenizer whose encoder this is; None for a network that is no part of one."""
    if architecture.tokenizer is None:
        return None
    with meta_device():
        made = architecture.tokenizer()
    options = inspect.signature(architecture.tokenizer).parameters
    return {
        "parameters": _count(made),
        "codebook_size": made.codebook_size,
        "code_dim": made.code_dim,
        "causal": made.causal,
        "options": {key: _plain(it.default) for key, it in options.items()},
    }


def _tokenizer_words(told: dict[str, Any] | None) -> str:
    if told is None:
        return ""
    causal = "causal convolutions" if told["causal"] else "not causal"
    size = f"{told['codebook_size']:,} codes of width {told['code_dim']}"
    return f"zoo.create_tokenizer makes it: {_millions(told['parameters'])} with its decoder; {size}; {causal}"


def _plain(value: object) -> object:
    """A default that JSON can hold; other objects by the name of their class."""
    if isinstance(value, tuple):
        return [_plain(it) for it in value]
    return value if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def _on_meta(name: str) -> VideoModel:
    """The model without memory for its weights."""
    with meta_device():
        return create_model(name)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _millions(count: int) -> str:
    return f"{count / 1e6:,.{1 if count >= 1e8 else 2}f} M"


def _sides(sides: Sequence[int]) -> str:
    return " x ".join(str(side) for side in sides)


def _parts(model: VideoModel) -> list[tuple[str, nn.Module]]:
    """Stem, one block in full, the other blocks, what comes after, the head."""
    blocks = model.backbone.blocks
    parts = [("patch_embed", model.backbone.get_submodule("patch_embed"))]
    parts += [(f"blocks.0.{name}", module) for name, module in blocks[0].named_children()]
    if len(blocks) > 1:
        parts.append((f"blocks.1 to {len(blocks) - 1}", blocks[1:]))
    parts.append(("norm", model.backbone.get_submodule("norm")))
    return parts + [(f"head.{name}", module) for name, module in model.head.named_children()]


def _layer_table(layers: list[tuple[str, int]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 2))
    table.add_column("part")
    table.add_column("parameters", justify="right")
    for part, count in layers:
        if count:
            table.add_row(part, f"{count:,}")
    return table
