"""Lists of videos to batches: the one data module for pretraining, training and evaluation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytorch_lightning as lightning
from torch.utils.data import DataLoader

from zoo.batch import Batch
from zoo.card import ClipSpec
from zoo.data.cache import FrameCache
from zoo.data.loading import (
    EachOnce,
    EndlessBatches,
    EvalClips,
    Failure,
    FailureLog,
    Reader,
    TrainClips,
    refuse,
    split_failures,
)
from zoo.data.records import Record
from zoo.data.transforms import Augment
from zoo.data.workers import WatchedLoader

# A worker that is at one video for so long is stuck: reading one ends by itself after 120 s (`Limits.seconds`).
WORKER_TIMEOUT_S = 300.0


@dataclass(frozen=True, kw_only=True)
class FailurePolicy:
    """What happens to videos that cannot be read.

    Attributes:
        limit: share of the training list that may fail before training stops; failed clips are replaced meanwhile.
        in_evaluation: "raise" stops at the first; "report" goes on without it and hands it on as `Batch.failed`, so
            that scored + failed = listed. Never replaced either way.
        log: file that keeps the failures of training, for resumed runs; a temporary one when None. Failures of all
            processes that see this file are counted together: on several machines, name one on a shared disk.
    """

    limit: float = 0.01
    in_evaluation: Literal["raise", "report"] = "raise"
    log: Path | None = None


class VideoDataModule(lightning.LightningDataModule):
    """Clips of listed videos, as `Batch`.

    Training is an endless stream that starts at the trainer's step, so a resumed run sees what the uninterrupted one
    would have. Evaluation goes through a list once, in order, with all views of a video in one batch; over several
    processes no video is padded or doubled. Run it with `use_distributed_sampler=False`.

    Args:
        spec: frames, size, normalisation and evaluation views of the network.
        train: training list; labels may be -1 for pretraining.
        val: validation list.
        test: test list.
        augment: what varies between training clips.
        batch_size: training videos per process and step, and evaluation clips per process and step (rounded down to
            whole videos, at least one).
        num_workers: loading processes; 0 loads in the training process, which is faster for small cached videos.
        seed: of order, frames and crops of training.
        repeats: clips cut from each reading of a training video.
        cache: decoded videos; files are read when None.
        decoder: backend for files.
        failures: what happens to videos that cannot be read.
        worker_timeout_s: longest time that a loading process may spend on one video before the run ends, in seconds.

    Attributes:
        scored: batches of the test list that an interrupted evaluation scored; set by `zoo.training.fit.evaluate`.

    Raises:
        ValueError: for sizes and times that are not positive, or flips that the spec forbids.
    """

    def __init__(
        self,
        *,
        spec: ClipSpec,
        train: Sequence[Record] = (),
        val: Sequence[Record] = (),
        test: Sequence[Record] = (),
        augment: Augment | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        repeats: int = 1,
        cache: FrameCache | None = None,
        decoder: str = "pyav",
        failures: FailurePolicy | None = None,
        worker_timeout_s: float = WORKER_TIMEOUT_S,
    ) -> None:
        super().__init__()
        if batch_size < 1 or repeats < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size and repeats must be at least 1 and num_workers at least 0, got {batch_size}, {repeats}, "
                f"{num_workers}"
            )
        if worker_timeout_s <= 0:
            raise ValueError(f"worker_timeout_s must be positive, got {worker_timeout_s}")
        self.spec, self.augment, self.seed, self.repeats = spec, augment or Augment(), seed, repeats
        self.augment.check(spec)
        self.train_records, self.val_records, self.test_records = list(train), list(val), list(test)
        self.batch_size, self.num_workers, self.worker_timeout_s = batch_size, num_workers, worker_timeout_s
        self.reader = Reader(cache, decoder)
        self.policy = failures or FailurePolicy()
        self.log = FailureLog(len(self.train_records), limit=self.policy.limit, file=self.policy.log)
        self.scored: frozenset[int] = frozenset()

    @property
    def train_failures(self) -> list[Failure]:
        """Training videos that could not be read so far, each once."""
        return self.log.failures

    @property
    def test_windows(self) -> Counter[int]:
        """Row -> number of its records in the test list; more than one are windows of a long video."""
        return Counter(record.row for record in self.test_records)

    def setup(self, stage: str) -> None:
        """Let all processes of a run count their failures in one file; Lightning calls this in each of them."""
        if self.trainer and self.trainer.world_size > 1 and self.policy.log is None:
            self.log.file = Path(self.trainer.strategy.broadcast(str(self.log.file)))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Endless training batches from the trainer's step on.

        Raises:
            ValueError: without a training list.
        """
        if not self.train_records:
            raise ValueError("this data module has no training list; pass train=")
        clips = TrainClips(
            records=self.train_records,
            spec=self.spec,
            augment=self.augment,
            reader=self.reader,
            log=self.log,
            seed=self.seed,
            repeats=self.repeats,
        )
        rank, world = self._process()
        batches = EndlessBatches(
            length=len(clips), batch_size=self.batch_size, seed=self.seed, start=self._step(), rank=rank, world=world
        )
        return self._loader(clips, batch_sampler=batches)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All views of the validation list."""
        return self.eval_dataloader(self.val_records)

    def test_dataloader(self) -> DataLoader[Batch]:
        """All views of the test list."""
        return self.eval_dataloader(self.test_records, done=self.scored)

    def eval_dataloader(self, records: Sequence[Record], *, done: frozenset[int] = frozenset()) -> DataLoader[Batch]:
        """All views of any list, without augmentation, in order; features of the training list come from here.

        Args:
            records: the list.
            done: numbers of batches to leave out, see `EachOnce`.

        Raises:
            ValueError: for an empty list.
            ValueError: likewise for a list shorter than the number of processes.
            UnreadableVideoError: for videos that the cache knows to be unreadable, unless the policy reports them.
        """
        if not records:
            raise ValueError("nothing to evaluate: the list is empty")
        report = self.policy.in_evaluation == "report"
        if not report:
            refuse(split_failures(records, self.reader.cache)[1])
        rank, world = self._process()
        videos = max(1, self.batch_size // (self.spec.clips * self.spec.crops))
        batches = EachOnce(length=len(records), batch_size=videos, rank=rank, world=world, done=done)
        clips = EvalClips(records=records, spec=self.spec, reader=self.reader, report=report)
        return self._loader(clips, batch_sampler=batches)

    def _loader(self, clips: TrainClips | EvalClips, *, batch_sampler: EndlessBatches | EachOnce) -> DataLoader[Batch]:
        return WatchedLoader(
            clips, batch_sampler, num_workers=self.num_workers, timeout_s=self.worker_timeout_s, seed=self.seed
        )

    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _step(self) -> int:
        return self.trainer.global_step * self.trainer.accumulate_grad_batches if self.trainer else 0
