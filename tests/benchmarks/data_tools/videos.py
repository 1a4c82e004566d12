"""A folder of tiny videos and their lists, for the tests of `zoo data`."""

from pathlib import Path

import numpy as np

from benchmarks import processes
from benchmarks.data_tools import pool
from benchmarks.data_tools.listing import Listing
from benchmarks.listed import ListedVideos
from benchmarks.suite import Suite, Task
from tests.zoo.data.clips import pictures, write_set
from zoo.data.encode import write_video
from zoo.data.records import Record, read_list

# Other tests of the same run need the other imports in the server that starts processes, and there is one server.
pool.PRELOADED = processes.PRELOADED


def folder_of(base: Path, *, count: int = 4, broken: tuple[int, ...] = ()) -> tuple[Path, Path]:
    """Folder of so many videos of 8 frames, some of them broken, and a list of them with labels 0, 1, 2, 0, ..."""
    root = base / "root"
    root.mkdir()
    write_set(root, (8,) * count)
    for number in broken:
        (root / f"{number}.mp4").write_bytes(b"this is no video")
    file = base / "train.csv"
    file.write_text("".join(f"{number}.mp4,{number % 3}\n" for number in range(count)))
    return root, file


def listed(root: Path, file: Path) -> Listing:
    """The listing of one plain list."""
    return Listing(
        name=file.stem, root=root, lists={("", file.stem): read_list(file, root=root, must_exist=False)}, files=(file,)
    )


def odd_video(path: Path, *, frames: int = 8, height: int = 48, width: int = 64) -> Path:
    """A larger video in the container that the ending says."""
    codec, options = ("mpeg4", {}) if path.suffix == ".avi" else ("libx264", {"bf": "0"})
    shape = (frames, height, width, 3)
    write_video(path, np.resize(pictures(1, frames), shape), fps=8, codec=codec, options=options)
    return path


def toy_suite(folder: Path) -> Suite:
    """A suite whose lists are read from the folder: train.txt and test.txt, `name label`, names without ending too."""
    task = Task(name="what", question="Which?", classes=("a", "b", "c", "d"))
    return Suite(
        name="toy",
        description="",
        tasks=(task, Task(name="how", question="How much?", num_outputs=1, metric="mse")),
        splits=("train", "test"),
        test_split="test",
        licence="",
        source="",
        quirks=(),
        prepare=lambda root, progress: toy_videos(root or folder),
        sizes={"ours": {"train": 3, "test": 9}, "theirs": {"what/train": 5}},
    )


def toy_videos(root: Path) -> ListedVideos:
    lists = {
        ("what", split): read_list(root / f"{split}.txt", root=root, must_exist=False)
        for split in ("train", "test")
        if (root / f"{split}.txt").exists()
    }
    targets = [0.5, 2.5, 1.0]
    lists["how", "train"] = [
        Record(record.path, -1, record.row, target=target)
        for record, target in zip(lists.get(("what", "train"), ()), targets, strict=False)
    ]
    return ListedVideos(folder=root, lists=lists, names={"what": ("a", "b", "c", "d"), "how": ()})
