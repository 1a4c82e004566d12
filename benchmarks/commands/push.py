"""`zoo push`: a model with its model card, to a folder or to the hub."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.card import Reported
    from zoo.model import VideoModel

# What is not there and ends in one of these was meant as a file.
FILE_ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar", ".pyth")
EXAMPLES = """\
examples:
  zoo push runs/compare/weights/RUN.safetensors exported        a folder; create_model("local-dir:exported") reads it
  zoo push RUN.safetensors exported --result runs/compare/RUN.json
  zoo push RUN.safetensors hf-hub:me/my-model --yes             to the hub, with the token of `hf auth login`"""


def options(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("source", metavar="NAME|FILE", help="released weights by name, or a checkpoint of the zoo")
    parser.add_argument("destination", metavar="DEST", help="a new folder, or hf-hub:USER/NAME for a new repository")
    parser.add_argument(
        "--result", type=Path, action="append", default=[], metavar="FILE", help="a result whose numbers go on the card"
    )
    parser.add_argument("--licence", default="", help="licence of the weights, for a checkpoint of yours")
    parser.add_argument("--private", action="store_true", help="a repository that only you see")
    parser.add_argument("--yes", action="store_true", help="really send it to the hub")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder, and send it where that was asked for.

    Raises:
        PushError: when something stands in the way.
        CheckpointError: when the file is no checkpoint of the zoo.
    """
    from zoo import push
    from zoo.registry import released

    to_hub = arguments.destination.startswith(push.HUB_PREFIX)
    repository = arguments.destination.removeprefix(push.HUB_PREFIX)
    if to_hub:
        push.check_repository(repository)
    if to_hub and not arguments.yes:
        raise push.PushError(f"this would make {repository!r} on the hub, for others to see; say so with --yes")
    numbers = [number for path in arguments.result for number in _numbers(path)]
    model = _model(arguments.source)
    card = released().get(arguments.source)
    if not to_hub:
        folder = push.save_folder(model, arguments.destination, card=card, results=numbers, licence=arguments.licence)
        print(f"{folder}: {', '.join(sorted(it.name for it in folder.iterdir()))}")  # noqa: T201
        return 0
    with tempfile.TemporaryDirectory() as place:
        name = repository.rpartition("/")[2]
        folder = push.save_folder(model, Path(place) / name, card=card, results=numbers, licence=arguments.licence)
        print(f"sending {sum(it.stat().st_size for it in folder.iterdir()) / 1e6:,.1f} MB", file=sys.stderr)  # noqa: T201
        print(push.upload(folder, repository, private=arguments.private))  # noqa: T201
    return 0


def _model(source: str) -> "VideoModel":
    """The model of a checkpoint of ours, or released weights by name.

    Raises:
        UnknownNameError: for what is neither.
        CheckpointError: when the file is no checkpoint of the zoo.
    """
    from zoo.checkpoints import read_saved
    from zoo.registry import create_model, released
    from zoo.suggest import UnknownNameError
    from zoo.weight_files import CheckpointError

    if not Path(source).exists() and Path(source).suffix not in FILE_ENDINGS:
        try:
            return create_model(source, pretrained=True)
        except UnknownNameError as error:
            if source in released():
                raise
            raise UnknownNameError(f"{error}; nor is there a file {source!r}") from None
    saved = read_saved(source)
    if saved is None:
        raise CheckpointError(source, "it does not say which model it is of: load it and save it with save_checkpoint")
    return create_model(saved.architecture, checkpoint_path=source)


def _numbers(path: Path) -> "list[Reported]":
    """The accuracies of a result file."""
    from benchmarks.results import Result
    from zoo.card import Reported
    from zoo.push import PushError

    try:
        result = Result.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PushError(f"{str(path)!r} is no result of a comparison ({error})") from None
    one = result.identity
    source = f"measured: {one.protocol}, seed {one.seed}, {result.n_evaluated} videos, commit {result.commit or '?'}"
    name = f"{one.suite} {one.task}".strip()
    return [Reported(name, metric, round(number.value, 6), source) for metric, number in result.metrics.items()]
