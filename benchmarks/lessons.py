"""What pretraining, teachers, and objectives that learn from labels are trained on."""

from functools import cached_property
from pathlib import Path

from benchmarks.objectives import STILLS
from benchmarks.suite import Suite, Videos
from zoo.data.records import Record


class Lessons:
    """Training clips of several tasks as one list.

    A training video of one task may be a test video of another, as in the three splits of UCF101 and HMDB51. What is
    trained once for all tasks sees no video of any test list.
    """

    def __init__(self, suite: Suite, videos: Videos) -> None:
        """Take a suite and its videos on this machine."""
        self.suite = suite
        self.videos = videos

    @cached_property
    def left_out(self) -> frozenset[Path]:
        """Files that are in a training list and in a test list."""
        files = {
            split: {record.path for task in self.suite.tasks for record in self.videos.records(task.name, split)}
            for split in (self.suite.train_split, self.suite.test_split)
        }
        return frozenset(files[self.suite.train_split] & files[self.suite.test_split])

    def note(self) -> str:
        """What is to be said of the files that are left out; nothing where there are none."""
        if not self.left_out:
            return ""
        return (
            f"{len(self.left_out):,} training videos are also in a test list (as a rule of another task); pretraining "
            "and teachers, which serve all tasks, do not see them."
        )

    def unlabelled(self) -> list[Record]:
        """Clips for pretraining, without labels.

        Raises:
            ValueError: if every training video is also in a test list.
        """
        return self._kept(self.videos.pretraining())

    def of(self, split: str, lessons: str) -> list[Record]:
        """The clips of a split: those of the first task for "stills", those of all tasks for "everything".

        Classes of a task come after those of the tasks before it.

        Raises:
            ValueError: if every training video is also in a test list.
        """
        tasks = self.suite.tasks[:1] if lessons == STILLS else self.suite.tasks
        found: list[Record] = []
        offset = 0
        for task in tasks:
            for record in self.videos.records(task.name, split):
                found.append(record._replace(label=record.label + offset, row=len(found)))
            offset += task.num_classes
        return self._kept(found) if split == self.suite.train_split else found

    def _kept(self, records: list[Record]) -> list[Record]:
        if not self.left_out:
            return records
        kept = [record for record in records if record.path not in self.left_out]
        if records and not kept:
            raise ValueError(f"{self.suite.name}: every training video is also in a test list; nothing to pretrain on")
        return [record._replace(row=row) for row, record in enumerate(kept)]
