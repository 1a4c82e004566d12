"""A suite of small video files, as an official data set would lie in a folder: 20 test and 12 training videos."""

import numpy as np

from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task
from zoo.data.encode import write_video
from zoo.data.records import Record, Span

SIDE, FRAMES, TEST, TRAIN = 24, 8, 20, 12
NAMES = ("dark", "light")


def write_files(folder):
    """The videos: dark ones and light ones by turns."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(0)
    for row in range(TEST + TRAIN):
        frames = numbers.integers(20, 80, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8) + np.uint8(120 * (row % 2))
        write_video(folder / f"{row}.mp4", frames, fps=8, options={"g": "1", "qp": "1"})
    return folder


def prepare(root, progress):
    def records(rows, target=False):
        return [
            Record(root / f"{row}.mp4", -1 if target else row % 2, place, target=row % 2 + 0.5 if target else None)
            for place, row in enumerate(rows)
        ]

    halves = [Span(0, 3, "frames"), Span(4, 7, "frames")]
    test, train = range(TEST), range(TEST, TEST + TRAIN)
    # The first three videos come in two parts each.
    parts = [
        Record(root / f"{row}.mp4", row % 2, row, span) for row in test for span in (halves if row < 3 else [None])
    ]
    return ListedVideos(
        folder=root,
        lists={
            ("shade", "test"): records(test),
            ("shade", "train"): records(train),
            ("level", "test"): records(test, target=True),
            ("level", "train"): records(train, target=True),
            ("parts", "test"): parts,
            ("parts", "train"): records(train),
        },
        names={"shade": NAMES, "level": (), "parts": ("light", "dark")},
    )


SUITE = Suite(
    name="tiny_files",
    description="Dark and light videos.",
    tasks=(
        Task(name="shade", question="How bright?", classes=NAMES),
        Task(name="level", question="How bright, as a number?", num_outputs=1, metric="mse", clips=2),
        Task(name="parts", question="How bright?", num_outputs=2, metric="mean_class", clips=2, crops=None),
    ),
    splits=("train", "test"),
    test_split="test",
    licence="",
    source="",
    quirks=("Half of the videos are dark.",),
    prepare=prepare,
    sizes={"ours": {"test": TEST}, "another copy": {"test": 7}},
)
