"""What loading did, for people to read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text

SHOWN = 4  # names per line; the rest is counted


@dataclass(kw_only=True)
class LoadReport:
    """What became of every tensor of a file and of the model; names are the model's unless said otherwise.

    Attributes:
        source: the file, or "<state dict>".
        layout: name of the layout that was recognised.
        matched: tensors of the model that were filled from the file.
        parameters: number of values in them.
        cast: name -> change of number format.
        resized: name -> change of shape by interpolation or inflation, done because it was asked for.
        dropped: name in the file -> why it was left out.
        missing: tensors of the model that keep their values: a fresh classifier; more only with `strict=False`.
        unexpected: names in the file that have no place in the model; empty unless `strict=False`.
    """

    source: str
    layout: str
    matched: list[str] = field(default_factory=list)
    parameters: int = 0
    cast: dict[str, str] = field(default_factory=dict)
    resized: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @classmethod
    def joined(cls, reports: Sequence["LoadReport"]) -> "LoadReport":
        """One report of a model that was filled from several files."""
        whole = cls(
            source=" + ".join(it.source for it in reports),
            layout=" + ".join(it.layout for it in reports),
            parameters=sum(it.parameters for it in reports),
        )
        for report in reports:
            for name in ("matched", "missing", "unexpected"):
                getattr(whole, name).extend(getattr(report, name))
            for name in ("cast", "resized", "dropped"):
                getattr(whole, name).update(getattr(report, name))
        return whole

    @property
    def noteworthy(self) -> bool:
        """Whether anything became of a tensor but that it was filled as the file has it."""
        return any((self.cast, self.resized, self.dropped, self.missing, self.unexpected))

    def tell(self, logger: logging.Logger) -> None:
        """Log one line where everything matched, and for everybody to see the full account of whatever else happened.

        Python shows warnings of loggers that nobody has configured, and no other messages.
        """
        if self.noteworthy:
            logger.warning("%s", self)
        else:
            logger.info("%s", "; ".join(f"{label} {text}" for label, text in self.lines()))

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of every line; nothing is said about what did not happen."""
        total = len(self.matched) + len(self.missing)
        lines = [
            ("loaded", f"{self.source} ({self.layout})"),
            ("matched", f"{len(self.matched)} of {total} tensors, {self.parameters / 1e6:,.2f} M values"),
        ]
        for label, changes in (("cast", self.cast), ("resized", self.resized), ("dropped", self.dropped)):
            lines += [(label, f"{_names(names)}: {what}") for what, names in _by_value(changes).items()]
        for label, names in (("kept as it was", self.missing), ("unexpected", self.unexpected)):
            lines += [(label, _names(names))] if names else []
        return lines

    def __str__(self) -> str:
        return "\n".join(f"{label:>14}  {text}" for label, text in self.lines())

    def __rich__(self) -> Text:
        """The same with colours: what was left out or kept stands out."""
        colors = {"loaded": "bold", "matched": "green", "unexpected": "red"}
        text = Text()
        for label, line in self.lines():
            text.append(f"{label:>14}  ", style=colors.get(label, "yellow")).append(f"{line}\n")
        text.rstrip()
        return text


def _by_value(changes: dict[str, str]) -> dict[str, list[str]]:
    """Names under what happened to them."""
    grouped: dict[str, list[str]] = {}
    for name, what in changes.items():
        grouped.setdefault(what, []).append(name)
    return grouped


def _names(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
