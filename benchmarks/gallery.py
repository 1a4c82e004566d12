"""Test clips of a suite as networks see them: for pictures, and to measure tokenizers on."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from backbones.contract import Backbone
from benchmarks.suite import Suite, Task, Videos
from zoo import pictures
from zoo.batch import Batch
from zoo.card import ClipSpec
from zoo.data.cache import FrameCache
from zoo.data.decode import DecodeError
from zoo.data.loading import Reader, UnreadableVideoError
from zoo.data.sampling import eval_index
from zoo.data.transforms import eval_clips
from zoo.objectives.contract import Objective

PICTURE_SEED = 0
FEATURE_SHARE = 0.5
SOME = 64  # clips of each task, to measure on


class Gallery:
    """Test clips of a suite.

    Args:
        suite: the videos' constants.
        videos: the videos.
        cache: decoded videos.
    """

    def __init__(self, suite: Suite, videos: Videos, cache: FrameCache | None) -> None:
        self.suite, self.videos, self.cache = suite, videos, cache

    def one(self, task: Task, spec: ClipSpec, share: float) -> Float[Tensor, "3 frames side side"]:
        """The normalised clip of a test video of a task.

        Args:
            task: the task.
            spec: the clip protocol.
            share: place of the video in the list, 0-1; the next one that can be read is taken.

        Raises:
            UnreadableVideoError: when none can be read.
        """
        records = self.videos.records(task.name, self.suite.test_split)
        at = int(share * len(records))
        read = Reader(self.cache)
        for record in records[at:] + records[:at]:
            try:
                frames = read(record.path, lambda length: eval_index(spec, length, clip=0), record.span)
            except DecodeError:
                continue  # the evaluation itself lists it
            return eval_clips(frames, spec, crops=1)[0]
        raise UnreadableVideoError(f"no test video of {task.name} can be read")

    def some(self, spec: ClipSpec, count: int = SOME) -> tuple[Float[Tensor, "clips 3 frames side side"], list[str]]:
        """Normalised clips of some test videos of every task, evenly spread, and those that cannot be read.

        Args:
            spec: the clip protocol.
            count: videos of each task, at most.

        Raises:
            UnreadableVideoError: when none can be read.
        """
        seen, failed, read = [], [], Reader(self.cache)
        for task in self.suite.tasks:
            records = self.videos.records(task.name, self.suite.test_split)
            for record in records[:: max(1, len(records) // count)][:count]:
                try:
                    frames = read(record.path, lambda length: eval_index(spec, length, clip=0), record.span)
                    seen.append(eval_clips(frames, spec, crops=1)[0])
                except DecodeError as error:
                    failed.append(f"{record.path}: {error.reason}")
        if not seen:
            raise UnreadableVideoError("no test video can be read")
        return torch.stack(seen), failed

    def picture(self, objective: Objective, spec: ClipSpec) -> "Shown":
        """A test clip of each task: as it is, what the student is shown, what it makes of it."""
        tasks = self.suite.tasks
        places = [(place + 1) / (len(tasks) + 1) for place in range(len(tasks))]
        chosen = [self.one(task, spec, share) for task, share in zip(tasks, places, strict=True)]
        video = torch.stack(chosen)
        nothing = torch.full((len(video),), -1)
        clip = in_unit_range(video, spec)
        objective.eval()
        objective.generator.manual_seed(PICTURE_SEED)
        shown = objective.picture(Batch(video, nothing, nothing), clip)
        panels = {f"{number} {name}": pixels(it) for number, (name, it) in enumerate(shown.panels.items(), start=1)}
        return Shown({"clip": pixels(clip), **panels}, shown.note)

    @torch.no_grad()
    def features(self, backbone: Backbone, task: Task, spec: ClipSpec) -> dict[str, np.ndarray]:
        """A test clip, and its tokens' features as colours."""
        video = self.one(task, spec, FEATURE_SHARE)[None]
        found = backbone.eval().forward_features(video)
        painted = pictures.paint(pictures.Palette(found.tokens)(found.tokens), found.grid, backbone.tubelet)
        return {"clip": pixels(in_unit_range(video, spec))[0], "features": pixels(painted)[0]}


class Shown(NamedTuple):
    """Arrays of a picture and its caption."""

    arrays: dict[str, np.ndarray]
    note: str


def in_unit_range(
    video: Float[Tensor, "clips 3 frames side side"], spec: ClipSpec
) -> Float[Tensor, "clips 3 frames side side"]:
    """Normalised clips with pixels in 0-1."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (spec.mean, spec.std))
    return (video * std + mean).clamp(0, 1)


def pixels(clip: Float[Tensor, "clips 3 frames side side"]) -> UInt8[np.ndarray, "clips frames side side 3"]:
    """Clips with pixels in 0-1 as frames for pictures."""
    return (clip.permute(0, 2, 3, 4, 1) * 255).round().to(torch.uint8).numpy()
