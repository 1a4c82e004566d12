"""Networks of a published shape made small, with random weights: what can be tried out on any machine."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from backbones.meta import meta_device
from benchmarks.evaluation import Network
from benchmarks.suite import Task
from zoo.card import Classifier
from zoo.checkpoints import save_checkpoint
from zoo.model import VideoModel
from zoo.registry import create_model, get_architecture, get_card, has_tag

WORDS = "random weights, shrunken network"


def shrunken_model(name: str, task: Task) -> VideoModel:
    """The small member of the shape of a network, with random weights and a classifier for a task.

    Args:
        name: architecture, or released weights, whose clips and head it then has.
        task: what it answers.

    Raises:
        UnknownNameError: for an unknown name, and for weights that no network takes.
    """
    architecture = get_architecture(name)
    card = get_card(name) if has_tag(name) else None
    released = card.classifier if card is not None else None
    form = small_head(released or architecture.classifier, architecture.shrink)
    model = create_model(
        name, num_classes=None if form.questions else task.num_classes, classifier=form, **architecture.shrink
    )
    if model.spec is None:
        raise ValueError(f"{name!r} does not say how it was made")
    # Random weights know no order of classes: the data set's labels are taken as they are.
    model.spec = replace(model.spec, label_names=())
    return model


def small_head(form: Classifier, shrink: Mapping[str, Any]) -> Classifier:
    """A form of head for a network of fewer and narrower blocks.

    Args:
        form: published.
        shrink: options of the small network.
    """
    depth, width = shrink.get("depth"), shrink.get("embed_dim")
    if form.layers and depth is not None:
        form = replace(form, layers=tuple(range(depth))[-len(form.layers) :])
    if width is not None and width % form.num_heads:
        form = replace(form, num_heads=shrink["num_heads"])
    return form


def shrunken_network(name: str, task: Task) -> Network:
    """What is known of `shrunken_model` without memory for it."""
    with meta_device():
        spec = shrunken_model(name, task).spec
    if spec is None:
        raise ValueError(f"{name!r} does not say how it was made")
    return Network(spec.clip, spec.classifier, task.num_classes, (), "", WORDS)


def shrunken_file(name: str, task: Task, folder: Path, *, seed: int = 0) -> Path:
    """A file of `shrunken_model`, the same whenever it is asked for.

    Args:
        name: architecture, or released weights.
        task: what it answers.
        folder: where it goes; made when missing.
        seed: of the weights.
    """
    path = folder / f"{name}-{task.num_classes}-seed{seed}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = shrunken_model(name, task)
        save_checkpoint(model, path)
    return path
