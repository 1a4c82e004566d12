"""`zoo convert`: a file of weights in another layout."""

import argparse
import json
from pathlib import Path
from typing import Any

WORDS = "write a file of weights in another layout, as safetensors"
EXAMPLES = """\
examples:
  zoo convert checkpoint.pth videomae.safetensors --to zoo --as videomae_base
  zoo convert videomae.safetensors model.safetensors --to hf --layout "VideoMAE classifier, transformers 4 spelling"
  zoo convert vitl.pt vjepa2.safetensors --to hf --as vjepa2_large_16_256

Nothing in the file is executed, and what has no place in the new layout is named."""
TARGETS = ("official", "hf", "zoo")  # those of zoo.convert, which is too slow to import for --help


def options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("source", type=Path, metavar="IN", help="any file of weights whose layout the network knows")
    parser.add_argument("target", type=_output, metavar="OUT", help="the file to write, which ends with .safetensors")
    parser.add_argument(
        "--to",
        required=True,
        type=_target,
        metavar="{official,hf,zoo}",
        help="the authors' names, transformers' names, or ours with a description of the model",
    )
    parser.add_argument(
        "--as", dest="name", default="", metavar="NAME", help="the network (see zoo list); a file of ours says it"
    )
    parser.add_argument("--layout", default="", metavar="LAYOUT", help="which layout, where several would do")
    parser.add_argument("--entry", default="", metavar="ENTRY", help="which dictionary of the file, as target_encoder")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="OPTION=VALUE",
        help="an option of the network, as num_frames=32; may be repeated",
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it is there")


def run(arguments: argparse.Namespace) -> int:
    """Convert, and say what was dropped."""
    from rich.console import Console

    from zoo.convert import convert

    with Console(stderr=True).status(f"converting {arguments.source}"):
        result = convert(
            arguments.source,
            arguments.target,
            to=arguments.to,
            name=arguments.name,
            layout=arguments.layout,
            entry=arguments.entry,
            options=dict(arguments.settings),
            force=arguments.force,
        )
    print(f"{arguments.target}: {result}")  # noqa: T201
    return 0


def _target(text: str) -> str:
    if text not in TARGETS:
        raise argparse.ArgumentTypeError(f"unknown target {text!r}; there are {', '.join(TARGETS)}")
    return text


def _output(text: str) -> Path:
    """A path that says what will be in the file: torch.load cannot read safetensors called .pth."""
    if Path(text).suffix != ".safetensors":
        raise argparse.ArgumentTypeError(f"safetensors are written: {text!r} must end with .safetensors")
    return Path(text)


def _setting(text: str) -> tuple[str, Any]:
    """An option and its value: JSON, or plain text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form OPTION=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
