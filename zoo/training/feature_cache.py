"""Features of a frozen backbone on disk: computed once, resumed after a kill, memory-mapped when they are read.

A list's features are one safetensors file and a manifest, in a folder named by a hash of everything that they depend
on. Batches are appended as they come; now and then they are flushed to disk and noted with their checksums, and a
second call goes on from the last note. The manifest is written last: features without one are never read.

The tensors `labels` and `rows` `[views]` come first, then `tokens` `[views, tokens, dim]` and `prefix`
`[views, prefix, dim]`, float32. Where videos could not be read, the end of each tensor is unused, and the manifest
names them. Results do not depend on whether features lie in memory or here.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from backbones.contract import Grid, Pool
from zoo.batch import Batch, Unread
from zoo.data.cache import decoder_version, fingerprint
from zoo.data.datamodule import VideoDataModule
from zoo.data.loading import Failure, refuse, split_failures
from zoo.data.records import Record
from zoo.model import VideoModel
from zoo.training.features import Check, FeatureBank, features_of
from zoo.training.log import bar_of
from zoo.weight_cache import write_json

LAYOUT = 1
FEATURES, PARTIAL, PROGRESS, MANIFEST, LOCK = (
    "features.safetensors",
    "features.partial",
    "progress.json",
    "manifest.json",
    "lock",
)
NOTE_BYTES = 1 << 26  # features between two notes
TENSORS = ("labels", "rows", "tokens", "prefix")


class FeatureCacheError(RuntimeError):
    """Features on disk that cannot be used; the message names the folder and what to do."""


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of the names, shapes and values of a module's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def list_hash(records: Sequence[Record]) -> str:
    """SHA-256 of a list: files with their size and time of change, labels, rows, parts and targets, in order."""
    lines = [
        [*fingerprint(record.path), record.label, record.row, list(record.span or ()), record.target]
        for record in records
    ]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def feature_key(
    model: VideoModel,
    data: VideoDataModule,
    records: Sequence[Record],
    *,
    pool: Pool | None,
    layers: Sequence[int] | None,
) -> dict[str, Any]:
    """Everything that the features of a list depend on, as plain values.

    The device is no part of it: a GPU's sums differ in the last digits only.
    """
    made, decoder = model.spec, data.reader.decoder
    return {
        "layout": LAYOUT,
        "architecture": made.architecture.name if made else type(model.backbone).__name__,
        "overrides": json.loads(json.dumps(dict(made.overrides), default=str)) if made else {},
        # Options without weights, of networks put together by hand too.
        "modules": hashlib.sha256(str(model.backbone).encode()).hexdigest(),
        "weights": weights_hash(model.backbone),
        "layers": list(layers) if layers is not None else None,
        "pool": pool,
        "clip": json.loads(json.dumps(data.spec.to_dict())),
        "list": list_hash(records),
        "decoder": f"{decoder}: {decoder_version(decoder)}",
        "dtype": "float32",
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }


def folder_of(root: Path, key: Mapping[str, Any]) -> Path:
    """Folder of the features of a key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    return root / f"{key['architecture']}-{digest}".replace("/", "_")


def cached_features(
    model: VideoModel,
    data: VideoDataModule,
    records: Sequence[Record],
    root: Path,
    *,
    pool: Pool | None,
    layers: Sequence[int] | None = None,
    device: str = "cpu",
    progress: bool = False,
    check: Check | None = None,
) -> FeatureBank:
    """Features of every view of a list, read from disk where they are there, computed and written otherwise.

    Args:
        model: only its backbone is used.
        data: how clips are read.
        records: the list.
        root: folder of all cached features; made when missing.
        pool: keep one vector per view; None keeps all tokens.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.
        device: where to compute.
        progress: show a bar while computing.
        check: is shown the videos that could not be read whenever there are more.

    Raises:
        FeatureCacheError: when features that were written are damaged, another process is writing them, or there is no
            room for them.
        UnreadableVideoError: for videos that cannot be read, unless the policy of `data` reports them.
    """
    key = feature_key(model, data, records, pool=pool, layers=layers)
    place = folder_of(root, key)
    strict, was_there = data.policy.in_evaluation == "raise", (place / MANIFEST).exists()
    if not was_there:
        if strict:
            refuse(split_failures(records, data.reader.cache)[1])

        def parts(done: int, failed: list[Unread]) -> Iterator[FeatureBank]:
            batches: Iterable[Batch] = data.eval_dataloader(records[done:]) if done < len(records) else ()
            options: dict[str, Any] = {"pool": pool, "device": device, "layers": layers}
            return features_of(model.backbone, batches, failed=failed, check=check, **options)

        views = data.spec.clips * data.spec.crops
        with _alone(place):
            write_features(place, key, parts, videos=len(records), views=views, progress=progress)
    bank = read_features(place, key)
    if strict:
        refuse([Failure(it.path, it.reason) for it in bank.failed])
    if check is not None:
        check(bank.failed)
    return replace(bank, targets=_targets(bank, records), read_from=place if was_there else None)


def _targets(bank: FeatureBank, records: Sequence[Record]) -> Tensor | None:
    """What a regression should give for each view; None for classes. Lists tell it, so it needs no room on disk."""
    targets = {record.row: record.target for record in records if record.target is not None}
    return torch.tensor([targets[row] for row in bank.rows.tolist()]) if targets else None


@dataclass(frozen=True, kw_only=True)
class Form:
    """Where each tensor lies in the file.

    Attributes:
        views: number of views.
        shapes: of one view of each tensor.
        header: bytes in front of the first tensor.
    """

    views: int
    shapes: dict[str, tuple[int, ...]]
    header: bytes

    @classmethod
    def of(cls, part: FeatureBank, views: int) -> "Form":
        """The form of a file whose parts look like one that is at hand."""
        shapes = {name: tuple(getattr(part, name).shape[1:]) for name in TENSORS}
        entries, offset = {}, 0
        for name in TENSORS:
            kind = "I64" if name in ("labels", "rows") else "F32"
            size = views * (8 if kind == "I64" else 4) * int(torch.Size(shapes[name]).numel())
            entries[name] = {"dtype": kind, "shape": [views, *shapes[name]], "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(entries).encode()
        text += b" " * (-len(text) % 8)
        return cls(views=views, shapes=shapes, header=len(text).to_bytes(8, "little") + text)

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + max(it["data_offsets"][1] for it in json.loads(self.header[8:]).values())

    def starts(self) -> dict[str, tuple[int, int]]:
        """First byte of each tensor, and bytes of one view."""
        entries = json.loads(self.header[8:])
        begins = {name: entries[name]["data_offsets"] for name in TENSORS}
        return {
            name: (len(self.header) + first, (last - first) // self.views) for name, (first, last) in begins.items()
        }


def write_features(
    place: Path,
    key: Mapping[str, Any],
    parts: Callable[[int, list[Unread]], Iterator[FeatureBank]],
    *,
    videos: int,
    views: int,
    progress: bool,
) -> None:
    """Compute what is missing, and write the manifest.

    Args:
        place: folder of these features.
        key: what they depend on.
        parts: features after so many videos, batch by batch; adds videos that cannot be read to a list.
        videos: number of videos.
        views: views of each.
        progress: show a bar.

    Raises:
        ValueError: without videos, and when none of them can be read.
        FeatureCacheError: without room on the disk.
    """
    if not videos:
        raise ValueError("there are no clips to extract features from")
    if (place / FEATURES).exists():  # killed between the last two steps
        os.replace(place / FEATURES, place / PARTIAL)
    told = _progress(place)
    noted: dict[str, Any] = {"chunks": [], "grid": None, "failed": [], "bytes": None, **(told or {})}
    failed = _unread(noted)
    done = sum(chunk["views"] for chunk in noted["chunks"])
    with bar_of("{task.fields[failed]}", show=progress) as bar, open(place / PARTIAL, "r+b" if told else "w+b") as file:
        task = bar.add_task("features", total=videos, completed=done // views + len(failed), failed="")
        form, fresh = None, _chunk()
        for part in parts(done // views + len(failed), failed):
            if form is None:
                form, noted["grid"] = Form.of(part, videos * views), list(part.grid)
                _require_room(place, 0 if told else form.size, videos)
                noted["bytes"] = form.size
                file.seek(0)
                file.write(form.header)
            _write(file, form, part, at=done, chunk=fresh)
            done += len(part)
            words = f"{len(failed)} unreadable" if failed else ""
            bar.update(task, completed=done // views + len(failed), failed=words)
            if fresh["bytes"] >= NOTE_BYTES:
                _note(place, file, noted, fresh, failed)
                fresh = _chunk()
        if not done:
            raise ValueError("there are no clips to extract features from; none of the videos could be read")
        if done + views * len(failed) != videos * views:
            raise ValueError(f"{videos} videos of {views} views each gave {done} views, {len(failed)} failed")
        if noted["bytes"] is not None:
            file.truncate(noted["bytes"])
        _note(place, file, noted, fresh, failed)
    os.replace(place / PARTIAL, place / FEATURES)
    size = (place / FEATURES).stat().st_size
    write_json(place / MANIFEST, {"key": dict(key), **noted, "bytes": size})
    (place / PROGRESS).unlink(missing_ok=True)


def _note(place: Path, file: IO[bytes], noted: dict[str, Any], fresh: dict[str, Any], failed: Sequence[Unread]) -> None:
    """Flush what was written to the disk, then write down that it is there."""
    file.flush()
    os.fsync(file.fileno())
    noted["chunks"] += [fresh] if fresh["views"] else []
    noted["failed"] = [list(it) for it in failed]
    write_json(place / PROGRESS, noted)


def _unread(told: Mapping[str, Any]) -> list[Unread]:
    """Videos that could not be read, as a file of notes names them."""
    return [Unread(*it) for it in told.get("failed", ())]


def _require_room(place: Path, size: int, videos: int) -> None:
    """Check that a file fits on its disk before it is begun.

    Raises:
        FeatureCacheError: naming both sizes.
    """
    free = shutil.disk_usage(place).free
    if size > free:
        raise FeatureCacheError(
            f"the features of {videos} videos take {size / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free where "
            f"{place} lies; give a folder on a larger disk, fewer clips or crops, or train the head with the finetune "
            "protocol and frozen=True, which keeps none"
        )


def _chunk() -> dict[str, Any]:
    return {"views": 0, "bytes": 0, "crc32": dict.fromkeys(TENSORS, 0)}


def _progress(place: Path) -> dict[str, Any] | None:
    """What an interrupted call has written; None for nothing."""
    if not (place / PARTIAL).exists() or not (place / PROGRESS).exists():
        return None
    told: dict[str, Any] = json.loads((place / PROGRESS).read_text())
    return told


def _write(file: IO[bytes], form: Form, part: FeatureBank, *, at: int, chunk: dict[str, Any]) -> None:
    """Put a batch of features at their place and count them."""
    for name, (start, size) in form.starts().items():
        content = _bytes(getattr(part, name))
        if len(content) != size * len(part):
            raise ValueError(f"{name} of a view have {tuple(getattr(part, name).shape[1:])} values, not as before")
        file.seek(start + at * size)
        file.write(content)
        chunk["crc32"][name] = zlib.crc32(content, chunk["crc32"][name])
        chunk["bytes"] += len(content)
    chunk["views"] += len(part)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def read_features(place: Path, key: Mapping[str, Any]) -> FeatureBank:
    """Features from disk, memory-mapped: what is not looked at takes no memory.

    Raises:
        FeatureCacheError: when they are damaged, or of another key.
    """
    try:
        told = json.loads((place / MANIFEST).read_text())
        with safe_open(place / FEATURES, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in TENSORS}
        size, grid, chunks = (place / FEATURES).stat().st_size, Grid(*told["grid"]), told["chunks"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise _damaged(place, f"{type(error).__name__}: {error}") from error
    if told["key"] != dict(key):
        raise FeatureCacheError(f"the features in {place} belong to other settings than asked for; move them away")
    if size != told["bytes"]:
        raise _damaged(place, f"{FEATURES} has {size} bytes, not {told['bytes']}")
    start = 0
    # Where videos could not be read there is room that nobody filled.
    found = {name: tensor[: sum(chunk["views"] for chunk in chunks)] for name, tensor in found.items()}
    for chunk in chunks:
        for name, tensor in found.items():
            if zlib.crc32(_bytes(tensor[start : start + chunk["views"]])) != chunk["crc32"][name]:
                raise _damaged(place, f"the {name} of views {start} to {start + chunk['views'] - 1} have changed")
        start += chunk["views"]
    return FeatureBank(grid=grid, failed=tuple(_unread(told)), **found)


def _damaged(place: Path, reason: str) -> FeatureCacheError:
    return FeatureCacheError(
        f"the features in {place} are damaged: {reason}. Delete that folder, and they are computed again"
    )


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Keep other processes from writing the same features; the lock ends with the process, however it ends."""
    place.mkdir(parents=True, exist_ok=True)
    with open(place / LOCK, "w") as file:
        try:
            import fcntl
        except ImportError:  # Windows; nobody is kept away there
            yield
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FeatureCacheError(f"another process is writing features to {place}; wait for it to end") from None
        yield
