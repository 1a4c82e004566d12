"""A suite of a few small clips in memory, and a budget of a few steps: a whole comparison in seconds."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.budgets import BUDGETS, Budget
from benchmarks.efficiency import CostPoint
from benchmarks.objectives import Pretraining
from benchmarks.protocols.control import BAG_OF_FRAMES, FIRST_FRAME
from benchmarks.results import digest
from benchmarks.suite import Suite, Task
from zoo.data.cache import Entry, FrameCache
from zoo.data.records import Record
from zoo.recipes.recipe import Recipe

SIDE, FRAMES = 24, 16
VIDEOS = {"train": 24, "test": 16}
TASKS = ("shade", "drift")


def clip(task: str, split: str, row: int) -> np.ndarray:
    """Frames of one video. Of `shade` every frame tells the class, of `drift` only their order does."""
    rng = np.random.default_rng([len(task), len(split), row // 2])
    frames = rng.integers(60, 120, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    if task == "shade":
        return frames + np.uint8(80 * (row % 2))
    frames[np.arange(FRAMES), :, np.arange(FRAMES) + 4] = 255
    return frames if row % 2 == 0 else frames[::-1]


@dataclass(frozen=True)
class TinyVideos:
    """The videos, written as a cache of raw frames."""

    folder: Path
    broken: tuple[str, ...] = ()

    def path(self, task: str, split: str, row: int) -> Path:
        return self.folder / task / f"{split}-{row}.mp4"

    def records(self, task: str, split: str) -> list[Record]:
        return [Record(self.path(task, split, row), row % 2, row) for row in range(VIDEOS[split])]

    def pretraining(self) -> list[Record]:
        paths = [record.path for task in TASKS for record in self.records(task, "train")]
        return [Record(path, -1, row) for row, path in enumerate(paths)]

    def split_hash(self, task: str, split: str) -> str:
        return digest([task, split, VIDEOS[split]])

    def classes(self, task: str) -> tuple[str, ...]:
        return next(it.classes for it in SUITE.tasks if it.name == task)

    def cache(self, *, workers: int | None = None, progress: bool = True) -> FrameCache:
        file, entries, offset = self.folder / "tiny.frames", {}, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as raw:
            for task in TASKS:
                for split in VIDEOS:
                    for record in self.records(task, split):
                        frames = np.ascontiguousarray(clip(task, split, record.row))
                        error = "damaged" if record.path.name in self.broken and split == "test" else ""
                        entries[str(record.path.absolute())] = Entry(offset, frames.shape, error)
                        offset += raw.write(frames.tobytes())
        return FrameCache(file, entries)


def prepare(root: Path | None, progress: bool) -> TinyVideos:
    assert root is not None
    return TinyVideos(root)


SUITE = Suite(
    name="tiny",
    description="Two toy tasks.",
    tasks=(
        Task(name="shade", question="How bright?", classes=("dark", "light"), sampling="segments", flip=False),
        Task(
            name="drift",
            question="Where to?",
            classes=("right", "left"),
            sampling="segments",
            flip=False,
            videos_per_scene=2,
            ceiling=0.5,
            leak_bounds={BAG_OF_FRAMES: 0.5, FIRST_FRAME: 1.0},
        ),
    ),
    splits=("train", "test"),
    test_split="test",
    licence="",
    source="",
    quirks=("Videos 2k and 2k + 1 of drift are one scene in both directions.",),
    prepare=prepare,
    side_px=SIDE,
)
# The first frame of drift does tell the class: without the bound of 1.0 above, this suite leaks.
LEAKING = replace(
    SUITE, tasks=(SUITE.tasks[0], replace(SUITE.tasks[1], leak_bounds={BAG_OF_FRAMES: 0.5, FIRST_FRAME: 0.5}))
)


def _short(chosen: Pretraining, steps: int) -> Pretraining:
    """A few steps of pretraining, and of the teacher or tokenizer where there is one."""
    options = chosen.options
    if chosen.teacher is not None:
        options = replace(options, teacher=replace(chosen.teacher, recipe=_few(chosen.teacher.recipe, steps)))
    if chosen.tokenizer is not None:
        codes = replace(chosen.tokenizer, recipe=_few(chosen.tokenizer.recipe, steps))
        options = replace(options, tokenizer=replace(codes, overrides={"channels": 4}))
    return replace(chosen, recipe=_few(chosen.recipe, steps), options=options)


def _few(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, steps=steps, global_batch=8, warmup_steps=1)


def tiny_budget(steps: int = 3) -> Budget:
    """A few steps of eight clips."""
    smoke = BUDGETS["smoke"]
    finetune = smoke.evaluate["finetune"]
    recipe = _few(finetune.recipe, steps)
    return replace(
        smoke,
        pretrain={name: _short(chosen, steps) for name, chosen in smoke.pretrain.items()},
        evaluate={**smoke.evaluate, "finetune": replace(finetune, recipe=recipe)},
        control=recipe,
        small_suite=False,
    )


def tiny_points(*_: object, **__: object) -> dict[str, list[CostPoint]]:
    """What a cost sweep returns, without measuring anything."""
    points = [CostPoint(frames=frames, gflops=0.1 * frames, clips_per_s=9.0) for frames in (8, 16)]
    return {"vit_pico": points, "timesformer_pico": points}
