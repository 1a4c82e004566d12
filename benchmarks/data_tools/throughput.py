"""Clips per second that the loader of `VideoDataModule` delivers, per decoder and number of worker processes."""

import contextlib
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.data_tools.options import DataError
from zoo.card import ClipSpec
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.data.decode import DECODERS
from zoo.data.records import Record

Clock = Callable[[], float]


class Setting(NamedTuple):
    """How clips are loaded."""

    decoder: str
    workers: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is timed.

    Attributes:
        spec: clips of the network, with the suite's sampling.
        decoders: backends.
        workers: numbers of worker processes; 0 loads in this process.
        batch_size: clips of a batch.
        clips: clips of a timing, rounded up to whole batches.
        rounds: timings of each setting.
        evaluation: time all views of the videos, as in evaluation, in place of random training clips.
    """

    spec: ClipSpec
    decoders: tuple[str, ...]
    workers: tuple[int, ...]
    batch_size: int = 8
    clips: int = 64
    rounds: int = 3
    evaluation: bool = False

    @property
    def settings(self) -> list[Setting]:
        """Every decoder with every number of workers."""
        return [Setting(decoder, workers) for workers in self.workers for decoder in self.decoders]


class Speed(NamedTuple):
    """Clips per second of a setting.

    Attributes:
        setting: how clips were loaded.
        median: over rounds; 0 where there are none.
        low: of the slowest round.
        high: of the fastest round.
        rounds: each round's.
        failures: videos that could not be read, of which clips of others took the place.
        error: why the setting could not be timed, empty where it could.
    """

    setting: Setting
    median: float
    low: float
    high: float
    rounds: tuple[float, ...]
    failures: int = 0
    error: str = ""


def installed(asked: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The decoders that can be used here, and why others cannot.

    Args:
        asked: names; all decoders where there are none, and then a missing one is no error.

    Raises:
        DataError: for an unknown decoder, or one that was asked for and is missing.
    """
    for name in asked:
        if name not in DECODERS:
            raise DataError(f"unknown decoder {name!r}; known: {', '.join(DECODERS)}")
    found, why = [], ""
    for name in asked or DECODERS:
        try:
            _load(name)
            found.append(name)
        except ImportError as error:
            if asked:
                raise DataError(str(error)) from None
            why = str(error)
    return tuple(found), why


def _load(name: str) -> None:
    """Raise ImportError where a decoder cannot be used."""
    if name == "decord":
        from zoo.data import decode_decord

        decode_decord.check_available()


def measure(
    records: Sequence[Record], plan: Plan, *, tell: Callable[[int, int], None], clock: Clock = time.perf_counter
) -> list[Speed]:
    """Time every setting once a round, in turns that change direction, so that a noisy machine disturbs all alike.

    Args:
        records: videos that clips are taken from.
        plan: what is timed.
        tell: told how many timings are done, of how many.
        clock: seconds.
    """
    seconds: dict[Setting, list[float]] = {setting: [] for setting in plan.settings}
    failures = dict.fromkeys(plan.settings, 0)
    errors: dict[Setting, str] = {}
    total = plan.rounds * len(plan.settings)
    for turn in range(plan.rounds):
        for place, setting in enumerate(plan.settings[:: 1 if turn % 2 == 0 else -1]):
            tell(turn * len(plan.settings) + place, total)
            if setting in errors:
                continue
            try:
                speed, failed = _time(records, plan, setting, seed=turn, clock=clock)
            except RuntimeError as error:
                # Too many unreadable videos, or a worker that died: the other settings may well do.
                errors[setting] = str(error).strip().splitlines()[-1]
                continue
            seconds[setting].append(speed)
            failures[setting] = max(failures[setting], failed)
    tell(total, total)
    return [_speed(setting, seconds[setting], failures[setting], errors.get(setting, "")) for setting in plan.settings]


def _speed(setting: Setting, rounds: Sequence[float], failures: int, error: str) -> Speed:
    if not rounds:
        return Speed(setting, 0.0, 0.0, 0.0, (), failures, error)
    return Speed(setting, statistics.median(rounds), min(rounds), max(rounds), tuple(rounds), failures, error)


def _time(records: Sequence[Record], plan: Plan, setting: Setting, *, seed: int, clock: Clock) -> tuple[float, int]:
    """Clips per second of one timing, and the videos that failed in it.

    The first batches are not timed: they start the workers. As nobody computes on the clips, they are taken as they
    come, and none wait in a queue when the time begins.
    """
    module = VideoDataModule(
        spec=plan.spec,
        train=records,
        batch_size=plan.batch_size,
        num_workers=setting.workers,
        seed=seed,
        decoder=setting.decoder,
        failures=FailurePolicy(limit=0.5),
    )
    with contextlib.closing(_batches(module, records, plan)) as batches:
        for _ in range(max(plan.workers) + 1):
            next(batches)
        done, began = 0, clock()
        while done < plan.clips:
            done += next(batches)
        taken = clock() - began
    return done / taken, len(module.train_failures)


def _batches(module: VideoDataModule, records: Sequence[Record], plan: Plan) -> Generator[int, None, None]:
    """Number of clips of each batch, without end."""
    if not plan.evaluation:
        for batch in module.train_dataloader():
            yield len(batch.video)
    while plan.evaluation:
        for batch in module.eval_dataloader(records):
            yield len(batch.video)
