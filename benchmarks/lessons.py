"""What teachers, and objectives that learn from labels, are trained on."""

from typing import NamedTuple

from benchmarks.objectives import STILLS
from benchmarks.suite import Suite, Videos
from zoo.data.records import Record


class Lessons(NamedTuple):
    """Labelled clips of several tasks as one list."""

    suite: Suite
    videos: Videos

    def of(self, split: str, lessons: str) -> list[Record]:
        """The clips of a split: those of the first task for "stills", those of all tasks for "everything".

        Classes of a task come after those of the tasks before it.
        """
        tasks = self.suite.tasks[:1] if lessons == STILLS else self.suite.tasks
        found: list[Record] = []
        offset = 0
        for task in tasks:
            for record in self.videos.records(task.name, split):
                found.append(record._replace(label=record.label + offset, row=len(found)))
            offset += task.num_classes
        return found
