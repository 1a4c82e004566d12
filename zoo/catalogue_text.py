"""Released weights for a person to read: a table of many in 80 columns, everything of one. Printed by rich."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from zoo.card import Card, ClipSpec, Source
from zoo.catalogue import code_licence, family_of, headline, licence_of
from zoo.data.labels import FOLDER_VARIABLE, ORDERS, find_order

NO_NETWORK = "*"


def clip_text(clip: ClipSpec, *, views: bool = True) -> str:
    """A clip protocol in one line.

    Args:
        clip: the protocol.
        views: name the clips and crops per video too.
    """
    how = f"stride {clip.stride}" if clip.sampling in ("dense", "strided", "vjepa") else clip.sampling
    text = f"{clip.num_frames} x {clip.img_size} px, {how}"
    return f"{text}, {clip.clips} x {clip.crops} views" if views else text


def cards_table(cards: Iterable[Card]) -> RenderableType:
    """One line per card: name, data set, frames x pixels, reported number, licence of the weights."""
    rows = list(cards)
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True, min_width=max((len(card.name) for card in rows), default=0))
    for heading, aside in (("data set", "left"), ("clip", "right"), ("reported", "right"), ("weight licence", "left")):
        table.add_column(heading, justify="right" if aside == "right" else "left", overflow="fold")
    for card in rows:
        number = headline(card)
        table.add_row(
            card.name,
            card.dataset,
            f"{card.clip.num_frames}x{card.clip.img_size}",
            (f"{number.value:g}" if number else "") + (NO_NETWORK if card.missing else ""),
            _short_licence(card),
        )
    return Group(table, *(Text(line) for line in _legend(rows)))


def _short_licence(card: Card) -> str:
    """Licence without remarks; in brackets where only the code has one."""
    text, whose = licence_of(card)
    short = text.partition(" (")[0]
    return f"({short})" if whose == "code" and short else short


def _legend(rows: list[Card]) -> list[str]:
    """What the marks in the table mean, as far as they stand in it."""
    lines = ["clip: frames x px"]
    if any(licence_of(card)[1] == "code" and licence_of(card)[0] for card in rows):
        lines.append("(licence): of the code; none is stated for the weights")
    if any(card.missing for card in rows):
        lines.append(f"{NO_NETWORK} no network of the zoo takes these weights yet; zoo info NAME says why")
    return ["", *lines]


def card_lines(card: Card) -> dict[str, str]:
    """What is known of a card, one text per label; empty texts have nothing to tell."""
    weights = card.weights
    rows = f"{weights.num_classes} classes" if weights.num_classes else "no classifier"
    trained = ", ".join(it for it in (card.dataset, card.task) if it)
    return {
        "cannot be built": card.missing,
        "trained on": trained,
        "evaluated with": clip_text(card.clip),
        "frames": _pixels(card.clip),
        "network options": ", ".join(f"{key}={value}" for key, value in card.overrides.items()),
        "backbone from": card.backbone,
        "files": "\n".join([*(source_text(it) for it in weights.sources), _hashes(card)]),
        "file layout": ", entry ".join(it for it in (weights.layout, weights.entry) if it),
        "in the file": rows + ("; position tables are interpolated" if card.resize_positions else ""),
        "class order": labels_text(card.labels),
        "code licence": code_licence(card),
        "weight licence": weights.weight_licence or "none stated; the code's is all there is",
        "reported": "\n".join(f"{it.dataset} {it.metric} {it.value:g} ({it.source})" for it in card.reported),
        "notes": "\n".join(card.notes),
    }


def describe_card(card: Card) -> RenderableType:
    """Everything of a card whose network cannot be built."""
    return Group(Text(card.name, style="bold green"), two_columns({"family": family_of(card), **card_lines(card)}))


def two_columns(lines: dict[str, str]) -> Table:
    """Labels and their texts; those without a text are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in lines.items():
        if text:
            table.add_row(label, Text(str(text)))
    return table


def print_columns(console: Console, lines: dict[str, str]) -> None:
    """Print labels and their texts; into a pipe or a file one text per line, without blanks behind it."""
    if console.is_terminal:
        console.print(two_columns(lines))
        return
    width = max((len(label) for label, text in lines.items() if text), default=0)
    for label, text in lines.items():
        for number, line in enumerate(str(text).splitlines()):
            words = f"{'' if number else label:>{width}}  {line}"
            console.print(Text(words), soft_wrap=True)


def source_text(source: Source) -> str:
    """A source in one line."""
    return source.url or f"{source.hf_repo}/{source.hf_file} at {source.hf_revision}"


def labels_text(name: str) -> str:
    """A class order in one line: its first names, or where it stands when nobody has given it."""
    if not name or name not in ORDERS:
        return name
    found = find_order(name)
    if found is None:
        return f"{name}, which the zoo does not have: {ORDERS[name].source}; {FOLDER_VARIABLE} names a folder for it"
    return f"{name}: 0 is {found.names[0]!r}, 1 is {found.names[1]!r}, ... ({ORDERS[name].source})"


def _hashes(card: Card) -> str:
    md5 = f", md5 begins with {card.weights.md5_prefix}" if card.weights.md5_prefix else ""
    return f"sha256 {card.weights.sha256 or 'not known yet'}{md5}"


def _pixels(clip: ClipSpec) -> str:
    """What happens to pixels before the network."""
    side = f"short side {clip.short_side or clip.img_size} px {clip.interpolation}, crop {clip.img_size} px"
    mean, std = (", ".join(f"{it:g}" for it in values) for values in (clip.mean, clip.std))
    return f"{side}, {clip.channel_order}, mean {mean}, std {std}" + ("" if clip.flip else "; never flipped")
