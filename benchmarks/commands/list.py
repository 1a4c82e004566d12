"""`zoo list`: architectures, or released weights, by name and by what they are."""

import argparse
import json
import sys

from benchmarks.commands.numbers import positive
from zoo.suggest import UnknownNameError, closest

EXAMPLES = """\
examples:
  zoo list                                     every architecture
  zoo list "videomamba_*"                      names that fit a pattern
  zoo list "videomamba_tiny.*"                 released weights, as a name with a point is theirs
  zoo list --pretrained                        every released checkpoint
  zoo list --dataset ssv2 --frames 16          those for Something-Something V2 with clips of 16 frames
  zoo list --licence permissive --family umt
  zoo list --pretrained --json | jq            for programs"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("filter", nargs="*", type=_word, metavar="PATTERN", help='such as "videomamba_*"')
    parser.add_argument("--family", type=_word, help="only this family")
    parser.add_argument("--pretrained", action="store_true", help="released weights instead of architectures")
    parser.add_argument("--dataset", type=_word, help="weights last trained on it, such as k400 or ssv2")
    parser.add_argument("--task", type=_word, help="weights for it, such as classification or pretraining")
    parser.add_argument("--frames", type=positive, metavar="N", help="weights for clips of N frames")
    parser.add_argument(
        "--licence",
        type=_word,
        metavar="{permissive,noncommercial,all}",
        help="weights whose licence is of this kind; where none is stated for the weights, the code's counts",
    )
    parser.add_argument(
        "--json", action="store_true", help="for programs: names of architectures, records of released weights"
    )


def _word(text: str) -> str:
    # As a shell gives it for a variable that is not set: it would list everything.
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Print what fits.

    Raises:
        UnknownNameError: when nothing does, with the closest names.
    """
    from zoo.registry import list_models, released

    of_weights = bool(arguments.dataset or arguments.task or arguments.frames or arguments.licence)
    pretrained = arguments.pretrained or of_weights or any("." in it for it in arguments.filter)
    names = list_models(
        arguments.filter,
        pretrained=pretrained,
        family=arguments.family or "",
        dataset=arguments.dataset or "",
        task=arguments.task or "",
        frames=arguments.frames,
        licence=arguments.licence or "all",
    )
    if arguments.json:
        from zoo.catalogue import record

        found = [record(released()[name]) for name in names] if pretrained else names
        print(json.dumps(found))  # noqa: T201
        return 0
    if not names:
        raise UnknownNameError(_nothing_fits(arguments, pretrained))
    from rich.console import Console

    from zoo.catalogue_text import cards_table
    from zoo.info import table_of

    table = cards_table(released()[name] for name in names) if pretrained else table_of(names)
    # What goes into a pipe or a file must keep every name on one line.
    Console(width=None if sys.stdout.isatty() else 250).print(table)
    return 0


def _nothing_fits(arguments: argparse.Namespace, pretrained: bool) -> str:
    from zoo.registry import architectures, list_models

    families = sorted({architecture.family for architecture in architectures().values()})
    if arguments.family and arguments.family not in families:
        return f"unknown family {arguments.family!r}; there are {', '.join(families)}"
    known = list_models(pretrained=pretrained)
    if not known:
        return "no released weights are known to this version of the zoo; build without, or load a file of yours"
    words = ("family", "dataset", "task", "frames", "licence")
    asked = [f"{word} {getattr(arguments, word)}" for word in words if getattr(arguments, word)]
    wanted = " ".join([*arguments.filter, *asked])
    if not arguments.filter:
        return f"nothing fits {wanted!r}; leave out one of them"
    if not pretrained and (weights := list_models(arguments.filter, pretrained=True, family=arguments.family or "")):
        return f"no architecture fits {wanted!r}, but {len(weights)} released weights do: say --pretrained"
    near = closest(arguments.filter[0].strip("*"), known, 3)
    return f"nothing fits {wanted!r}; did you mean {', '.join(near)}?"
