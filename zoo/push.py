"""A model as a folder that others can use: weights, config.json in timm's layout, a model card with its numbers.

    model.safetensors   our own checkpoint: it says by itself how the model is made
    config.json         the same for people and other tools, in the layout of timm's push_to_hf_hub
    README.md           the model card; its header is the hub's `model-index`, so that the hub shows the numbers

`create_model("local-dir:/path")` makes the model again: weights, options, class names and clip protocol.
"""

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from zoo.card import Card, Reported
from zoo.catalogue import licence_of
from zoo.catalogue_text import clip_text
from zoo.checkpoints import Saved, read_saved, save_checkpoint
from zoo.foreign import is_local
from zoo.hub import EvalResult, HfApi, ModelCardData, snapshot_download
from zoo.model import VideoModel
from zoo.suggest import natural

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
FOLDER_PREFIX = "local-dir:"
HUB_PREFIX = "hf-hub:"
LIBRARY = "video-backbone-zoo"
# How the hub writes the licences of the registry; everything else is "other" with its text.
_HUB_LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC-BY-NC-4.0": "cc-by-nc-4.0", "CC-BY-4.0": "cc-by-4.0"}


class PushError(RuntimeError):
    """A model that cannot be written or sent, or a folder that holds none."""


@runtime_checkable
class Hub(Protocol):
    """The part of huggingface_hub's HfApi that is used."""

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> Any:
        """Make a repository."""

    def upload_folder(self, *, repo_id: str, folder_path: str | Path, commit_message: str) -> Any:
        """Send all files of a folder in one commit."""


def save_folder(
    model: VideoModel,
    folder: str | Path,
    *,
    card: Card | None = None,
    results: Sequence[Reported] = (),
    licence: str = "",
) -> Path:
    """Write a model into a new folder, which appears whole or not at all.

    Args:
        model: made by `create_model`.
        folder: must not exist yet.
        card: released weights that the model carries; gives licence, notes and reported numbers.
        results: further numbers for the model card, with their source.
        licence: of the weights; empty for the card's.

    Returns:
        The folder.

    Raises:
        PushError: when the folder exists or cannot be written, and for a network that only this machine knows.
        ValueError: for a model that does not say how it was made.
    """
    folder = Path(os.path.expanduser(folder))
    if os.path.lexists(folder):
        raise PushError(f"{str(folder)!r} exists already, and nothing is overwritten: name a new folder")
    config = model_config(model)
    if is_local(name := config["architecture"]):
        raise PushError(
            f"the network {name!r} is described by a folder of this machine, which nobody else has: send that folder "
            "to the hub, and make the model as hf:USER/NAME; save_checkpoint keeps it for yourself"
        )
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        beside.mkdir(parents=True)
        save_checkpoint(model, beside / WEIGHTS)
        (beside / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        text = model_card(model, folder.name, card=card, results=results, licence=licence)
        (beside / CARD).write_text(text, encoding="utf-8")
        beside.rename(folder)
    except OSError as error:
        raise PushError(f"{str(folder)!r} cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def model_config(model: VideoModel) -> dict[str, Any]:
    """config.json of a model, as timm lays it out.

    Raises:
        ValueError: for a model that does not say how it was made.
    """
    if model.spec is None:
        raise ValueError("this model does not say how it was made; build it with create_model, or set model.spec")
    facts = dict(model.pretrained_cfg)
    top = {key: facts.pop(key) for key in ("architecture", "num_classes", "model_args", "label_names")}
    return {
        "architecture": top["architecture"],
        "num_classes": top["num_classes"],
        "num_features": model.num_features,
        "global_pool": model.pool,
        "model_args": top["model_args"],
        "label_names": list(top["label_names"]),
        "library": LIBRARY,
        "pretrained_cfg": facts,
    }


def model_card(
    model: VideoModel, name: str, *, card: Card | None = None, results: Sequence[Reported] = (), licence: str = ""
) -> str:
    """README.md with the hub's header.

    Args:
        model: made by `create_model`.
        name: what the model is called.
        card: released weights that it carries.
        results: further numbers.
        licence: of the weights; empty for the card's.
    """
    told = licence or (licence_of(card)[0] if card else "")
    numbers = [*(card.reported if card else ()), *results]
    header = ModelCardData(
        model_name=name,
        library_name=LIBRARY,
        pipeline_tag="video-classification" if model.num_classes else "feature-extraction",
        tags=["video", LIBRARY],
        eval_results=[_eval_result(it) for it in numbers] or None,
        license=_hub_licence(told),
        license_name=told if _hub_licence(told) == "other" else None,
    )
    return f"---\n{header.to_yaml()}\n---\n\n" + "\n".join(_body(model, name, card, numbers, told)) + "\n"


def _hub_licence(told: str) -> str | None:
    """The hub's name of a licence; "other" for one that it does not know."""
    return _HUB_LICENCES.get(told.partition(" (")[0], "other") if told else None


def _eval_result(number: Reported) -> EvalResult:
    link = number.source if number.source.startswith("http") else None
    return EvalResult(
        task_type="video-classification",
        dataset_type=number.dataset.lower().replace(" ", "-"),
        dataset_name=number.dataset,
        metric_type=number.metric,
        metric_value=number.value,
        source_name=link,
        source_url=link,
    )


def _body(model: VideoModel, name: str, card: Card | None, numbers: Sequence[Reported], licence: str) -> list[str]:
    """The text of the card, line by line."""
    if model.spec is None:
        return []
    clip, of = model.spec.clip, f", released weights `{card.name}`" if card else ""
    lines = [
        f"# {name}",
        "",
        f"`{model.spec.architecture.name}`{of}, {model.num_classes or 'no'} classes.",
        "",
        "```python",
        "import zoo",
        f'model = zoo.create_model("{FOLDER_PREFIX}PATH_OF_THIS_FOLDER")',
        "```",
        "",
        f"Clips: {clip_text(clip)}.",
        f"Licence of the weights: {licence or 'not stated'}.",
    ]
    if numbers:
        rows = [f"| {it.dataset} | {it.metric} | {it.value:g} | {it.source} |" for it in numbers]
        lines += ["", "| data set | metric | value | source |", "|---|---|---|---|", *rows]
    notes = [*model.spec.architecture.notes, *(card.notes if card else ())]
    return lines + (["", *(f"- {note}" for note in notes)] if notes else [])


def read_folder(name: str) -> tuple[Path, Saved]:
    """The weights of a folder that `save_folder` wrote, and what they say of their model.

    Args:
        name: "local-dir:" and a path.

    Raises:
        PushError: when there is no such folder, or its two files are not of one model.
        CheckpointError: when the weights are damaged.
    """
    folder = Path(os.path.expanduser(name.removeprefix(FOLDER_PREFIX)))
    if not (folder / WEIGHTS).is_file():
        raise PushError(f"{str(folder)!r} is no folder of a model: it has no {WEIGHTS}")
    saved = read_saved(folder / WEIGHTS)
    if saved is None:
        raise PushError(
            f"{str(folder / WEIGHTS)!r} was not written by the zoo: it is loaded by its path, not as local-dir:"
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        told = config["architecture"], config["num_classes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PushError(f"{str(folder / CONFIG)!r} does not describe a model ({error})") from None
    if told != (saved.architecture, saved.num_classes):
        raise PushError(
            f"{str(folder)!r} mixes two models: {CONFIG} is of {told[0]} with {told[1]} classes, the weights are of "
            f"{saved.architecture} with {saved.num_classes}"
        )
    return folder / WEIGHTS, saved


def read_hub(name: str) -> tuple[Path, Saved]:
    """`read_folder` of a repository on the hub, fetched where it is not in the cache.

    Args:
        name: "hf-hub:" and user/name.

    Raises:
        PushError: when it is out of reach, or holds no model of ours.
        CheckpointError: when the weights are damaged.
    """
    repository = name.removeprefix(HUB_PREFIX)
    try:
        folder = snapshot_download(repository, allow_patterns=[WEIGHTS, CONFIG])
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PushError(f"{repository!r} on the hub is out of reach: {reason}") from None
    return read_folder(f"{FOLDER_PREFIX}{folder}")


def check_repository(repository: str) -> None:
    """Refuse what cannot be the name of a repository on the hub.

    Raises:
        PushError: naming it.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise PushError(f"{repository!r} is no repository on the hub, which is called user/name")


def upload(folder: str | Path, repository: str, *, private: bool = False, hub: Hub | None = None) -> str:
    """Send a folder of `save_folder` to a new repository on the hub, in one commit.

    Args:
        folder: the folder.
        repository: "user/name"; must not exist yet.
        private: only its owner sees it.
        hub: other than huggingface_hub with the user's token, for tests.

    Returns:
        Where it is.

    Raises:
        PushError: when the hub refuses, or nobody is logged in.
    """
    check_repository(repository)
    read_folder(f"{FOLDER_PREFIX}{folder}")
    sender: Hub = hub or HfApi()
    page, left = f"https://huggingface.co/{repository}", ""
    try:
        sender.create_repo(repository, private=private, exist_ok=False)
        left = f". The new repository is there, and empty: delete it at {page}/settings before you try again"
        sender.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Model of {LIBRARY}")
    except Exception as error:  # the hub's own errors, and those of its transport, have no common ancestor
        names = sorted((it.name for it in Path(folder).iterdir()), key=natural)
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PushError(f"{repository!r} did not take {', '.join(names)}: {reason}{left}") from None
    return page
