"""Features as files that other tools read.

"twlvi": the three files per video of Twelve Labs' evaluation framework (twelvelabs-io/video-embeddings-evaluation-
framework, README.md): `ID_c.npy` one vector per clip, `ID_v.npy` their mean, `ID.json`. Its linear probe and kNN read
the key "annotation" of the JSON, the class index, and take the splits from folders called `train` and `val`.

"mteb": mteb has no file format for embeddings of videos: it evaluates a model object, and its caches know texts and
images only (embeddings-benchmark/mteb, models/cache_wrappers). So this is our own: `SPLIT.npz` with `embeddings`
`[videos, dim]`, `labels` and `rows` `[videos]`, and `SPLIT.json` with the videos' names and the names of the classes,
enough for an encoder that looks its answers up.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from zoo.data.records import Record
from zoo.training.features import FeatureBank


class FeatureFileError(FileExistsError):
    """A file that is there already; nothing is replaced."""


class Video(NamedTuple):
    """Pooled features of one video.

    Attributes:
        name: its path below the folder of the videos.
        row: its row in the list.
        label: its class.
        clips: mean over the crops of each temporal clip; windows of one video one after the other.
    """

    name: str
    row: int
    label: int
    clips: Float[Tensor, "clips dim"]


def videos_of(bank: FeatureBank, records: Sequence[Record], *, crops: int, root: Path) -> list[Video]:
    """Features per video, in the order of the rows.

    Args:
        bank: pooled features of every view, those of a video together, the crops of a clip one after the other.
        records: the list.
        crops: spatial crops per clip.
        root: folder of the videos.
    """
    paths: dict[int, Path] = {}
    for record in records:
        paths.setdefault(record.row, record.path)
    found = []
    for row in bank.rows.unique().tolist():
        views = (bank.rows == row).nonzero()[:, 0]
        clips = bank.tokens[views, 0].unflatten(0, (-1, crops)).mean(1)
        path = paths[row]
        name = path.relative_to(root) if path.is_relative_to(root) else path
        found.append(Video(name.as_posix(), row, int(bank.labels[views[0]]), clips))
    return found


def write_twlvi(videos: Sequence[Video], folder: Path) -> None:
    """Three files per video in a folder, which appears whole or not at all.

    Raises:
        FeatureFileError: when the folder is there already.
    """
    with _appearing(folder) as beside:
        beside.mkdir(parents=True)
        for video, name in zip(videos, _names(videos), strict=True):
            np.save(beside / f"{name}_c.npy", video.clips.numpy())
            np.save(beside / f"{name}_v.npy", video.clips.mean(0).numpy())
            told = {"annotation": video.label, "video": video.name, "row": video.row, "num_clips": len(video.clips)}
            (beside / f"{name}.json").write_text(json.dumps(told))


def write_arrays(videos: Sequence[Video], stem: Path, *, classes: Sequence[str]) -> None:
    """`stem.npz` and `stem.json`, each whole or not at all.

    Raises:
        FeatureFileError: when one of them is there already.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    told = {"videos": [video.name for video in videos], "classes": list(classes)}
    with _appearing(stem.with_name(f"{stem.name}.json")) as names, _appearing(stem.with_name(f"{stem.name}.npz")) as it:
        names.write_text(json.dumps(told))
        with open(it, "wb") as file:
            np.savez(
                file,
                embeddings=np.stack([video.clips.mean(0).numpy() for video in videos]),
                labels=np.array([video.label for video in videos]),
                rows=np.array([video.row for video in videos]),
            )


def _names(videos: Sequence[Video]) -> list[str]:
    """A file name for each video: its path without suffix and separators, with the row where two would be equal."""
    plain = [Path(video.name.strip("/")).with_suffix("").as_posix().replace("/", "__") for video in videos]
    many = {name for name in plain if plain.count(name) > 1} if len(set(plain)) < len(plain) else set()
    return [f"{name}__row{video.row}" if name in many else name for name, video in zip(plain, videos, strict=True)]


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A name beside `path`, moved there when the block ends well.

    Raises:
        FeatureFileError: when something is there already.
    """
    if path.exists():
        raise FeatureFileError(f"{path} is there already and is not replaced; give another folder or move it away")
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield beside
        os.rename(beside, path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        beside.unlink(missing_ok=True)
