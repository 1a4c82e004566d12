"""The network that a command line means by its name and options."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.suggest import UnknownNameError

if TYPE_CHECKING:
    from zoo.model import VideoModel


def named_model(
    name: str,
    *,
    checkpoint: Path | None,
    random: bool,
    num_classes: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> "VideoModel":
    """A network with the weights that were asked for.

    Args:
        name: as `create_model` takes it.
        checkpoint: weights of an architecture; None for those that come with the name.
        random: random weights of seed 0 instead.
        num_classes: see `create_model`.
        options: options of the architecture; positions are interpolated for them.

    Raises:
        UnknownNameError: for an architecture without weights.
    """
    import torch

    from zoo.registry import create_model, list_models

    if name in list_models() and not (checkpoint or random):
        raise UnknownNameError(
            f"{name} is an architecture without weights; name released ones (zoo list --pretrained), a file "
            "with --checkpoint, or say --random"
        )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return create_model(
            name,
            pretrained=not (checkpoint or random),
            checkpoint_path=checkpoint,
            num_classes=num_classes,
            resize_positions=bool(options),
            **(options or {}),
        )
