"""What UCF101 and HMDB51 have in common: three official splits, each a task of its own."""

from benchmarks.suite import Task

NUMBERS = (1, 2, 3)
QUIRK = "Papers print the mean over the three splits, or split 1 alone: say which."


def tasks_of(num_classes: int) -> tuple[Task, ...]:
    """A task per split.

    Args:
        num_classes: of the suite.
    """
    return tuple(
        Task(
            name=f"split{number}",
            question=f"Which of {num_classes} actions does the clip show? Split {number} of 3.",
            num_outputs=num_classes,
            sampling=None,
            clips=None,
            crops=None,
        )
        for number in NUMBERS
    )
