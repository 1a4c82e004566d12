"""Results that look like those of a comparison, made of random numbers."""

import atexit
import shutil
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks.metrics import accuracy
from benchmarks.report import Story
from benchmarks.results import Identity, Interval, Result, Store, digest
from benchmarks.suite import Task
from benchmarks.table import tabulate

TASKS = (
    Task(name="appearance", question="Which digit is it?", classes=tuple("0123456789")),
    Task(
        name="motion",
        question="How does it move?",
        classes=("left", "right", "up", "down", "grow", "shrink", "cw", "ccw", "fade in", "fade out"),
        videos_per_scene=2,
        ceiling=0.5,
        leak_bounds={"bag of frames": 0.5},
    ),
    Task(
        name="order",
        question="In which order?",
        classes=("abc", "acb", "bac", "bca", "cab", "cba"),
        ceiling=1 / 6,
        leak_bounds={"bag of frames": 1 / 6},
    ),
)
SKILL = {"appearance": 0.5, "motion": 0.85, "order": 0.6}
VIDEOS = 200


def scored(store: Store, task: Task, system: str, init: str, seed: int, skill: float, *, control: bool) -> None:
    rng = np.random.default_rng([len(system), len(init), seed, len(task.name), int(1000 * skill)])
    labels = np.arange(VIDEOS) % len(task.classes)
    scores = rng.random((VIDEOS, len(task.classes)))
    scores[np.arange(VIDEOS), labels] += np.where(rng.random(VIDEOS) < skill, 1.0, -1.0)
    probabilities = np.exp(2 * scores) / np.exp(2 * scores).sum(1, keepdims=True)
    settings = {
        "protocol": {"steps": 150, "base_lr": 1e-3, "views": {"clips": 1}},
        "clip": {"num_frames": 16},
        "start": init,
    }
    identity = Identity(
        kind="control" if control else "evaluate",
        system=system,
        init=init,
        suite="digits",
        task=task.name,
        split_hash="5eed",
        protocol="finetune",
        settings_hash=digest(settings),
        seed=seed,
    )
    hits = (probabilities.argmax(1) == labels)[None]
    result = Result(
        identity=identity,
        settings=settings,
        metrics={"top1": accuracy(hits)},
        n_expected=VIDEOS,
        n_evaluated=VIDEOS,
        curves=[
            {"step": step, "loss": 2.3 * np.exp(-skill * step / 60) + 0.1 * rng.random()} for step in range(1, 151, 5)
        ],
        details={"parameters": 1000 * len(system)},
        commit="abc123",
        device="a processor, 1 thread per run",
        versions={"torch": "2.15.0"},
        decoder="pyav 18.1.0",
        seconds=12.5,
        command="zoo compare x --suite digits",
    )
    predictions = {"rows": np.arange(VIDEOS, dtype=np.int32), "labels": labels.astype(np.int16)}
    store.add(result, {"predictions": {**predictions, "probabilities": probabilities.astype(np.float32)}})


def pretrained(store: Store, system: str, objective: str, rng: np.random.Generator, explained: float) -> None:
    settings = {"protocol": {"steps": 300, "mask_ratio": 0.75}, "clip": {"num_frames": 16}}
    identity = Identity(
        kind="pretrain",
        system=system,
        init=objective,
        suite="digits",
        task="",
        split_hash="5eed",
        protocol=objective,
        settings_hash=digest(settings),
        seed=0,
    )
    curves = [
        {"step": step, "loss": 1.0 - 0.3 * step / 300 + 0.05 * float(rng.random()), "blank_loss": 1.0}
        for step in range(1, 301, 5)
    ]
    clip = rng.integers(0, 255, (2, 16, 24, 24, 3), dtype=np.uint8)
    result = Result(
        identity=identity,
        settings=settings,
        metrics={"explained": Interval(explained, explained, explained)},
        curves=curves,
        seconds=40.25,
        command="zoo compare",
    )
    store.add(result, {"picture": {"clip": clip, "1 shown": clip // 2, "2 predicted": 255 - clip}})


def cost(store: Store, system: str, power: float) -> None:
    settings = {"protocol": {"img_size": 24, "rounds": 5, "batch_size": 4}}
    identity = Identity(
        kind="cost",
        system=system,
        init="random",
        suite="digits",
        task="",
        split_hash="",
        protocol="costs",
        settings_hash=digest(settings),
        seed=0,
    )
    points = [
        {
            "frames": frames,
            "gflops": 0.00123 * frames**power,
            "uncounted": [],
            "clips_per_s": 4321.0 / frames**power,
            "clips_per_s_low": 4001.0 / frames**power,
            "clips_per_s_high": 4999.0 / frames**power,
            "inference_mib": 0.17 * frames,
            "training_mib": 0.71 * frames if frames < 256 else None,
            "note": "" if frames < 256 else "out of memory (training)",
        }
        for frames in (8, 16, 32, 64, 128, 256)
    ]
    details = {"parameters": 1000 * len(system), "points": points}
    store.add(Result(identity=identity, settings=settings, metrics={}, details=details, command="zoo compare"))


def frames_of(task: str, row: int) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 255, (32, 24, 24, 3), dtype=np.uint8)


def story(
    folder: Path,
    *,
    systems: tuple[str, ...] = ("vit_pico", "videomamba_pico", "timesformer_pico", "timesformer_joint_pico"),
    control: float = 0.0,
    explained: float = 0.3,
    seeds: tuple[int, ...] = (0,),
    objectives: tuple[str, ...] = ("mae",),
) -> Story:
    """A comparison of systems; `control` is the skill of the bag of frames beyond chance,
    `explained` what pretraining explains of the variance of what was masked. Made once per process, copied here.
    """
    made = _made(systems, control, explained, seeds, objectives)
    shutil.copytree(made.store.folder, folder / "results")
    table = replace(made.table, cells={row: dict(cells) for row, cells in made.table.cells.items()})
    return replace(made, store=Store(folder / "results"), table=table)


@lru_cache
def _made(
    systems: tuple[str, ...], control: float, explained: float, seeds: tuple[int, ...], objectives: tuple[str, ...]
) -> Story:
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    store = Store(folder / "results")
    rng = np.random.default_rng(0)
    for place, system in enumerate(systems):
        for objective in objectives:
            pretrained(store, system, objective, rng, explained)
        cost(store, system, 1.0 + 0.25 * place)
        for task in TASKS:
            for seed in seeds:
                skill = SKILL[task.name] - 0.08 * place
                for later, objective in enumerate(objectives):
                    scored(store, task, system, objective, seed, skill - 0.1 * later, control=False)
                scored(store, task, system, "random", seed, skill - 0.2 + 0.1 * place, control=False)
    for task in TASKS:
        scored(store, task, "bag of frames", "random", 0, control, control=True)
    places = {name: place for place, name in enumerate((*systems, "bag of frames"))}
    results = sorted(store.results(), key=lambda one: places[one.identity.system])
    return Story(
        table=tabulate(results, store, suite="digits", tasks=TASKS),
        results=results,
        store=store,
        budget="quick",
        protocol="finetune",
        again="zoo compare x --suite digits --budget quick",
        suite_note="Digits that move.",
        split_hashes={task.name: "5eed" for task in TASKS},
        frames_of=frames_of,
    )


def interval_texts(interval: Interval) -> list[str]:
    """How a report prints the three numbers."""
    return [f"{100 * value:.1f}" for value in interval]
