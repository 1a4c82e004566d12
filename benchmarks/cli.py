"""The `zoo` command: list, info, predict, compare, and those of `benchmarks.commands`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from benchmarks.commands import (
    convert,
    data,
    efficiency,
    export,
    extract,
    pull,
    recipe,
    report,
    reproduce,
    results,
    train,
    verify,
)
from benchmarks.commands import eval as eval_command
from benchmarks.commands import list as list_command
from benchmarks.commands import push as push_command
from benchmarks.commands import table as table_command
from benchmarks.commands import tokenize as tokenize_command
from benchmarks.commands.numbers import positive
from zoo.suggest import UnknownNameError, closest

PROTOCOLS = ("finetune", "attentive", "attentive4", "linear", "knn")
BUDGETS = ("smoke", "quick", "full")
USAGE_ERROR, INTERRUPTED = 2, 130
USER_ERRORS = (
    ("zoo.weight_files", "CheckpointError"),
    ("zoo.fetch", "FetchError"),
    ("zoo.convert", "ConvertError"),
    ("zoo.training.checkpoint", "RunFileError"),
    ("zoo.data.video_file", "DecodeError"),
    ("zoo.data.labels", "LabelError"),
    ("zoo.data.list_files", "ListError"),
    ("benchmarks.suite", "SuiteError"),
    ("zoo.foreign", "ForeignError"),
    ("zoo.predict", "PredictError"),
    ("zoo.export", "ExportError"),
    ("zoo.push", "PushError"),
    ("zoo.data.loading", "UnreadableVideoError"),
    ("benchmarks.data_tools.options", "DataError"),
    ("zoo.data.workers", "WorkerError"),
    ("zoo.training.probe", "FewVideosError"),
    ("zoo.training.features", "AcceleratorError"),
    ("zoo.training.feature_cache", "FeatureCacheError"),
    ("benchmarks.commands.extract", "ExtractError"),
    ("benchmarks.feature_files", "FeatureFileError"),
    ("benchmarks.systems", "SizeError"),
    ("benchmarks.systems", "ObjectiveError"),
    ("benchmarks.paper_tables", "PaperError"),
    ("benchmarks.session", "RequestError"),
    ("benchmarks.layout", "SynthError"),
    ("benchmarks.clip_codes", "TokenizeError"),
    ("benchmarks.training_settings", "SettingError"),
)

# Commands that have a file of their own: WORDS, EXAMPLES, options(parser), run(arguments).
COMMAND_FILES: dict[str, Any] = {
    "convert": convert,
    "data": data,
    "efficiency": efficiency,
    "eval": eval_command,
    "export": export,
    "extract": extract,
    "finetune": train.FINETUNE,
    "pretrain": train.PRETRAIN,
    "probe": train.PROBE,
    "pull": pull,
    "recipe": recipe,
    "report": report,
    "reproduce": reproduce,
    "results": results,
    "table": table_command,
    "tokenize": tokenize_command,
    "verify": verify,
}

COMPARE_EXAMPLES = """\
examples:
  zoo compare vit_pico videomamba_pico --budget smoke          a minute, to see that everything works
  zoo compare vit_pico videomamba_pico timesformer_pico        a few minutes on two cores
  zoo compare vit_pico:mae vit_pico:umt videomamba_pico:vjepa timesformer_pico:none
  zoo compare vit_pico videomamba_pico --seeds 3 --budget full
  zoo compare vit_pico timesformer_pico --protocol linear --out runs/linear
  zoo compare vit_pico videomamba_pico --suite coin --data /data/coin --out runs/coin

Stop it with Ctrl-C at any time: the same command goes on where it stopped and repeats nothing."""
INFO_EXAMPLES = """\
examples:
  zoo info vit_pico
  zoo info videomamba_middle --json
  zoo info videomamba_middle.k400_mask_ft_f64_res224"""
PREDICT_EXAMPLES = """\
examples:
  zoo predict videomamba_middle.k400_mask_ft_f64_res224 clip.mp4
  zoo predict local-dir:exported clip.mp4                        what zoo push wrote
  zoo predict vit_pico clip.mp4 -k 5 --checkpoint runs/compare/weights/RUN.safetensors"""


class _Parser(argparse.ArgumentParser):
    """Names the closest options and choices, and points to --help.

    Attributes:
        names: gives further lines of the help, for which much must be imported; None for none.
    """

    names: Callable[[], str] | None = None

    def format_help(self) -> str:
        """The help, with the names that can be given."""
        text = super().format_help()
        return f"{text}\n{self.names()}\n" if self.names else text

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n{' ' * len(self.prog)}  see {self.prog} --help\n")


def _one_of(what: str, valid: Sequence[str]) -> Callable[[str], str]:
    """A converter that accepts some words only, and names the closest for others."""

    def checked(text: str) -> str:
        if text not in valid:
            raise argparse.ArgumentTypeError(
                f"unknown {what} {text!r}; did you mean {closest(text, valid, 1)[0]!r}? valid: {', '.join(valid)}"
            )
        return text

    return checked


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    top = _Parser(
        prog="zoo",
        description="Video backbones side by side: one contract, one command.",
        epilog="See zoo COMMAND --help for options and examples of a command.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, words: str, examples: str) -> _Parser:
        return commands.add_parser(
            name,
            help=words,
            description=words[0].upper() + words[1:] + ".",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def added(module: ModuleType, parser: _Parser) -> _Parser:
        module.options(parser)
        return parser

    made = {
        "compare": _compare_options(
            command("compare", "pretrain and evaluate backbones side by side, and write a report", COMPARE_EXAMPLES)
        ),
        "list": added(list_command, command("list", "list architectures, or released weights", list_command.EXAMPLES)),
        "info": _info_options(
            command("info", "tell everything that is known of an architecture or of weights", INFO_EXAMPLES)
        ),
        "predict": _predict_options(command("predict", "say what is seen in a video", PREDICT_EXAMPLES)),
        "push": added(push_command, command("push", "write a model with its card for others", push_command.EXAMPLES)),
    }
    for name, module in COMMAND_FILES.items():
        made[name] = command(name, module.WORDS, module.EXAMPLES)
        module.options(made[name])
        made[name].names = getattr(module, "names", None)
    return top, made


def _compare_options(parser: _Parser) -> _Parser:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME[:OBJECTIVE]",
        help="architectures (see zoo list), each under its family's own objective unless one is named: mae, "
        "lvmae, umt, vjepa, self_distillation, or none for random weights alone",
    )
    parser.add_argument("--suite", default="digits", metavar="S", help="videos and tasks (digits)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the suite's official files")
    parser.add_argument("--task", default="", metavar="T", help="only this task of the suite (all)")
    parser.add_argument(
        "--protocol",
        type=_one_of("protocol", PROTOCOLS),
        default="finetune",
        metavar="{" + ",".join(PROTOCOLS) + "}",
        help="how backbones are evaluated (finetune)",
    )
    parser.add_argument(
        "--budget",
        type=_one_of("budget", BUDGETS),
        default="quick",
        metavar="{" + ",".join(BUDGETS) + "}",
        help="how long to train: about a minute, minutes, hours (quick)",
    )
    parser.add_argument("--seeds", type=positive, default=1, metavar="N", help="training seeds 0 to N-1 (1)")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="(runs/compare)")
    parser.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="runs at a time, one thread each; results do not depend on it (cores)",
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where videos and decoded frames are kept")
    parser.add_argument("--dry-run", action="store_true", help="print the runs and leave")
    return parser


def _info_options(parser: _Parser) -> _Parser:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _predict_options(parser: _Parser) -> _Parser:
    parser.add_argument("name", metavar="NAME", help="released weights, or an architecture with --checkpoint")
    parser.add_argument("video", type=Path, metavar="VIDEO")
    parser.add_argument("-k", type=positive, default=5, metavar="N", help="number of answers (5)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights, such as those a comparison leaves")
    parser.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Arguments of a known command; everything else ends with a message that names the closest."""
    top, commands = _parsers()
    if not argv:
        top.print_help()
        top.exit(USAGE_ERROR)
    if not argv[0].startswith("-") and argv[0] not in commands:
        top.error(_unknown("command", argv[0], commands))
    arguments, extra = top.parse_known_args(argv)
    if extra:
        parser = getattr(arguments, "asked", commands.get(arguments.command, top))
        options = [option for action in parser._actions for option in action.option_strings]
        word = next((word for word in extra if word.startswith("-")), extra[0]).partition("=")[0]
        parser.error(_unknown("option", word, options) if word.startswith("-") else f"unexpected argument {word!r}")
    return arguments


def _unknown(what: str, word: str, valid: Iterable[str]) -> str:
    return f"unknown {what} {word!r}; did you mean {', '.join(closest(word, valid, 2))}?"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: words after `zoo`; those of the process when None.

    Returns:
        Exit status: 0 when everything asked for was done, 1 when part of it failed, 2 for a usage error, 130 when
        interrupted.
    """
    arguments = _parse(sys.argv[1:] if argv is None else list(argv))
    try:
        return _COMMANDS[arguments.command](arguments)
    except _interruptions() as stop:
        words = f"interrupted: {stop}" if str(stop) else "interrupted"
        print(f"\nzoo: {words}", file=sys.stderr)  # noqa: T201
        return int(getattr(stop, "code", INTERRUPTED))
    except BrokenPipeError:
        # The reader of our output left (`zoo list | head`); there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _user_errors() as error:
        if os.environ.get("ZOO_DEBUG"):
            raise
        # Commands with verbs keep the parser that was asked.
        who = arguments.asked.prog if "asked" in arguments else f"zoo {arguments.command}"
        print(f"{who}: {error}", file=sys.stderr)  # noqa: T201
        return USAGE_ERROR


def _interruptions() -> tuple[type[BaseException], ...]:
    """What ends a command that a person stopped; a training that writes a checkpoint first says what it kept."""
    module = sys.modules.get("zoo.training.checkpoint")
    return (KeyboardInterrupt,) if module is None else (KeyboardInterrupt, module.Interrupted)


def _user_errors() -> tuple[type[Exception], ...]:
    """Errors that a person can mend; their message says how, so a traceback would only hide it."""
    # Looked up among what is loaded: an error of a module that nobody imported cannot have been raised.
    loaded = [getattr(sys.modules[module], name) for module, name in USER_ERRORS if module in sys.modules]
    # What the operating system refuses (a full disk, too long a name) names the path itself.
    return (UnknownNameError, OSError, *loaded)


def _compare(arguments: argparse.Namespace) -> int:
    from benchmarks.processes import prepare_workers

    prepare_workers()  # before the imports of this process, which take as long
    from benchmarks.compare import compare
    from benchmarks.session import Request

    request = Request(
        names=tuple(arguments.names),
        suite=arguments.suite,
        data=arguments.data,
        task=arguments.task,
        protocol=arguments.protocol,
        budget=arguments.budget,
        seeds=arguments.seeds,
        out=arguments.out,
        jobs=arguments.jobs,
        cache=arguments.cache,
    )
    return compare(request, dry_run=arguments.dry_run)


def _info(arguments: argparse.Namespace) -> int:
    from zoo.info import describe, facts

    if arguments.json:
        print(json.dumps(facts(arguments.name), default=list))  # noqa: T201
        return 0
    from rich.console import Console

    Console().print(describe(arguments.name))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from zoo.predict import predict

    answers = predict(arguments.name, arguments.video, k=arguments.k, checkpoint_path=arguments.checkpoint)
    if arguments.json:
        print(json.dumps([answer._asdict() for answer in answers]))  # noqa: T201
        return 0
    for answer in answers:
        print(f"{100 * answer.probability:6.2f} %  {answer.label}")  # noqa: T201
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "compare": _compare,
    "list": list_command.run,
    "info": _info,
    "predict": _predict,
    "push": push_command.run,
    **{name: module.run for name, module in COMMAND_FILES.items()},
}

if __name__ == "__main__":
    sys.exit(main())
