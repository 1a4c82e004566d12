"""Weights that `zoo reproduce --train` makes before it measures a row, by the published training behind it."""

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.evaluation import Network, Request
from benchmarks.plan import plain
from benchmarks.protocols.common import MODEL_FILE
from benchmarks.results import Result
from benchmarks.session import RequestError
from benchmarks.training_plan import Order, Plan, check, resolve
from benchmarks.training_runs import run
from benchmarks.training_settings import settings_of
from zoo.checkpoints import read_saved
from zoo.recipes.training import Training
from zoo.registry import get_architecture

FILE = "FILE"  # stands in a command for the file that the one before it names


def plan_of(recipe: Training, request: Request, *, shrink: bool) -> Plan:
    """A training on the videos of an evaluation, beside its results.

    Args:
        recipe: what is trained.
        request: the evaluation of what comes out.
        shrink: everything small.

    Raises:
        RequestError: for a training that cannot be run.
    """
    # On the recipe's own videos its own task; elsewhere the one that is evaluated.
    return resolve(
        Order(
            name=recipe.name,
            kind=recipe.kind,
            data=request.data,
            suite=request.suite,
            task=request.task,
            shrink=shrink,
            # The batch is the recipe's, and so is the precision.
            hardware=replace(request.hardware, precision=None),
            workers=request.workers,
            seed=request.seed,
            out=request.out,
        )
    )


def network_of(plan: Plan) -> Network:
    """What will be known of the network that a training leaves."""
    training = plan.training
    form = training.classifier or get_architecture(training.architecture).classifier
    words = f"trained by zoo {training.kind} {training.name}"
    return Network(training.clip, form, plan.task.num_classes, (), "", words, recipe=plan.made_by)


def trained_before(plan: Plan, finished: Iterable[Result]) -> Path | None:
    """The file that such a training left; None where there is none."""
    left = plan.run_dir / MODEL_FILE  # by a pretraining that ends in a classifier; others leave a result
    if left.is_file() and (saved := read_saved(left)) and saved.recipe == plan.made_by:
        return left
    fields = plain(settings_of(plan.training))
    for result in finished:
        who = result.identity
        asked = (plan.training.name, plan.suite.name, plan.task.name, plan.order.seed)
        if (result.details.get("recipe"), who.suite, who.task, who.seed) != asked or not result.weights:
            continue
        file = plan.order.out / result.weights
        if result.settings.get("fields") == fields and file.is_file():
            return file
    return None


def train(plan: Plan, *, progress: bool = False) -> Path:
    """Carry out a training; one that was stopped goes on.

    Raises:
        RequestError: for one that cannot be run, or leaves no weights.
    """
    check(plan)
    if (file := run(plan, progress=progress).file) is None:
        raise RequestError(f"{plan.training.name} left no weights to evaluate")
    return file


def train_words(plan: Plan) -> str:
    """The command that trains so."""
    order, training = plan.order, plan.training
    given: dict[str, object] = {
        "--suite": order.suite if order.suite != plan.published.suite else "",
        "--data": order.data or ("DIR" if plan.suite.url else ""),
        "--task": order.task if order.task != plan.published.task and len(plan.suite.tasks) > 1 else "",
        "--seed": order.seed,
        "--out": order.out,
    }
    options = [word for name, value in given.items() if value for word in (name, str(value))]
    return shlex.join(["zoo", training.kind, training.name, *(["--shrink"] if order.shrink else []), *options])
