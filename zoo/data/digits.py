"""The embedded suite: real video files rendered on the spot from scikit-learn's 1,797 handwritten digits.

    suite = ensure_digits()                         # renders once, half a minute; later calls only check the files
    suite.records("motion", "train")                # Kinetics-style lists, read like any other

Three tasks with the character of the three kinds of video benchmark: `appearance` (which digit; motion is random),
`motion` (ten motions in five time-reversed pairs; the digit is random) and `order` (64 frames; in which order the same
three events came). Digit images of train and test are disjoint. The 1,797 images come from 13 writers (UCI's optdigits
test set) whom the set does not tell apart, so one writer's digits are in both.
"""

import csv
import hashlib
import io
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sklearn.datasets import load_digits
from torch import Tensor

from zoo.data import scenes
from zoo.data.cache import FrameCache, cached
from zoo.data.encode import write_video
from zoo.data.labels import DIGITS
from zoo.data.parallel import in_order
from zoo.data.records import Record, read_list
from zoo.folders import cache_root
from zoo.seeds import seed_of

TASKS = ("appearance", "motion", "order")
SPLITS = ("train", "test")
NUM_CLASSES = {"appearance": 10, "motion": len(scenes.MOTION_CLASSES), "order": len(scenes.ORDERS)}
FPS = 8
# Share of the images of each class that only train clips show.
TRAIN_SHARE = 2 / 3

# Every frame of `motion` and `order` is coded on its own at one quantiser: a frame then decodes to the same pixels
# wherever it stands, and neither prediction nor rate control carries a trace of what came before it.
ALL_INTRA = {"g": "1", "bf": "0", "qp": "20", "preset": "ultrafast"}
# `appearance` is coded as videos usually are, with predicted and reordered frames.
ORDINARY = {"g": "8", "bf": "2", "crf": "18", "preset": "superfast"}
ENCODING = {"appearance": ORDINARY, "motion": ALL_INTRA, "order": ALL_INTRA}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Clips per task as (train, test); classes are balanced, and clips of one scene stay together.

    Attributes:
        appearance: a multiple of 10 (digits).
        motion: a multiple of 10 (five pairs, both directions of each scene).
        order: a multiple of 6 (all orders of each scene).
    """

    appearance: tuple[int, int] = (1500, 500)
    motion: tuple[int, int] = (1500, 500)
    order: tuple[int, int] = (1200, 480)

    def __post_init__(self) -> None:
        for task, multiple in NUM_CLASSES.items():
            for clips in getattr(self, task):
                if clips < multiple or clips % multiple:
                    raise ValueError(f"Sizes.{task} must be multiples of {multiple}, got {getattr(self, task)}")

    def of(self, task: str, split: str) -> int:
        """Clips of one list."""
        clips: int = getattr(self, task)[SPLITS.index(split)]
        return clips


class Images(NamedTuple):
    """The digit images of one split; `number` is the place in scikit-learn's set."""

    pixels: Float[Tensor, "images 8 8"]
    label: Int64[Tensor, "images"]
    number: Int64[Tensor, "images"]


class Clip(NamedTuple):
    """A rendered clip, before encoding."""

    frames: scenes.Frames
    label: int


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The rendered suite.

    Attributes:
        folder: where it lies.
        manifest: parameters, hashes and versions, as in the folder's `manifest.json`.
    """

    folder: Path
    manifest: dict[str, Any]

    def records(self, task: str, split: str) -> list[Record]:
        """The list of a task and split.

        Raises:
            ValueError: for an unknown task or split.
        """
        return read_list(self.folder / _list_name(task, split), num_classes=NUM_CLASSES[task])

    def pretraining(self) -> list[Record]:
        """The train clips of all tasks, without labels."""
        paths = [record.path for task in TASKS for record in self.records(task, "train")]
        return [Record(path, -1, row) for row, path in enumerate(paths)]

    def split_hash(self, task: str, split: str) -> str:
        """Hash of a list and of the bytes of its videos."""
        return str(self.manifest["content"][_list_name(task, split)])

    def classes(self, task: str) -> tuple[str, ...]:
        """Names of a task's classes."""
        return DIGITS[task].names

    def cache(self, *, workers: int | None = None, progress: bool = True) -> FrameCache:
        """All clips, decoded once into one file beside the suite."""
        paths = [record.path for task in TASKS for split in SPLITS for record in self.records(task, split)]
        return cached(paths, self.folder.parent / "decoded", workers=workers, progress=progress)


def ensure_digits(
    root: Path | None = None,
    *,
    sizes: Sizes | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Digits:
    """The suite, rendered now if it is not there or not intact.

    Args:
        root: folder that holds it; `cache_root()` when None.
        sizes: clips per task.
        seed: of everything that is drawn.
        workers: rendering processes; one per core when None.
        progress: show a bar while rendering.
    """
    parameters = generator_parameters(sizes or Sizes(), seed)
    folder = (root or cache_root()) / f"digits-{_digest(parameters)[:12]}"
    suite = _open(folder)
    if suite is not None:
        return suite
    partial = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        _render(partial, sizes or Sizes(), seed, parameters, workers=workers, progress=progress)
        _move(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    suite = _open(folder)
    if suite is None:
        raise OSError(f"the suite in {folder} does not read back as it was written; is the disk full or failing?")
    return suite


def generator_parameters(sizes: Sizes, seed: int) -> dict[str, Any]:
    """Everything that shapes the clips before they are encoded, and how they are encoded."""
    constants = {
        name: value for name, value in vars(scenes).items() if name.isupper() and isinstance(value, int | float | tuple)
    }
    return {
        "scenes": constants,
        "images_sha256": hashlib.sha256(load_digits().images.astype(np.uint8).tobytes()).hexdigest(),
        "sizes": {name: list(value) for name, value in asdict(sizes).items()},
        "train_share": TRAIN_SHARE,
        "encoding": ENCODING,
        "fps": FPS,
        "seed": seed,
    }


def split_images(split: str, seed: int) -> Images:
    """The digit images that clips of a split may show, split by image within each class.

    Raises:
        ValueError: for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose from {SPLITS}")
    digits = load_digits()
    pixels, label = torch.from_numpy(digits.images).float() / 16, torch.from_numpy(digits.target).long()
    chosen = []
    for digit in range(10):
        members = (label == digit).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(seed_of("digits", seed, "images", digit))
        members = members[torch.randperm(len(members), generator=generator)]
        border = round(TRAIN_SHARE * len(members))
        chosen.append(members[:border] if split == "train" else members[border:])
    number = torch.cat(chosen)
    return Images(pixels[number], label[number], number)


def draw_scene(task: str, split: str, scene: int, images: Images, seed: int) -> tuple[list[Clip], int]:
    """The clips of one scene and the place in `images` of the digit that they show."""
    generator = torch.Generator().manual_seed(seed_of("digits", seed, task, split, scene))
    candidates = torch.arange(len(images.label))
    if task == "appearance":
        candidates = candidates[images.label == scene % 10]
    place = int(candidates[int(torch.randint(len(candidates), (), generator=generator))])
    digit = images.pixels[place]
    if task == "appearance":
        return [Clip(scenes.appearance_clip(digit, generator=generator), scene % 10)], place
    if task == "motion":
        pair = scene % len(scenes.MOTIONS)
        forward = scenes.motion_clip(digit, scenes.MOTIONS[pair], generator=generator)
        return [Clip(forward, 2 * pair), Clip(forward.flip(0), 2 * pair + 1)], place
    clips = scenes.order_clips(digit, generator=generator)
    return [Clip(frames, label) for label, frames in enumerate(clips)], place


def clips_per_scene(task: str) -> int:
    """Clips that show the same frames in different order: 1, 2 directions or 6 orders."""
    return {"appearance": 1, "motion": 2, "order": len(scenes.ORDERS)}[task]


def _render(
    folder: Path, sizes: Sizes, seed: int, parameters: dict[str, Any], *, workers: int | None, progress: bool
) -> None:
    pairs = [(task, split) for task in TASKS for split in SPLITS]
    bar = Progress(
        TextColumn("rendering videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not progress
    )
    with bar:
        shown = bar.add_task("", total=sum(sizes.of(task, split) for task, split in pairs))
        for task, split in pairs:
            (folder / task / split).mkdir(parents=True)
            num_scenes = sizes.of(task, split) // clips_per_scene(task)
            write = partial(
                _write_scene, folder=folder / task, task=task, split=split, images=split_images(split, seed), seed=seed
            )
            rows: list[list[str]] = []
            for written in in_order(write, range(num_scenes), workers=workers):
                rows += written
                bar.advance(shown, len(written))
            _write_lists(folder, task, split, rows)
    manifest = {
        "parameters": parameters,
        "content": {_list_name(*pair): _content_hash(folder, *pair) for pair in pairs},
        "versions": _versions(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _write_scene(scene: int, *, folder: Path, task: str, split: str, images: Images, seed: int) -> list[list[str]]:
    clips, place = draw_scene(task, split, scene, images, seed)
    rows = []
    for offset, clip in enumerate(clips):
        name = f"{split}/{scene * len(clips) + offset:05d}.mp4"
        write_video(folder / name, clip.frames.numpy(), fps=FPS, options=ENCODING[task])
        facts = (scene, int(images.number[place]), int(images.label[place]))
        rows.append([name, str(clip.label), *map(str, facts)])
    return rows


def _write_lists(folder: Path, task: str, split: str, rows: Sequence[Sequence[str]]) -> None:
    (folder / _list_name(task, split)).write_text("".join(f"{row[0]} {row[1]}\n" for row in rows))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["path", "label", "scene", "image", "digit"])
    writer.writerows(rows)
    (folder / task / f"{split}_scenes.csv").write_text(table.getvalue())


def _list_name(task: str, split: str) -> str:
    if task not in TASKS or split not in SPLITS:
        raise ValueError(f"there is no list {task}/{split}; tasks are {TASKS}, splits {SPLITS}")
    return f"{task}/{split}.csv"


def _open(folder: Path) -> Digits | None:
    """The suite in a folder, if every list and every byte of every video is what the manifest says."""
    if not folder.exists():
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        found = {_list_name(*pair): _content_hash(folder, *pair) for pair in _pairs()}
    except (OSError, ValueError, KeyError) as error:
        log.warning("rendering %s again: %s", folder, error)
        return None
    if found != manifest["content"]:
        log.warning("rendering %s again: its files are not those that its manifest describes", folder)
        return None
    return Digits(folder=folder, manifest=manifest)


def _pairs() -> Iterator[tuple[str, str]]:
    return ((task, split) for task in TASKS for split in SPLITS)


def _move(partial: Path, folder: Path) -> None:
    """Put a finished suite in its place; another process may have been faster, which is fine."""
    if folder.exists() and _open(folder) is None:
        broken = partial.with_suffix(".broken")
        os.replace(folder, broken)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        os.rename(partial, folder)
    except OSError:
        if not folder.exists():
            raise


def _content_hash(folder: Path, task: str, split: str) -> str:
    total = hashlib.sha256((folder / _list_name(task, split)).read_bytes())
    for record in read_list(folder / _list_name(task, split), num_classes=NUM_CLASSES[task]):
        content = record.path.read_bytes()
        total.update(len(content).to_bytes(8, "little"))
        total.update(content)
    return total.hexdigest()


def _digest(parameters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {package: version(package) for package in ("av", "numpy", "scikit-learn", "torch")}
