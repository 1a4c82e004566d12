"""`zoo recipe`: published trainings: a list of them, everything about one, what differs between two."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.recipes.training import Training

WORDS = "list, show and compare published trainings"
EXAMPLES = """\
examples:
  zoo recipe list --family videomamba --kind pretrain
  zoo recipe list --suite ssv2 --json
  zoo recipe show videomamba_middle.k400_f8_res224
  zoo recipe diff umt_base.k710_pt_ssv2_f8_res224 videomamba_middle.ssv2_f8_res224

A recipe has the name of the card whose weights it made, where there is one. zoo pretrain, zoo finetune and zoo probe
run it."""


def options(parser: argparse.ArgumentParser) -> None:
    """What the command understands."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=type(parser), required=True)
    listed = verbs.add_parser("list", help="all of them, or those that fit", allow_abbrev=False)
    for word in ("family", "kind", "suite", "architecture"):
        listed.add_argument(f"--{word}", default="", metavar="NAME", help=f"recipes of this {word} only")
    listed.add_argument("--runnable", action="store_true", help="only those that the zoo can run")
    shown = verbs.add_parser("show", help="every field of one", allow_abbrev=False)
    shown.add_argument("name", metavar="NAME")
    held = verbs.add_parser("diff", help="the fields in which two differ", allow_abbrev=False)
    held.add_argument("one", metavar="A")
    held.add_argument("other", metavar="B")
    for parser_of_verb in (listed, shown, held):
        parser_of_verb.add_argument("--json", action="store_true", help="for programs")
        parser_of_verb.set_defaults(asked=parser_of_verb)


def run(arguments: argparse.Namespace) -> int:
    """Print what was asked for.

    Raises:
        UnknownNameError: for a recipe, family, kind or suite that there is not.
    """
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 200)
    {"list": _list, "show": _show, "diff": _diff}[arguments.verb](arguments, console)
    return 0


def _list(arguments: argparse.Namespace, console: "Console") -> None:
    from rich.table import Table

    from zoo.recipes.catalogue import TRAININGS
    from zoo.suggest import unknown

    found = list(TRAININGS.values())
    for word in ("family", "kind", "suite", "architecture"):
        wanted, there = getattr(arguments, word), {getattr(it, word) for it in TRAININGS.values()}
        if wanted and wanted not in there:
            raise unknown(f"{word} of recipes", wanted, sorted(there - {""}))
        found = [it for it in found if not wanted or getattr(it, word) == wanted]
    found = [it for it in found if not (arguments.runnable and it.obstacle)]
    if arguments.json:
        print(json.dumps([as_json(it) for it in found]))  # noqa: T201
        return
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("name", "kind", "suite", "clip", "epochs", "batch", "expected", "runs"):
        table.add_column(column, no_wrap=column in ("name", "kind"))
    for one in found:
        clip = f"{one.clip.num_frames} x {one.clip.img_size} px"
        first = next((f"{it.metric} {it.value:g}" for it in one.expected), "")
        runs = f"no: {one.obstacle}" if one.obstacle else "yes"
        epochs = "" if one.epochs is None else str(one.epochs)
        batch = str(one.global_batch or "")
        table.add_row(one.name, one.kind, one.suite or "-", clip, epochs, batch, first, runs)
    console.print(table)
    print(f"{len(found)} recipes")  # noqa: T201


def _show(arguments: argparse.Namespace, console: "Console") -> None:
    from benchmarks.training_text import layers, table
    from zoo.recipes.catalogue import get_training

    one = get_training(arguments.name)
    if arguments.json:
        print(json.dumps({**as_json(one), "layers": layers(one).splitlines()}))  # noqa: T201
        return
    console.print(table(one))
    if told := layers(one):
        print(f"\n{told}")  # noqa: T201


def _diff(arguments: argparse.Namespace, console: "Console") -> None:
    from rich.table import Table

    from benchmarks.training_settings import difference
    from benchmarks.training_text import words
    from zoo.recipes.catalogue import get_training

    found = difference(get_training(arguments.one), get_training(arguments.other))
    if arguments.json:
        print(json.dumps(found, default=_plain))  # noqa: T201
        return
    if not found:
        print("no field differs")  # noqa: T201
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("field", arguments.one, arguments.other):
        table.add_column(column)
    for name, (left, right) in found.items():
        table.add_row(name, words(left), words(right))
    console.print(table)


def as_json(training: "Training") -> dict[str, Any]:
    """Every field in plain values, with the rates that follow."""
    from benchmarks.training_settings import flat
    from benchmarks.training_text import rates

    told = {**flat(training), "effective_rates": rates(training)}
    plain: dict[str, Any] = json.loads(json.dumps(told, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    return vars(value) if hasattr(value, "__dict__") else list(value) if isinstance(value, tuple) else str(value)
