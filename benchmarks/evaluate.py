"""Behind `zoo eval`: build, fit a head where the protocol trains one, evaluate, store a result with all scores."""

import contextlib
import statistics
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import metrics
from benchmarks.budgets import PROTOCOLS, budget
from benchmarks.class_map import chance_alarm, keep_classes
from benchmarks.efficiency import count_parameters
from benchmarks.evaluation import AS_IS, LOW_SHOT, Evaluation
from benchmarks.listed import notes_of
from benchmarks.plan import plain
from benchmarks.probing import USUAL_SHARE, share_of, with_rates
from benchmarks.protocols import as_is, attentive_probe, finetune, low_shot
from benchmarks.protocols.common import begun, keep_weights
from benchmarks.protocols.outcome import Outcome, each_row_once
from benchmarks.provenance import provenance
from benchmarks.results import RANDOM, WEIGHTS, Identity, Interval, Result, Store, digest
from benchmarks.session import RequestError
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.model import VideoModel
from zoo.recipes.recipe import Recipe
from zoo.registry import create_model
from zoo.training.fit import Hardware, is_first_process
from zoo.training.log import OnStep
from zoo.training.predictions import ATTENDED, Predictions, ViewScores, merge
from zoo.training.score_log import clear_scores

TRAINING_FAILURES = "unread.jsonl"


class Told(NamedTuple):
    """What an evaluation leaves.

    Attributes:
        result: the stored result.
        path: its file; None in processes other than the first.
        metrics: measured numbers; those of a part where `reason` says so.
        reason: why there is no headline number; "" where there is one.
        alarm: what to say of trained weights near chance; "" for nothing.
    """

    result: Result
    path: Path | None
    metrics: dict[str, Interval]
    reason: str
    alarm: str


def evaluate(one: Evaluation, *, progress: bool = False, on_step: OnStep | None = None) -> Told:
    """Carry out an evaluation and store its result.

    Args:
        one: what to do.
        progress: show a bar.
        on_step: called with the steps of a training.

    Raises:
        CheckpointError: when weights cannot be used.
        RequestError: for a protocol that cannot be run as asked.
    """
    settings, identity = settings_of(one)
    told, data = carry_out(one, identity, progress=progress, on_step=on_step)
    if told.scores is None:
        raise RequestError(f"protocol {one.request.protocol!r} kept no scores of views")
    predictions = merged(one, told.scores, data)
    unread = each_row_once(predictions.failed)
    repeats = [merged(one, it, data) for it in told.repeats]
    measured = {**over_repeats(repeats, one), **measure(predictions, one)}
    reason = no_headline(one, len(unread))
    alarm = _alarm(one, predictions)
    circumstances = provenance(threads=torch.get_num_threads())
    result = replace(
        begun(identity, settings, circumstances, decoder=one.request.decoder),
        metrics={} if reason else measured,
        n_expected=one.rows,
        n_evaluated=len(predictions.rows),
        failed=[f"{failure.path}: {failure.reason}" for failure in unread],
        curves=told.curves,
        details={
            **told.details,
            **details(one, predictions, measured, reason, alarm),
            **of_training(told, data),
            **of_repeats(repeats, one),
        },
        device=f"{circumstances.device}; {device_words(one.request.hardware)}",
        seconds=told.seconds,
    )
    if not is_first_process():
        return Told(result, None, measured, reason, alarm)
    store = Store(one.request.out)
    result = replace(result, weights=keep_weights(work_folder(one, identity), one.request.out, identity.stem))
    path = store.add(result, {**arrays_of(told.scores, predictions), **arrays_of_repeats(told.repeats)})
    _sweep(work_folder(one, identity))
    return Told(Result.from_json(path.read_text(encoding="utf-8")), path, measured, reason, alarm)


def settings_of(one: Evaluation) -> tuple[dict[str, Any], Identity]:
    """Every setting that shapes the numbers, and the identity of the run."""
    request, trained = one.request, one.request.protocol != AS_IS
    protocol: dict[str, Any] = asdict(protocol_settings(one))
    if request.protocol == "finetune":
        protocol["augment"] = asdict(budget(request.budget).augment)
    settings = plain(
        {
            "protocol": protocol,
            "clip": one.clip.to_dict(),
            "merge": one.rule,
            "metric": one.task.metric,
            "split": one.split,
            "weights": one.network.sha256 or one.network.weights,
            "classes": list(one.found.rows) if one.found and one.found.rows else None,
            **({"limit": request.limit} if request.limit is not None else {}),
        }
    )
    splits = (one.suite.train_split, one.split) if trained else (one.split,)
    hashes = {split: one.videos.split_hash(one.task.name, split) for split in splits}
    identity = Identity(
        kind="evaluate",
        system=request.name,
        init=RANDOM if one.network.weights == RANDOM else f"{WEIGHTS}{(one.network.sha256 or 'released')[:12]}",
        suite=one.suite.name,
        task=one.task.name,
        split_hash=digest(hashes) if trained else hashes[one.split],
        protocol=request.protocol,
        settings_hash=digest(settings),
        seed=request.seed,
    )
    return settings, identity


def protocol_settings(one: Evaluation) -> Any:
    """Settings of the protocol, a dataclass of its own."""
    if one.request.protocol == AS_IS:
        precision = one.request.hardware.precision or "32-true"
        return as_is.Settings(rule=one.rule, question=one.question, precision=precision)
    request = one.request
    name = "attentive" if request.protocol == LOW_SHOT else request.protocol
    chosen = with_rates(budget(request.budget).evaluate[name], name, request.lrs, request.weight_decays)
    if isinstance(chosen, attentive_probe.Settings):
        chosen = replace(chosen, across_segments=one.rule == ATTENDED)
        if request.protocol != LOW_SHOT:
            return chosen
        share = share_of(request.share or USUAL_SHARE)
        return low_shot.settings_for(one.videos.records(one.task.name, one.suite.train_split), share, probe=chosen)
    if isinstance(chosen, finetune.Settings) and one.request.hardware.precision:
        return replace(chosen, recipe=replace(chosen.recipe, precision=one.request.hardware.precision))  # type: ignore[arg-type]  # checked by Lightning
    return chosen


def build(one: Evaluation) -> VideoModel:
    """The network with its weights, its classes in the data set's order."""
    request = one.request
    weights: dict[str, Any] = {"pretrained": request.pretrained, "checkpoint_path": request.checkpoint}
    has_weights = request.pretrained or request.checkpoint is not None
    fresh = request.protocol != AS_IS or not has_weights
    size = one.num_outputs if fresh or (request.checkpoint is not None and not one.network.num_rows) else None
    model = create_model(request.name, num_classes=size, **weights)
    report = model.load_report
    if not fresh and report is not None and any(name.startswith("head.") for name in report.missing):
        raise RequestError(
            f"{request.checkpoint} has no classifier for {one.num_outputs} classes to evaluate as it is; choose a "
            f"protocol that trains one, such as --protocol linear"
        )
    if one.found and one.found.rows:
        keep_classes(model, one.found.rows)
    if model.spec is not None and len(one.classes) == model.num_classes:
        # Whoever reads a file of this model must be able to map its labels by name.
        model.spec = replace(model.spec, label_names=one.classes)
    return model


def carry_out(
    one: Evaluation, identity: Identity, *, progress: bool, on_step: OnStep | None
) -> tuple[Outcome, VideoDataModule]:
    """Run the protocol on the lists of the suite."""
    request, hardware = one.request, one.request.hardware
    trained, settings = request.protocol != AS_IS, protocol_settings(one)
    processes = hardware.devices * hardware.num_nodes
    batch_size = request.batch_size
    if isinstance(settings, finetune.Settings):
        batch_size = share_of_batch(settings.recipe, processes)
    work = work_folder(one, identity)
    if request.protocol == "finetune":
        work.mkdir(parents=True, exist_ok=True)
    data = VideoDataModule(
        spec=one.clip,
        train=one.videos.records(one.task.name, one.suite.train_split) if trained else (),
        test=one.records,
        augment=budget(request.budget).augment if trained else None,
        batch_size=batch_size,
        num_workers=request.workers,
        seed=request.seed,
        cache=one.videos.cache(progress=progress),
        decoder=request.decoder,
        failures=FailurePolicy(
            in_evaluation="report", log=work / TRAINING_FAILURES if request.protocol == "finetune" else None
        ),
    )
    parameters: list[int] = []

    def network() -> VideoModel:
        made = build(one)
        parameters.append(count_parameters(made.backbone))
        return made

    shared: dict[str, Any] = {"seed": request.seed, "run_dir": work, "on_step": on_step, "progress": progress}
    if request.protocol == AS_IS:
        told = as_is.run(network, data, settings, hardware=hardware, **shared)
    elif request.protocol == "finetune":
        told = finetune.run(network, data, settings, hardware=hardware, **shared)
    else:
        run = low_shot.run if request.protocol == LOW_SHOT else PROTOCOLS[request.protocol].run
        shared |= {"accelerator": hardware.accelerator, "features": features_folder(one)}
        told = run(network, data, settings, **shared)
    return replace(told, details={**told.details, "parameters": parameters[0]}), data


def features_folder(one: Evaluation) -> Path:
    """Folder that keeps the features of frozen networks, for all evaluations that share it."""
    return one.request.features or one.request.out / "features"


def share_of_batch(recipe: Recipe, processes: int) -> int:
    """Clips that a process takes at a time.

    Raises:
        RequestError: when the processes cannot share the recipe's batch evenly.
    """
    parts = processes * recipe.accumulate
    if recipe.global_batch % parts:
        raise RequestError(
            f"{processes} processes cannot share a batch of {recipe.global_batch} clips evenly; choose another number "
            f"of --devices"
        )
    return recipe.global_batch // parts


def work_folder(one: Evaluation, identity: Identity) -> Path:
    """Folder for what an unfinished training leaves, from which it goes on."""
    return one.request.out / "work" / identity.stem


def _sweep(work: Path) -> None:
    """Remove what only an unfinished evaluation needs."""
    clear_scores(work)
    with contextlib.suppress(OSError):
        work.rmdir()  # empty where nothing was trained


def of_training(told: Outcome, data: VideoDataModule) -> dict[str, Any]:
    """How many training videos there were, and which of them could not be read, in plain values."""
    if not data.train_records:
        return {}
    failed = {it.path: it.reason for it in told.unread_training} | dict(data.train_failures)
    unread = [f"{path}: {reason}" for path, reason in failed.items()]
    listed = len({record.path for record in data.train_records})
    return {"training_videos": listed, "training_failed": len(unread), "training_unread": unread}


def over_repeats(repeats: list[Predictions], one: Evaluation) -> dict[str, Interval]:
    """The headline metric over the splits of a low-shot protocol; nothing for others."""
    values = _headlines(repeats, one)
    return {f"{one.task.metric}_over_splits": metrics.over_repeats(values)} if values else {}


def of_repeats(repeats: list[Predictions], one: Evaluation) -> dict[str, Any]:
    """The headline metric in each split, their mean and deviation (of a sample, n - 1), in plain values."""
    values = _headlines(repeats, one)
    if len(values) < 2:
        return {}
    told = {"metric": one.task.metric, "each": values, "mean": statistics.mean(values)}
    return {"splits": {**told, "deviation": statistics.stdev(values)}}


def _headlines(repeats: list[Predictions], one: Evaluation) -> list[float]:
    found = (measure(it, one) for it in repeats)
    return [it[one.task.metric].value for it in found if it]


def merged(one: Evaluation, scores: ViewScores, data: VideoDataModule) -> Predictions:
    """One prediction per video, by the rule asked for; all views must be there."""
    views = one.clip.crops * (1 if one.rule == ATTENDED else one.clip.clips)
    return merge(scores, rule=one.rule, num_views=views, windows=data.test_windows)


def measure(predictions: Predictions, one: Evaluation) -> dict[str, Interval]:
    """The numbers of a task's kind, its headline first; none when no video was scored."""
    return numbers(predictions, headline=one.task.metric, per_scene=one.task.videos_per_scene)


def numbers(predictions: Predictions, *, headline: str, per_scene: int = 1) -> dict[str, Interval]:
    """Metrics of predictions.

    Args:
        predictions: merged.
        headline: name of the metric that comes first.
        per_scene: consecutive videos of the list that show one scene.
    """
    if not len(predictions.rows):
        return {}
    if predictions.targets is not None:
        values = predictions.probabilities[:, 0].numpy()[None]
        return {"mse": metrics.squared_error(values.astype(np.float64), predictions.targets.numpy().astype(np.float64))}
    scenes = predictions.rows.numpy() // per_scene if per_scene > 1 else None
    return metrics.of_classes(
        predictions.probabilities.numpy(), predictions.labels.numpy(), headline=headline, scenes=scenes
    )


def no_headline(one: Evaluation, failed: int) -> str:
    """Why the score is no headline number; "" when it is one."""
    if one.rows == failed:
        return "no video could be scored"
    if failed > one.tolerated:
        return f"{failed} of {one.rows} videos could not be scored, and {one.tolerated} are tolerated"
    if one.rows < one.listed:
        return f"only the first {one.rows} of {one.listed} videos were scored (--limit)"
    return ""


def _alarm(one: Evaluation, predictions: Predictions) -> str:
    trained = one.request.pretrained or one.request.checkpoint is not None
    if one.found is None or not trained:
        return ""
    answers = predictions.probabilities.argmax(1).tolist()
    return chance_alarm(answers, predictions.labels.tolist(), one.classes, one.found)


def details(
    one: Evaluation, predictions: Predictions, measured: dict[str, Interval], reason: str, alarm: str
) -> dict[str, Any]:
    """What was counted on the way, and how the number came to be, in plain values."""
    found: dict[str, Any] = {
        "split": one.split,
        "listed": one.listed,
        "known_sizes": one.suite.copies_of(one.task.name, one.split, one.listed),
        "classes": one.found.words if one.found else "",
        "weights": one.network.weights,
        "made_by": one.network.recipe,
        "views": one.request.views,
        "tolerated": one.tolerated,
        "notes": notes_of(one.videos),
        "videos_per_scene": one.task.videos_per_scene,
    }
    if reason:
        found |= {"no_headline": reason, "metrics_of_the_scored": {name: list(it) for name, it in measured.items()}}
    if alarm:
        found["alarm"] = alarm
    if predictions.targets is None and len(predictions.rows):
        labels = predictions.labels.numpy()
        hits = metrics.correct(predictions.probabilities.numpy(), labels)
        name = dict(enumerate(one.classes))
        found["per_class"] = {
            name.get(label, str(label)): [*it, int((labels == label).sum())]
            for label, it in metrics.per_class(hits, labels).items()
        }
    return dict(plain(found))


def arrays_of(scores: ViewScores, predictions: Predictions) -> dict[str, dict[str, np.ndarray]]:
    """Scores of views and predictions of videos as they are stored."""
    return {"views": _columns(scores), "predictions": _columns(predictions)}


def arrays_of_repeats(repeats: tuple[ViewScores, ...]) -> dict[str, dict[str, np.ndarray]]:
    """Scores of views of each split as they are stored."""
    return {f"views_split_{split}": _columns(it) for split, it in enumerate(repeats)}


def _columns(given: ViewScores | Predictions) -> dict[str, np.ndarray]:
    arrays = {name: it.numpy() for name, it in given._asdict().items() if isinstance(it, torch.Tensor)}
    return {name: it if it.dtype == np.float32 else it.astype(np.int32) for name, it in arrays.items()}


def device_words(hardware: Hardware) -> str:
    """Devices of a run, in words."""
    processes = hardware.devices * hardware.num_nodes
    on_gpu = hardware.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return f"{processes} x {torch.cuda.get_device_name() if on_gpu else 'CPU'}"
