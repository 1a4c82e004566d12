"""What protocols share: the model to start from, features of a frozen backbone, the model and outcome to keep."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from backbones.contract import Pool
from benchmarks.protocols.outcome import Outcome
from benchmarks.provenance import Provenance, now
from benchmarks.results import Identity, Result
from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from zoo.batch import Unread
from zoo.card import Classifier
from zoo.checkpoints import save_checkpoint
from zoo.data.cache import decoder_version
from zoo.data.datamodule import VideoDataModule
from zoo.data.loading import Failure, require_few
from zoo.model import VideoModel
from zoo.training.feature_cache import cached_features
from zoo.training.features import FeatureBank, device_of, extract
from zoo.training.log import Row
from zoo.training.predictions import SOFTMAX, ViewScores, merge

MODEL_FILE = "model.safetensors"


class Banks(NamedTuple):
    """Features of the training and the test list."""

    train: FeatureBank
    test: FeatureBank

    def details(self) -> dict[str, float | int | str]:
        """Where the features came from, in plain values."""
        return {
            f"features_{name}": "computed" if bank.read_from is None else f"read from {bank.read_from}"
            for name, bank in self._asdict().items()
        }


def build(model: Callable[[], VideoModel], seed: int) -> VideoModel:
    """The model to start from, with weights that start fresh drawn from the seed; torch's state is kept."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model()


def banks(
    model: VideoModel,
    data: VideoDataModule,
    *,
    pool: Pool | None,
    max_bytes: int,
    accelerator: str,
    layers: Sequence[int] | None = None,
    features: Path | None = None,
    progress: bool = False,
) -> Banks:
    """Features of every view of both lists, without augmentation.

    Videos of the training list that cannot be read are left out and named by its bank, up to the share that the policy
    of `data` allows.

    Args:
        model: only its backbone is used.
        data: training and test clips.
        pool: keep one vector per view; None keeps all tokens.
        max_bytes: largest bank in memory.
        accelerator: where to compute, in Lightning's words.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.
        features: folder that keeps features on disk, see `zoo.training.feature_cache`; None keeps them in memory.
        progress: show bars, for features on disk.

    Raises:
        UnreadableVideoError: when too many training videos cannot be read.
    """
    listed, limit = len(data.train_records), data.policy.limit

    def few(failed: Sequence[Unread]) -> None:
        once = {it.path: it.reason for it in failed}
        require_few([Failure(*it) for it in once.items()], listed=listed, limit=limit)

    found = []
    for records, check in ((data.train_records, few), (data.test_records, None)):
        options: dict[str, Any] = {"pool": pool, "device": device_of(accelerator), "layers": layers, "check": check}
        found.append(
            extract(model.backbone, data.eval_dataloader(records), max_bytes=max_bytes, **options)
            if features is None
            else cached_features(model, data, records, features, progress=progress, **options)
        )
    return Banks(*found)


class Fitted(NamedTuple):
    """A head trained on a bank.

    Attributes:
        model: the backbone with the head; None where no model could look at what the head saw.
        scores: of every view of the test list.
        curves: of the training.
        details: what was chosen.
        rule: how views are merged.
        num_views: views per record; None for all clips and crops of the data module's spec.
    """

    model: VideoModel | None
    scores: ViewScores
    curves: list[Row]
    details: dict[str, float | int | str]
    rule: str = SOFTMAX
    num_views: int | None = None


def outcome_of(found: Fitted, data: VideoDataModule, source: Banks, *, seconds: float) -> Outcome:
    """A fitted head's scores of the test list as an outcome."""
    made = outcome(
        found.scores,
        data,
        rule=found.rule,
        num_views=found.num_views,
        curves=found.curves,
        seconds=seconds,
        details={**found.details, **source.details()},
    )
    return replace(made, unread_training=source.train.failed)


def keep_model(model: VideoModel, data: VideoDataModule, run_dir: Path) -> None:
    """Write the trained model to `model.safetensors`, for `zoo predict`, if it says how it was made."""
    if model.spec is not None:
        save_checkpoint(model, run_dir / MODEL_FILE, clip=data.spec)


def with_head(model: VideoModel, head: LinearHead | AttentiveHead, form: Classifier) -> VideoModel:
    """The backbone with another head.

    Args:
        model: where the backbone comes from.
        head: the head.
        form: its description; the options of the backbone are kept.
    """
    if model.spec is None:
        return VideoModel(model.backbone, head)
    form = replace(form, options=model.spec.classifier.options)
    return VideoModel(model.backbone, head, replace(model.spec, classifier=form))


def outcome(
    scores: ViewScores,
    data: VideoDataModule,
    *,
    rule: str = SOFTMAX,
    num_views: int | None = None,
    curves: list[Row],
    seconds: float,
    details: dict[str, float | int | str],
) -> Outcome:
    """Scores of views as an outcome; all views of the test list must be there, each once.

    Args:
        scores: of every view.
        data: the test list.
        rule: how views are merged.
        num_views: views per record; None for all clips and crops of the data module's spec.
        curves: logged steps of a training.
        seconds: of training and evaluation.
        details: what was chosen and counted.
    """
    views = num_views if num_views is not None else data.spec.clips * data.spec.crops
    predictions = merge(scores, rule=rule, num_views=views, windows=data.test_windows)
    return Outcome(
        probabilities=predictions.probabilities,
        labels=predictions.labels,
        rows=predictions.rows,
        targets=predictions.targets,
        expected=len(data.test_windows),
        unread=predictions.failed,
        scores=scores,
        curves=curves,
        seconds=seconds,
        details=details,
    )


def begun(identity: Identity, settings: dict[str, Any], told: Provenance, *, decoder: str) -> Result:
    """A result with the circumstances of a run and nothing measured yet.

    Args:
        identity: what is run.
        settings: every setting behind it.
        told: the circumstances.
        decoder: which reads the clips.
    """
    return Result(
        identity=identity,
        settings=settings,
        metrics={},
        device=told.device,
        versions=told.versions,
        decoder=decoder_version(decoder),
        commit=told.commit,
        command=told.command,
        created=now(),
    )


def keep_weights(run_dir: Path, folder: Path, stem: str) -> str:
    """Move a trained model out of the folder of its run; "" where the protocol left none.

    Args:
        run_dir: folder of the run.
        folder: of the results; the model goes to its `weights`.
        stem: name of the file.

    Returns:
        The file, relative to `folder`.
    """
    made = run_dir / MODEL_FILE
    if not made.exists():
        return ""
    kept = folder / "weights" / f"{stem}.safetensors"
    kept.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, kept)
    return kept.relative_to(folder).as_posix()
