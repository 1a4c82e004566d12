"""Generated data sets: small videos of moving digits in exactly the folders and files of an official release.

    write_suite(get_suite("coin"), Path("/tmp/coin"), Plan(classes=3))

They prove a path from annotation files to a score without the data set. The score itself says nothing about the data
set: the videos are those of the embedded suite (`zoo.data.scenes`), one look per class.
"""

import hashlib
import json
import os
import secrets
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.layout import MAX_CLASSES, Layout, Part, Plan, SynthError, Video
from benchmarks.suite import Suite
from zoo.data import scenes
from zoo.data.digits import Images, split_images
from zoo.data.encode import write_video
from zoo.data.parallel import in_order
from zoo.folders import require_writable
from zoo.seeds import seed_of

# A mark that no reader of annotations looks at; it says whose folder this is.
MARK = ".zoo-synth.json"
# Bump when the videos of a plan change.
VERSION = 1
ASPECT = 4 / 3
# Codecs that the official releases use for these endings, as far as PyAV writes them; H.264 for all others.
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    ".avi": ("mpeg4", {"qmin": "2", "qmax": "5", "g": "12"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "deadline": "realtime", "cpu-used": "8"}),
}
H264 = ("libx264", {"g": "12", "bf": "2", "crf": "20", "preset": "superfast"})
IMAGES = {".jpeg", ".jpg"}


def layout_of(suite: Suite, plan: Plan) -> Layout:
    """What a plan gives in the layout of a suite.

    Raises:
        SynthError: for a suite without a writer, and for numbers that make no data set.
    """
    if suite.layout is None:
        raise SynthError(f"there is no writer for generated data in the layout of {suite.name!r}")
    most = min(MAX_CLASSES, max(task.num_classes for task in suite.tasks))
    if not 2 <= plan.classes <= most:
        raise SynthError(f"{suite.name} can be generated with 2 to {most} classes, not {plan.classes}")
    if plan.videos < 1:
        raise SynthError(f"a class needs at least one video in each split, not {plan.videos}")
    if plan.seconds is not None and not 1 <= plan.seconds <= 3600:
        raise SynthError(f"videos can be 1 to 3600 seconds long, not {plan.seconds:g}")
    return suite.layout(plan)


def write_suite(
    suite: Suite,
    folder: Path,
    plan: Plan,
    *,
    size_px: int = 32,
    workers: int | None = None,
    progress: bool = True,
) -> Layout:
    """Write a generated data set; a second call finishes what a first one began.

    Args:
        suite: whose layout.
        folder: new or empty, or one that an earlier call with the same arguments wrote.
        plan: how much.
        size_px: short side of the videos, even.
        workers: processes; one per core when None.
        progress: show a bar.

    Returns:
        What was written.

    Raises:
        SynthError: for a folder that holds something else, and for a plan that makes no data set.
        FolderError: for a folder that cannot be written to.
    """
    if size_px < 16 or size_px % 2:
        raise SynthError(f"the short side must be an even number of pixels from 16 on, not {size_px}")
    layout = layout_of(suite, plan)
    _claim(folder, suite, plan, size_px, layout)
    for name, text in layout.files.items():
        _write_text(folder / name, text)
    missing = [video for video in layout.videos if not (folder / video.name).exists()]
    for parent in {(folder / video.name).parent for video in missing}:
        parent.mkdir(parents=True, exist_ok=True)
    write = partial(_write_one, folder=folder, fps=layout.fps, size_px=size_px, seed=plan.seed)
    bar = Progress(
        TextColumn("rendering videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not progress
    )
    with bar:
        shown = bar.add_task("", total=len(layout.videos), completed=len(layout.videos) - len(missing))
        for _ in in_order(write, missing, workers=workers):
            bar.advance(shown)
    return layout


def _claim(folder: Path, suite: Suite, plan: Plan, size_px: int, layout: Layout) -> None:
    """Mark a folder as holding a plan.

    Raises:
        SynthError: when it holds something else.
    """
    names = hashlib.sha256(repr((sorted(layout.files.items()), layout.videos, layout.fps)).encode()).hexdigest()
    wanted = {"suite": suite.name, "plan": asdict(plan), "size_px": size_px, "version": VERSION, "sha256": names}
    if not folder.exists() or not any(folder.iterdir()):
        require_writable("--out", folder)
        _write_text(folder / MARK, json.dumps(wanted, indent=1) + "\n")
        return
    found = _mark(folder)
    if found is None:
        raise SynthError(
            f"{str(folder)!r} holds files that were not generated here; nothing is overwritten, so name a new folder"
        )
    if found != wanted:
        differences = [name for name in wanted if found.get(name) != wanted[name]]
        raise SynthError(
            f"{str(folder)!r} holds another generated data set ({', '.join(differences)} differ: "
            f"{found.get(differences[0])!r} there, {wanted[differences[0]]!r} asked for); name a new folder"
        )


def _mark(folder: Path) -> dict[str, Any] | None:
    """What an earlier call said of a folder; None where none was."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_text(path: Path, text: str) -> None:
    """Write a file that appears when it is complete.

    Raises:
        SynthError: when it is there with another text.
    """
    content = text.encode()
    if path.exists():
        if path.read_bytes() != content:
            raise SynthError(f"{str(path)!r} is not as it was generated; nothing is overwritten, so name a new folder")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        partial_path.write_bytes(content)
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


def _write_one(video: Video, *, folder: Path, fps: int, size_px: int, seed: int) -> None:
    ending = PurePosixPath(video.name).suffix.lower()
    frames = render(video, fps=fps, size_px=size_px, seed=seed)
    if ending in IMAGES:
        _write_image(folder / video.name, frames[0])
        return
    codec, options = CODECS.get(ending, H264)
    write_video(folder / video.name, frames, fps=fps, codec=codec, options=options)


def _write_image(path: Path, picture: UInt8[np.ndarray, "height width 3"]) -> None:
    partial_path = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        Image.fromarray(picture).save(partial_path, format="JPEG", quality=90)
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


def render(video: Video, *, fps: int, size_px: int, seed: int) -> UInt8[np.ndarray, "frames height width 3"]:
    """The frames of a generated video.

    A movement begins anew, at another phase, every `scenes.MOTION_FRAMES` frames. Pictures are 4:3, so that several
    spatial crops differ.

    Args:
        video: what it shows.
        fps: frames per second.
        size_px: height of the pictures.
        seed: with the video's name, of all draws.
    """
    generator = torch.Generator().manual_seed(seed_of("synth", seed, video.name))
    look = scenes.draw_look(generator)
    images = _images("test" if video.test else "train", seed)
    pieces = [_piece(part, fps, images, look, generator) for part in video.parts]
    height, width = size_px, 2 * round(size_px * ASPECT / 2)
    pictures = torch.cat(pieces).permute(0, 3, 1, 2)
    if pictures.shape[-2:] != (height, width):
        resized = [F.interpolate(some.float(), (height, width), mode="bilinear") for some in pictures.split(256)]
        pictures = torch.cat([some.round().to(torch.uint8) for some in resized])
    return pictures.permute(0, 2, 3, 1).contiguous().numpy()


@cache
def _images(split: str, seed: int) -> Images:
    return split_images(split, seed)


def _piece(part: Part, fps: int, images: Images, look: scenes.Look, generator: torch.Generator) -> scenes.Frames:
    """The frames of one part."""
    members = (images.label == part.look.digit).nonzero()[:, 0]
    digit = images.pixels[members[int(torch.randint(len(members), (), generator=generator))]]
    num_frames = max(1, round(part.seconds * fps))
    rounds = -(-num_frames // scenes.MOTION_FRAMES)
    poses = [_pose(part.look.motion, generator) for _ in range(rounds)]
    pose = scenes.Pose(*(torch.cat(values)[:num_frames] for values in zip(*poses, strict=True)))
    return scenes.paint(digit, pose, look, generator=generator)


def _pose(motion: int, generator: torch.Generator) -> scenes.Pose:
    pose = scenes.motion_pose(scenes.MOTIONS[motion // 2], scenes.APPEARANCE_PX, generator=generator)
    return scenes.Pose(*(value.flip(0) for value in pose)) if motion % 2 else pose
