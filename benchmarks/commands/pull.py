"""`zoo pull`: bring released weights to this machine."""

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.commands.names import chosen

if TYPE_CHECKING:
    from zoo.card import Card

WORDS = "download released weights, check that they load, and say where they lie"
EXAMPLES = """\
examples:
  zoo pull videomamba_tiny.in1k_res224
  zoo pull "videomamba_tiny.*" --dry-run     where the files would come from, and what is here
  HF_HUB_OFFLINE=1 zoo pull NAME             only checks that the file is here and loads"""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    parser.add_argument("names", nargs="+", metavar="NAME", help='released weights, or a pattern such as "umt_*"')
    parser.add_argument("--dry-run", action="store_true", help="list the sources and leave")


def run(arguments: argparse.Namespace) -> int:
    """Pull one after the other; 1 when any could not be had or does not load."""
    from zoo.registry import get_card
    from zoo.weight_files import CheckpointError

    failed = 0
    for name in chosen(arguments.names):
        card = get_card(name)
        if arguments.dry_run:
            _sources(card)
            continue
        try:
            _pull(card)
        except CheckpointError as error:
            # The others may well work.
            failed += 1
            print(f"zoo pull: {error}", file=sys.stderr)  # noqa: T201
    return int(failed > 0)


def _with_backbone(card: "Card") -> "list[Card]":
    """The cards whose files a card needs: a probe stands on the backbone of another one."""
    from zoo.registry import get_card

    return [*([get_card(card.backbone)] if card.backbone else []), card]


def _pull(card: "Card") -> None:
    """Fetch the files of a card, load them, and print where they lie.

    Raises:
        CheckpointError: when that does not work.
    """
    from zoo.fetch import fetch
    from zoo.registry import create_model

    paths = [fetch(it.weights, it.name) for it in _with_backbone(card)]
    if card.missing:
        note = f"not loaded, so that its hash is not recorded: {card.missing}"
    else:
        report = create_model(card.name, pretrained=True).load_report
        note = f"loads: {len(report.matched)} tensors, {report.parameters / 1e6:,.2f} M values" if report else ""
    print(card.name)  # noqa: T201
    for path in paths:
        print(f"  {path}  {path.stat().st_size / 1e6:,.1f} MB")  # noqa: T201
    print(f"  {note}")  # noqa: T201


def _sources(card: "Card") -> None:
    """Print where the files of a card are, or would come from."""
    from zoo.fetch import find, words
    from zoo.folders import weights_folder

    print(card.name)  # noqa: T201
    for it in _with_backbone(card):
        found = find(it.weights, it.name)
        place = f"is here: {found}" if found else f"would come to {weights_folder(it.name)}, or the hub's cache"
        print(f"  {it.name if it is not card else 'the file'} {place}")  # noqa: T201
        for source in it.weights.sources:
            print(f"    {words(source)}")  # noqa: T201
    if card.missing:
        print(f"  no network takes it: {card.missing}")  # noqa: T201
