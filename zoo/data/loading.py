"""Datasets and samplers behind the data module: which clip of which video comes when, and what happens to bad files.

A training clip is a function of (seed, epoch, video) and an evaluation clip of the video alone. Neither the number of
workers, nor the number of processes that share an evaluation, nor an interruption changes what is seen.
"""

import json
import os
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from zoo.batch import Batch, Unread
from zoo.card import ClipSpec
from zoo.data.cache import FrameCache
from zoo.data.decode import DecodeError, probe, read_frames
from zoo.data.records import Record, Span
from zoo.data.sampling import eval_index, train_index
from zoo.data.transforms import Augment, eval_clips, train_clip
from zoo.seeds import seed_of

# A training clip of an unreadable video is replaced by one of another video, which may be unreadable too.
MAX_REPLACEMENTS = 100

Place = tuple[int, int]


class UnreadableVideoError(RuntimeError):
    """Videos that should have been read and could not be; the message names them. One string, to survive a worker."""


class Failure(NamedTuple):
    """A video that could not be read."""

    path: str
    reason: str


class Sample(NamedTuple):
    """All clips that one reading of a video gives; none where it failed.

    Attributes:
        clips: normalised clips.
        label: class of the video.
        row: its row.
        target: what a regression should give.
        view: number of the first clip among the views of the row.
        failed: why there are no clips; None where there are.
    """

    clips: Float[Tensor, "clips 3 frames height width"]
    label: int
    row: int
    target: float | None = None
    view: int = 0
    failed: Unread | None = None


def collate(samples: Sequence[Sample]) -> Batch:
    """The clips of several videos, in order."""
    counts = torch.tensor([len(sample.clips) for sample in samples])
    return Batch(
        torch.cat([sample.clips for sample in samples]),
        torch.tensor([sample.label for sample in samples]).repeat_interleave(counts),
        torch.tensor([sample.row for sample in samples]).repeat_interleave(counts),
        _targets(samples, counts),
        torch.cat([sample.view + torch.arange(len(sample.clips)) for sample in samples]),
        tuple(sample.failed for sample in samples if sample.failed is not None),
    )


def _targets(samples: Sequence[Sample], counts: Int64[Tensor, "videos"]) -> Float[Tensor, "clips"] | None:
    """Targets per clip; None where no video has one."""
    targets = [sample.target for sample in samples if sample.target is not None]
    if not targets:
        return None
    if len(targets) < len(samples):
        raise ValueError("some videos of a list have a target and some have none; a list has one kind")
    return torch.tensor(targets).repeat_interleave(counts)


@dataclass(frozen=True)
class Reader:
    """Reads the frames that a rule chooses once it knows how many there are.

    Attributes:
        cache: decoded videos; files are opened when None.
        decoder: backend for files.
    """

    cache: FrameCache | None = None
    decoder: str = "pyav"

    def __call__(
        self, path: Path, choose: Callable[[int], Int64[Tensor, "frames"]], span: Span | None = None
    ) -> UInt8[Tensor, "frames height width 3"]:
        """Chosen frames of a video.

        Args:
            path: the video file.
            choose: gives frame numbers, once it knows how many frames there are.
            span: part of the video that counts as the whole; None for all of it.

        Raises:
            DecodeError: the video cannot be read, or has no such part.
        """
        if self.cache is not None:
            indices = _within(path, span, self.cache.num_frames(path), 0.0, choose)
            return torch.from_numpy(self.cache.read(path, indices))
        index = probe(path)
        indices = _within(path, span, index.num_frames, index.fps, choose)
        return torch.from_numpy(read_frames(path, indices, decoder=self.decoder, index=index))


def _within(
    path: Path, span: Span | None, num_frames: int, fps: float, choose: Callable[[int], Int64[Tensor, "frames"]]
) -> list[int]:
    """Numbers of the frames that `choose` takes from a part of a video."""
    if span is None:
        return choose(num_frames).tolist()
    try:
        part = span.frames(num_frames, fps)
    except ValueError as error:
        raise DecodeError(str(path), str(error)) from None
    return (choose(len(part)) + part.start).tolist()


class FailureLog:
    """Videos that training could not read, counted across workers and processes.

    One line per failure is appended to a file in a single write, which is atomic for lines of this length; every
    process counts by reading the file.

    Args:
        listed: number of videos in the list.
        limit: share of the list that may fail.
        file: where failures are kept, so that a resumed run knows them; a temporary file when None.
    """

    def __init__(self, listed: int, *, limit: float, file: Path | None = None) -> None:
        if not 0 <= limit < 1:
            raise ValueError(f"the share of videos that may fail must be in [0, 1), got {limit}")
        self.listed, self.limit = listed, limit
        if file is None:
            handle, name = tempfile.mkstemp(prefix="zoo-failures-", suffix=".jsonl")
            os.close(handle)
            weakref.finalize(self, _remove, name, os.getpid())
            file = Path(name)
        self.file = file

    def __getstate__(self) -> dict[str, object]:
        return {"listed": self.listed, "limit": self.limit, "file": self.file}

    def add(self, error: DecodeError) -> None:
        """Note a failure.

        Raises:
            UnreadableVideoError: more videos failed than allowed.
        """
        line = json.dumps({"path": error.path, "reason": error.reason[:1000]}) + "\n"
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)
        require_few(self.failures, listed=self.listed, limit=self.limit)

    @property
    def failures(self) -> list[Failure]:
        """The videos that failed so far, in the order in which they first did."""
        if not self.file.exists():
            return []
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [Failure(path, reason) for path, reason in {line["path"]: line["reason"] for line in lines}.items()]


def require_few(failures: Sequence[Failure], *, listed: int, limit: float) -> None:
    """Stop a training that lost too many of its videos.

    Args:
        failures: videos of the training list that could not be read, each once.
        listed: number of videos in the list.
        limit: share of the list that may fail.

    Raises:
        UnreadableVideoError: more videos failed than allowed.
    """
    if len(failures) > limit * listed:
        raise UnreadableVideoError(
            f"{len(failures)} of {listed} training videos could not be read, more than the allowed share of {limit:g}: "
            f"{_first_of(failures)}"
        )


def _remove(name: str, pid: int) -> None:
    # A forked worker that ends must not delete its parent's file.
    if os.getpid() == pid:
        Path(name).unlink(missing_ok=True)


def _first_of(failures: Sequence[Failure], count: int = 20) -> str:
    shown = "; ".join(f"{failure.path}: {failure.reason}" for failure in failures[:count])
    return shown + (f"; and {len(failures) - count} more" if len(failures) > count else "")


def split_failures(records: Sequence[Record], cache: FrameCache | None) -> tuple[list[Record], list[Failure]]:
    """Records that can be read, and the failures that the cache already knows."""
    if cache is None:
        return list(records), []
    failures = cache.failures
    known = {record.path: failures.get(os.path.abspath(record.path)) for record in records}
    bad = [Failure(str(path), reason) for path, reason in known.items() if reason]
    return [record for record in records if not known[record.path]], bad


def refuse(failures: Sequence[Failure]) -> None:
    """Stop when there are failures.

    Raises:
        UnreadableVideoError: naming them.
    """
    if failures:
        raise UnreadableVideoError(
            f"{len(failures)} videos of the list cannot be read, and an evaluation never leaves out or replaces any: "
            f"{_first_of(failures)}"
        )


@dataclass(frozen=True, kw_only=True)
class TrainClips(Dataset[Sample]):
    """Random clips; an item is named by (epoch, position in the list).

    Attributes:
        records: the list.
        spec: of the network.
        augment: what may vary.
        reader: where frames come from.
        log: takes the videos that cannot be read; a clip of another video takes their place.
        seed: of all draws.
        repeats: clips cut from each reading of a video (repeated augmentation): other crops of the same frames, or of
            frames of their own if `augment.own_frames`.
    """

    records: Sequence[Record]
    spec: ClipSpec
    augment: Augment
    reader: Reader
    log: FailureLog
    seed: int
    repeats: int = 1

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, place: Place) -> Sample:
        epoch, position = place
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, position))
        for _ in range(MAX_REPLACEMENTS):
            record = self.records[position]
            try:
                frames = self.reader(record.path, lambda length: self._index(length, generator), record.span)
            except DecodeError as error:
                self.log.add(error)
                position = int(torch.randint(len(self.records), (), generator=generator))
                continue
            parts = frames.split(self.spec.num_frames)
            parts = parts if self.augment.own_frames else parts * self.repeats
            clips = [train_clip(part, self.spec, self.augment, generator=generator) for part in parts]
            return Sample(torch.stack(clips), record.label, record.row, record.target)
        raise UnreadableVideoError(
            f"{MAX_REPLACEMENTS} videos in a row could not be read: {_first_of(self.log.failures)}"
        )

    def _index(self, length: int, generator: torch.Generator) -> Int64[Tensor, "frames"]:
        """Frames of all clips that draw their own."""
        draws = self.repeats if self.augment.own_frames else 1
        return torch.cat([train_index(self.spec, length, generator=generator) for _ in range(draws)])


@dataclass(frozen=True, kw_only=True)
class EvalClips(Dataset[Sample]):
    """All views of a video, temporal clips first; the same every time.

    Attributes:
        records: the list.
        spec: of the network, with the numbers of clips and crops.
        reader: where frames come from.
        report: hand on a video that cannot be read as a sample without clips instead of stopping.
    """

    records: Sequence[Record]
    spec: ClipSpec
    reader: Reader
    report: bool = False
    windows: Sequence[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "windows", window_numbers(self.records))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, position: int) -> Sample:
        record, spec = self.records[position], self.spec
        try:
            frames = self.reader(
                record.path,
                lambda length: torch.cat([eval_index(spec, length, clip=clip) for clip in range(spec.clips)]),
                record.span,
            )
        except DecodeError as error:
            return self._failed(record, error)
        clips = [eval_clips(part, spec, crops=spec.crops) for part in frames.split(spec.num_frames)]
        first = self.windows[position] * spec.clips * spec.crops
        return Sample(torch.cat(clips), record.label, record.row, record.target, first)

    def _failed(self, record: Record, error: DecodeError) -> Sample:
        """A sample without clips.

        Raises:
            UnreadableVideoError: unless failures are reported.
        """
        if not self.report:
            refuse([Failure(error.path, error.reason)])
        side = self.spec.img_size
        nothing = torch.empty(0, 3, self.spec.num_frames, side, side)
        # What a list calls the file helps more than the name that a decoder was given, and is always there.
        failed = Unread(record.row, str(record.path), error.reason[:1000])
        return Sample(nothing, record.label, record.row, record.target, failed=failed)


def window_numbers(records: Sequence[Record]) -> list[int]:
    """Number of each record among those of its row, from 0: several are windows of one long video."""
    seen: Counter[int] = Counter()
    numbers = []
    for record in records:
        numbers.append(seen[record.row])
        seen[record.row] += 1
    return numbers


@dataclass(frozen=True, kw_only=True)
class EndlessBatches(Sampler[list[Place]]):
    """Batches of (epoch, position) without end: one shuffled pass over the list after the other.

    Batches cross the border between two passes, so each has the same size. All processes walk one sequence; process
    `rank` of `world` takes its part of each step.

    Attributes:
        length: number of videos.
        batch_size: videos per process and step.
        seed: of the order.
        start: step to begin with; a resumed run goes on where it stopped.
        rank: of this process.
        world: number of processes.
    """

    length: int
    batch_size: int
    seed: int
    start: int = 0
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[Place]]:
        place = (self.start * self.world + self.rank) * self.batch_size
        orders: dict[int, Int64[Tensor, "videos"]] = {}
        while True:
            epochs = range(place // self.length, (place + self.batch_size - 1) // self.length + 1)
            orders = {epoch: orders[epoch] if epoch in orders else self._order(epoch) for epoch in epochs}
            yield [
                (number // self.length, int(orders[number // self.length][number % self.length]))
                for number in range(place, place + self.batch_size)
            ]
            place += self.batch_size * self.world

    def _order(self, epoch: int) -> Int64[Tensor, "videos"]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))
        return torch.randperm(self.length, generator=generator)


@dataclass(frozen=True, kw_only=True)
class EachOnce(Sampler[list[int]]):
    """Batches with every position exactly once over all processes, in order: nothing padded, nothing doubled.

    torch's DistributedSampler pads, which scores some test videos twice. Processes share whole batches, so that each
    holds the same videos however many processes there are, and scores are equal to the last bit.

    Attributes:
        length: number of positions.
        batch_size: positions per batch; fewer where there would be processes without any batch.
        rank: of this process.
        world: number of processes.
        done: numbers of batches to leave out, because an earlier run scored them; every process keeps one at least.
        numbers: number of each batch of this process among those of the whole list.
        batches: their positions.

    Raises:
        ValueError: for more processes than positions.
    """

    length: int
    batch_size: int = 1
    rank: int = 0
    world: int = 1
    done: frozenset[int] = frozenset()
    numbers: list[int] = field(init=False)
    batches: list[list[int]] = field(init=False)

    def __post_init__(self) -> None:
        if self.length < self.world:
            raise ValueError(f"{self.world} processes cannot share {self.length} videos; use at most {self.length}")
        size = min(self.batch_size, self.length // self.world)
        places = list(range(self.length))
        batches = [places[start : start + size] for start in range(0, self.length, size)]
        # A process without batches would not join the others where scores are gathered: it scores one again.
        left = sorted(range(len(batches)), key=lambda number: number in self.done)
        kept = max(self.world, sum(number not in self.done for number in left))
        numbers = sorted(left[:kept])[self.rank :: self.world]
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "batches", [batches[number] for number in numbers])

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
