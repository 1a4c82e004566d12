"""Low-shot probes: a head on 5, 10 or 50 % of the training videos, on three random splits of each size.

From V-JEPA (arXiv 2404.08471, section 5 and table 7; spec-vjepa section 4.4): the shares, three splits, a frozen
backbone, mean and deviation over the splits; the paper counts about 29, 58 and 287 videos per class of Kinetics-400.
From here, because neither the splits nor the code that drew them were released: every class keeps the same share of its
videos, at least one; the seed of the draw; and that a head's learning rate is chosen on held-out videos of its split.
"""

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.protocols import attentive_probe, linear_probe
from benchmarks.protocols.common import Banks, Fitted, banks, build, keep_model, outcome_of
from benchmarks.protocols.outcome import Outcome
from benchmarks.results import digest
from zoo.data.datamodule import VideoDataModule
from zoo.data.records import Record
from zoo.model import VideoModel
from zoo.seeds import seed_of
from zoo.training.features import FeatureBank, device_of
from zoo.training.log import OnStep

SHARES = (0.05, 0.1, 0.5)
SPLITS = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What shapes the numbers; `settings_for` draws the subsets of a list.

    Attributes:
        share: share of the training videos that a head sees.
        subsets: hash of the rows of each split; its place is its seed.
        probe: the head and how it is trained, attentive as published or linear.
    """

    share: float
    subsets: tuple[str, ...]
    probe: attentive_probe.Settings | linear_probe.Settings = field(default_factory=attentive_probe.Settings)

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"the share of the training videos must lie in (0, 1], got {self.share}")
        if not self.subsets:
            raise ValueError("at least one split is needed; settings_for draws them")


def settings_for(
    records: Sequence[Record],
    share: float,
    *,
    probe: attentive_probe.Settings | linear_probe.Settings | None = None,
    splits: int = SPLITS,
) -> Settings:
    """Settings for a training list.

    Args:
        records: the training list.
        share: share of its videos; published are `SHARES`.
        probe: the head and how it is trained; V-JEPA's attentive probe when None.
        splits: number of splits.
    """
    hashes = tuple(_hash(subset(records, share, split=split)) for split in range(splits))
    return Settings(share=share, subsets=hashes, probe=probe or attentive_probe.Settings())


def subset(records: Sequence[Record], share: float, *, split: int) -> list[int]:
    """Rows of a split, ascending: of each class its share, rounded, at least one; the same on every machine.

    Args:
        records: the training list; the records of a row, windows of one video, stay together.
        share: share of the videos of each class.
        split: number of the split.

    Raises:
        ValueError: for a list without classes.
    """
    if any(record.label < 0 or record.target is not None for record in records):
        raise ValueError("low-shot splits keep a share of each class; this list has records without a class")
    classes: dict[int, set[int]] = {}
    for record in records:
        classes.setdefault(record.label, set()).add(record.row)
    chosen: list[int] = []
    for label, members in sorted(classes.items()):
        rows = sorted(members)
        generator = torch.Generator().manual_seed(seed_of("low-shot", f"{share:g}", split, label))
        order = torch.randperm(len(rows), generator=generator).tolist()
        chosen += [rows[place] for place in order[: max(1, round(share * len(rows)))]]
    return sorted(chosen)


def run(
    model: Callable[[], VideoModel],
    data: VideoDataModule,
    settings: Settings,
    *,
    seed: int,
    run_dir: Path,
    on_step: OnStep | None = None,
    accelerator: str = "auto",
    features: Path | None = None,
    progress: bool = False,
) -> Outcome:
    """Train a head on each split, predict the test list with each.

    The outcome is that of the split with the median accuracy, so that its intervals and paired tests are those of one
    head; `details` has the accuracy of each split, their mean and their deviation (of a sample, n - 1), and `repeats`
    the scores of each.

    Args:
        model: builds the model whose backbone is probed; its head only says how many classes there are.
        data: training and test clips.
        settings: what shapes the numbers, made for this training list.
        seed: of weights that start fresh, order and held-out videos; the same for every split.
        run_dir: folder for the model of the median split.
        on_step: called with the step and its values, anew in each split.
        accelerator: where features are computed, in Lightning's words.
        features: folder that keeps features of the whole list on disk, for all shares; None keeps those of the splits
            in memory.
        progress: show bars.

    Raises:
        ValueError: for settings that were made for another list.
    """
    start, whole = time.perf_counter(), build(model, seed)
    chosen = [subset(data.train_records, settings.share, split=split) for split in range(len(settings.subsets))]
    if tuple(map(_hash, chosen)) != settings.subsets:
        raise ValueError("these settings were made for another training list; make them anew with settings_for")
    source = _features(whole, data, settings, chosen, accelerator=accelerator, features=features, progress=progress)
    parts = [source._replace(train=_of(source.train, rows)) for rows in chosen]
    options: dict[str, Any] = {"seed": seed, "on_step": on_step, "progress": progress, "device": device_of(accelerator)}
    found = [_fit(whole, part, settings, data, options) for part in parts]
    outcomes = [outcome_of(it, data, source, seconds=time.perf_counter() - start) for it in found]
    accuracies = [it.accuracy for it in outcomes]
    middle = accuracies.index(statistics.median_low(accuracies))
    if (kept := found[middle].model) is not None:
        keep_model(kept, data, run_dir)
    told = outcomes[middle]
    return replace(
        told,
        seconds=time.perf_counter() - start,
        repeats=tuple(it.scores for it in found),
        details={**told.details, **_details(accuracies, chosen, settings)},
    )


def _features(
    whole: VideoModel,
    data: VideoDataModule,
    settings: Settings,
    chosen: Sequence[Sequence[int]],
    *,
    accelerator: str,
    features: Path | None,
    progress: bool,
) -> Banks:
    """Features of all videos that a split needs, and of the test list."""
    needed = copy.copy(data)
    if features is None:
        used = set().union(*chosen)
        needed.train_records = [record for record in data.train_records if record.row in used]
    pooled = isinstance(settings.probe, linear_probe.Settings)
    return banks(
        whole,
        needed,
        pool=whole.pool if pooled else None,
        max_bytes=settings.probe.max_bytes,
        accelerator=accelerator,
        layers=None if isinstance(settings.probe, linear_probe.Settings) else settings.probe.layers,
        features=features,
        progress=progress,
    )


def _details(
    accuracies: Sequence[float], chosen: Sequence[Sequence[int]], settings: Settings
) -> dict[str, float | int | str]:
    """What is told of the splits."""
    return {
        "accuracy_mean": statistics.mean(accuracies),
        "accuracy_deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0,
        **{f"accuracy_split_{split}": accuracy for split, accuracy in enumerate(accuracies)},
        **{f"videos_split_{split}": len(rows) for split, rows in enumerate(chosen)},
        "share": settings.share,
    }


def _fit(
    whole: VideoModel, source: Banks, settings: Settings, data: VideoDataModule, options: Mapping[str, Any]
) -> Fitted:
    """The head trained on a split; options are those that both kinds of heads take."""
    if isinstance(settings.probe, linear_probe.Settings):
        return linear_probe.fit(whole, source.train, source.test, settings.probe, **options)
    return attentive_probe.fit(whole, source, settings.probe, spec=data.spec, **options)


def _of(bank: FeatureBank, rows: Sequence[int]) -> FeatureBank:
    return bank.select(torch.isin(bank.rows, torch.tensor(rows)).nonzero()[:, 0])


def _hash(rows: Sequence[int]) -> str:
    return digest(list(rows))
