"""Run a resolved training: pretrain, fine-tune and test, or probe and test; a run that was stopped goes on."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from backbones.importance import AdaptiveTokenizer
from benchmarks.evaluate import arrays_of, device_words, numbers
from benchmarks.plan import plain
from benchmarks.protocols import attentive_probe, finetune
from benchmarks.protocols.common import MODEL_FILE, begun, keep_weights
from benchmarks.protocols.outcome import Outcome, each_row_once
from benchmarks.provenance import provenance
from benchmarks.published import (
    TOKENIZER_FILE,
    Classes,
    Job,
    build_objective,
    save_adaptive,
    start_model,
    student_model,
)
from benchmarks.results import RANDOM, Identity, Interval, Store, digest
from benchmarks.runners import save_weights
from benchmarks.session import RequestError
from benchmarks.suite import Videos
from benchmarks.training_plan import Plan
from benchmarks.training_settings import SettingError, settings_of
from zoo.checkpoints import save_checkpoint
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.data.records import Record
from zoo.folders import require_writable
from zoo.model import VideoModel
from zoo.objectives.contract import Objective
from zoo.objectives.self_distillation import SelfDistillation
from zoo.objectives.tokenizer import TokenizerTraining
from zoo.objectives.vjepa import VJEPA
from zoo.recipes.learned import Distillation
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import Training
from zoo.registry import get_architecture
from zoo.tokenizers import save_tokenizer
from zoo.training.fit import fit, is_first_process
from zoo.training.parts import pretrainer
from zoo.training.predictions import Predictions
from zoo.training.probe_recipe import SweepRecipe

CHECKPOINT_EVERY = 1000
MAX_FEATURE_BYTES = 64 << 30


class Told(NamedTuple):
    """What a run leaves.

    Attributes:
        file: of the trained weights; None where none were kept.
        steps: optimiser steps in all.
        resumed_from: step at which this call began.
        losses: first and last logged loss; none for a probe.
        metrics: of the test list; none for a pretraining.
        result: the stored result; None for a pretraining, and in processes other than the first.
    """

    file: Path | None
    steps: int
    resumed_from: int
    losses: tuple[float, ...]
    metrics: dict[str, Interval]
    result: Path | None


def run(plan: Plan, *, progress: bool = False) -> Told:
    """Carry out a plan that `benchmarks.training_plan.check` found nothing wrong with.

    Args:
        plan: what to do.
        progress: show bars.

    Raises:
        RequestError: for what cannot be done, and a folder that holds another run.
        SettingError: for set values that network, objective or optimiser do not take.
        SuiteError: for videos that are not there.
        FetchError: for weights that cannot be had.
    """
    require_writable("--out", plan.order.out)
    videos = plan.suite.prepare(plan.order.data, progress)
    plan.run_dir.mkdir(parents=True, exist_ok=True)
    kinds = {"pretrain": pretrain, "finetune": evaluate, "probe": evaluate}
    try:
        return kinds[plan.training.kind](plan, videos, progress)
    except ValueError as error:
        if "belongs to another run" in str(error):
            reason = f"{plan.run_dir} holds a run with other settings ({error}); choose another --out"
            raise RequestError(reason) from None
        # A plain ValueError: a network, objective or optimiser does not take its numbers; the published ones fit.
        if type(error) is not ValueError or not plan.order.values:
            raise
        raise SettingError(f"--set {' '.join(plan.order.values)} does not fit the recipe: {error}") from error


def pretrain(plan: Plan, videos: Videos, progress: bool) -> Told:
    """Train an objective and keep the network that its authors keep."""
    training, order = plan.training, plan.order
    recipe = recipe_of(training)
    labels = needs_labels(training)
    records = videos.records(plan.task.name, plan.suite.train_split) if labels else videos.pretraining()
    classes = classes_of(plan, videos)
    with torch.random.fork_rng():
        torch.manual_seed(order.seed)
        whole, objective = begin(plan, classes)
    data = data_of(plan, videos, records, ())
    told = fit(
        pretrainer(objective, recipe, seed=order.seed),
        data,
        run_dir=plan.run_dir,
        checkpoint_every=CHECKPOINT_EVERY,
        progress="bar" if progress else None,
        hardware=order.hardware,
    )
    file = keep(plan, whole, objective, classes) if is_first_process() else None
    losses = tuple(row["loss"] for row in (told.curves[:1] + told.curves[-1:]) if "loss" in row)
    return Told(file, recipe.steps, told.resumed_from, losses, {}, None)


def recipe_of(training: Training) -> Recipe:
    """The optimisation of a run that trains a network.

    Raises:
        RequestError: for one that the zoo's trainer does not do.
    """
    try:
        return training.optimisation
    except ValueError as error:
        raise RequestError(str(error)) from None


def needs_labels(training: Training) -> bool:
    """Whether the objective learns from labels."""
    return isinstance(training.objective, Distillation)


def begin(plan: Plan, classes: Classes) -> tuple[VideoModel | None, Objective]:
    """The network and what it learns; no network beside a tokenizer's training, which makes its own."""
    training = plan.training
    if get_architecture(training.architecture).tokenizer is not None:
        empty = torch.nn.Module()
        return None, build_objective(Job(training, empty, classes.number, plan.outside))  # type: ignore[arg-type]
    whole = student_model(training, plan.outside)
    return whole, build_objective(Job(training, whole.backbone, classes.number, plan.outside))


def keep(plan: Plan, whole: VideoModel | None, objective: Objective, classes: Classes) -> Path:
    """Write what is used of a pretraining: the student, V-JEPA's target, a classifier, or a tokenizer."""
    training = plan.training
    if isinstance(objective, TokenizerTraining):
        made, options = objective.average.network, dict(training.options)
        if isinstance(made, AdaptiveTokenizer):
            return save_adaptive(made, plan.run_dir, name=training.architecture, options=options)
        file = plan.run_dir / TOKENIZER_FILE
        save_tokenizer(made, file, name=training.architecture, overrides=options)
        return file
    if whole is None or whole.spec is None:
        raise ValueError(f"{training.name}: the student does not say how it was made")
    if isinstance(objective, VJEPA):
        # Its authors evaluate the slow copy.
        whole.backbone.load_state_dict(objective.target.network.state_dict())
    file = plan.run_dir / MODEL_FILE
    if isinstance(objective, SelfDistillation):
        form = get_architecture(training.architecture).classifier
        whole = VideoModel(
            objective.student, objective.classifier, replace(whole.spec, classifier=form, recipe=plan.made_by)
        )
        save_checkpoint(whole.cpu(), file, label_names=classes.names, clip=training.clip)
        return file
    # Weights alone, as a comparison keeps them: the form for classifying may have its last norm elsewhere.
    save_weights(whole.backbone.cpu(), file)
    return file


def evaluate(plan: Plan, videos: Videos, progress: bool) -> Told:
    """Fine-tune or probe, then test; the result is stored."""
    training, order, classes = plan.training, plan.order, classes_of(plan, videos)
    train = videos.records(plan.task.name, plan.suite.train_split)
    test = videos.records(plan.task.name, plan.suite.test_split)
    data = data_of(plan, videos, train, test)

    def model() -> VideoModel:
        made = start_model(training, classes, plan.outside)
        if made.spec is not None:
            names = classes.names if len(classes.names) == made.num_classes else made.spec.label_names
            made.spec = replace(made.spec, label_names=names, recipe=plan.made_by)
        return made

    shared: dict[str, Any] = {"seed": order.seed, "run_dir": plan.run_dir, "progress": progress}
    if training.kind == "probe":
        settings: Any = probe_settings(training)
        shared |= {"accelerator": order.hardware.accelerator, "features": order.out / "features"}
        outcome = attentive_probe.run(model, data, settings, **shared)
    else:
        settings = finetune.Settings(recipe=recipe_of(training), checkpoint_every=CHECKPOINT_EVERY)
        outcome = finetune.run(model, data, settings, hardware=order.hardware, **shared)
    losses = tuple(row["loss"] for row in (outcome.curves[:1] + outcome.curves[-1:]) if "loss" in row)
    metrics, path, weights = store(plan, videos, outcome, settings)
    resumed = int(outcome.details.get("resumed_from", 0))
    return Told(order.out / weights if weights else None, settings.recipe.steps, resumed, losses, metrics, path)


def probe_settings(training: Training) -> attentive_probe.Settings:
    """Settings of the probe's protocol."""
    form = training.classifier
    if form is None or not isinstance(training.recipe, SweepRecipe):
        raise RequestError(f"{training.name} is no probe that the zoo trains")
    return attentive_probe.Settings(
        recipe=training.recipe,
        num_heads=form.num_heads,
        depth=form.depth,
        blocks=form.blocks,
        layers=form.layers or None,
        across_segments=True,
        max_bytes=MAX_FEATURE_BYTES,
    )


def classes_of(plan: Plan, videos: Videos) -> Classes:
    """What the labels of the task are."""
    regression = plan.task.metric == "mse"
    names = () if regression else tuple(videos.classes(plan.task.name))
    return Classes(plan.suite.name, 1 if regression else len(names) or plan.task.num_classes, names)


def data_of(plan: Plan, videos: Videos, train: list[Record], test: list[Record] | tuple[()]) -> VideoDataModule:
    """The clips of a run."""
    recipe, order = plan.training.recipe, plan.order
    return VideoDataModule(
        spec=plan.training.clip,
        train=train,
        test=test,
        augment=plan.training.augment,
        batch_size=plan.batch_size,
        num_workers=order.workers,
        seed=order.seed,
        repeats=recipe.repeats if isinstance(recipe, Recipe) else 1,
        cache=videos.cache(progress=False),
        failures=FailurePolicy(in_evaluation="report", log=plan.run_dir / "unread.jsonl"),
    )


def store(plan: Plan, videos: Videos, told: Outcome, settings: Any) -> tuple[dict[str, Interval], Path | None, str]:
    """Measure, and write the result beside its scores; gives the metrics, its file and the kept weights."""
    training, order, task = plan.training, plan.order, plan.task
    if told.scores is None:
        raise RequestError(f"{training.name} kept no scores of views")
    predictions = Predictions(told.probabilities, told.labels, told.rows, told.targets, told.unread)
    metrics = numbers(predictions, headline=task.metric, per_scene=task.videos_per_scene)
    if not is_first_process():
        return metrics, None, ""
    values = plain(
        {
            "recipe": training.name,
            "fields": settings_of(training),
            "protocol": asdict(settings),
            "clip": training.clip.to_dict(),  # where all evaluations have it
        }
    )
    identity = Identity(
        kind="evaluate",
        system=training.architecture,
        init=RANDOM if training.start == RANDOM and order.start is None else str(order.start or training.start),
        suite=plan.suite.name,
        task=task.name,
        split_hash=videos.split_hash(task.name, plan.suite.test_split),
        protocol=f"{training.kind} recipe",
        settings_hash=digest(values),
        seed=order.seed,
    )
    unread = each_row_once(told.unread)
    circumstances = provenance(threads=torch.get_num_threads())
    result = replace(
        begun(identity, values, circumstances, decoder="pyav"),
        metrics=metrics if not unread else {},
        n_expected=told.expected,
        n_evaluated=len(predictions.rows),
        failed=[f"{it.path}: {it.reason}" for it in unread],
        curves=told.curves,
        details={**told.details, "recipe": training.name, "made_by": plan.made_by, "shrunk": order.shrink},
        device=f"{circumstances.device}; {device_words(order.hardware)}",
        weights=keep_weights(plan.run_dir, order.out, identity.stem),
        seconds=told.seconds,
    )
    return metrics, Store(order.out).add(result, arrays_of(told.scores, predictions)), result.weights
