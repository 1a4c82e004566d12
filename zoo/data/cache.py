"""Small sets of videos decoded once into one memory-mapped file, for any suite.

Opening and decoding 64 files takes longer than a training step on small clips. The cache is one file of raw frames
(uint8, `[T, H, W, 3]` per video, one after the other) and one JSON index that says where each video lies, which files
it was made from and by which decoder. The index is written last and atomically, carries a checksum of the frames, and
is named by a hash of everything that shapes the pixels; a cache that does not match is rebuilt, never used.
"""

import hashlib
import json
import logging
import mmap
import os
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zoo.data.decode import DecodeError, read_frames
from zoo.data.parallel import in_order

LAYOUT = 1
CHUNK_BYTES = 1 << 24

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """Where a video lies in the file of frames, or why it could not be decoded."""

    offset: int
    shape: tuple[int, int, int, int]
    error: str


class FrameCache:
    """Decoded videos, looked up by path.

    Each process maps the file when it first reads from it, so a cache can be handed to data workers however they are
    started.

    Args:
        file: the file of frames.
        entries: where each video lies in it.
    """

    def __init__(self, file: Path, entries: dict[str, Entry]) -> None:
        self.file = file
        self.entries = entries
        self._frames: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, path: Path) -> bool:
        return _name(path) in self.entries

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "entries": self.entries, "_frames": None}

    @property
    def failures(self) -> dict[str, str]:
        """Path -> reason, for the videos that could not be decoded."""
        return {name: entry.error for name, entry in self.entries.items() if entry.error}

    def num_frames(self, path: Path) -> int:
        """Frames of a video.

        Raises:
            DecodeError: it could not be decoded.
            KeyError: it is not in the cache.
        """
        return self._entry(path).shape[0]

    def read(self, path: Path, indices: Sequence[int] | None = None) -> UInt8[np.ndarray, "frames height width 3"]:
        """Frames of a video, all when `indices` is None; a copy.

        Raises:
            DecodeError: it could not be decoded.
            KeyError: it is not in the cache.
        """
        entry = self._entry(path)
        if self._frames is None:
            self._frames = np.memmap(self.file, np.uint8, mode="r")
        size = int(np.prod(entry.shape))
        video = self._frames[entry.offset : entry.offset + size].reshape(entry.shape)
        return np.array(video if indices is None else video[list(indices)])

    def _entry(self, path: Path) -> Entry:
        entry = self.entries.get(_name(path))
        if entry is None:
            raise KeyError(f"{path} is not in the cache {self.file} of {len(self)} videos")
        if entry.error:
            raise DecodeError(os.fspath(path), entry.error)
        return entry


def cached(
    paths: Sequence[Path],
    folder: str | os.PathLike[str],
    *,
    decoder: str = "pyav",
    workers: int | None = None,
    progress: bool = True,
) -> FrameCache:
    """The decoded videos: read from `folder` when they are there and intact, decoded now otherwise.

    A video that cannot be decoded does not stop the others; it is in `FrameCache.failures`.

    Args:
        paths: what to decode, each once.
        folder: where caches are kept; made when missing.
        decoder: backend of `read_frames`.
        workers: decoding processes; one per core when None.
        progress: show a bar while decoding.
    """
    key = _key([fingerprint(path) for path in paths], decoder)
    frames, index = Path(folder) / f"{key}.frames", Path(folder) / f"{key}.json"
    entries = _open(frames, index, paths)
    if entries is None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        _build(paths, frames, index, decoder=decoder, workers=workers, progress=progress)
        entries = _open(frames, index, paths)
    if entries is None:
        raise OSError(f"the cache {frames} does not read back as it was written; is the disk full or failing?")
    return FrameCache(frames, dict(zip(map(_name, paths), entries, strict=True)))


def decoder_version(decoder: str) -> str:
    """Package and libraries behind a decoder, as recorded with results and part of a cache's key."""
    if decoder == "pyav":
        import av

        libraries = ", ".join(
            f"{name} {'.'.join(map(str, version))}" for name, version in sorted(av.library_versions.items())
        )
        return f"pyav {av.__version__} ({libraries})"
    from importlib.metadata import version

    return f"{decoder} {version(decoder)}"


def _name(path: Path) -> str:
    return os.path.abspath(path)


def fingerprint(path: Path) -> tuple[str, int, int]:
    """Path, size and time of change; zeros for a file that is missing."""
    try:
        status = path.stat()
    except OSError:
        return _name(path), 0, 0
    return _name(path), status.st_size, status.st_mtime_ns


def _key(files: list[tuple[str, int, int]], decoder: str) -> str:
    content = json.dumps([LAYOUT, decoder, decoder_version(decoder), files])
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _open(frames: Path, index: Path, paths: Sequence[Path]) -> list[Entry] | None:
    """Entries of an intact cache, None otherwise."""
    if not index.exists():
        return None
    try:
        content = json.loads(index.read_text())
        entries = [Entry(offset, tuple(shape), error) for offset, shape, error in content["entries"]]
        intact = len(entries) == len(paths) and content["checksum"] == _checksum(frames)
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("rebuilding the cache %s: %s", frames, error)
        return None
    if not intact:
        log.warning("rebuilding the cache %s: its frames are not those that its index describes", frames)
        return None
    return entries


def _checksum(path: Path) -> str:
    """CRC-32 and size of a file: finds damage, not malice."""
    total = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            total = zlib.crc32(chunk, total)
        return f"{total:08x}-{file.tell()}"


def _build(
    paths: Sequence[Path], frames: Path, index: Path, *, decoder: str, workers: int | None, progress: bool
) -> None:
    entries: list[Entry] = []
    with _replacing(frames) as partial:
        with open(partial, "wb") as file:
            for video in _decoded(paths, decoder, workers=workers, progress=progress):
                if isinstance(video, str):
                    entries.append(Entry(file.tell(), (0, 0, 0, 0), video))
                    continue
                entries.append(Entry(file.tell(), video.shape, ""))
                file.write(video.tobytes())
            if not file.tell():
                file.write(bytes(mmap.PAGESIZE))  # an empty file cannot be mapped
            file.flush()
            os.fsync(file.fileno())
        checksum = _checksum(partial)
    content = {"layout": LAYOUT, "decoder": decoder_version(decoder), "checksum": checksum, "entries": entries}
    with _replacing(index) as partial:
        partial.write_text(json.dumps(content))


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name of this process's own beside `path`, moved onto it when the block ends well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _decoded(paths: Sequence[Path], decoder: str, *, workers: int | None, progress: bool) -> Iterator[np.ndarray | str]:
    """Every video in order, or the reason why it could not be decoded."""
    bar = Progress(
        TextColumn("decoding videos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not progress
    )
    with bar:
        yield from bar.track(in_order(partial(_decode, decoder=decoder), paths, workers=workers), total=len(paths))


def _decode(path: Path, decoder: str) -> np.ndarray | str:
    try:
        return read_frames(path, decoder=decoder)
    except DecodeError as error:
        return error.reason
