"""What is known of the files in the user's cache: their hashes, and the record of the first one that was trusted."""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zoo.card import Weights
from zoo.folders import weights_folder
from zoo.weight_files import CheckpointError

RECORD = "verified.json"
BLOCK = 2**22
_logger = logging.getLogger(__name__)
_digests: dict[tuple[int, int, int, int], "Digests"] = {}


class Digests(NamedTuple):
    """Hashes of a file, in hexadecimal."""

    sha256: str
    md5: str


class Expected(NamedTuple):
    """Hashes that a file must have; empty ones are unknown.

    Attributes:
        sha256: from the card, or from the record.
        md5_prefix: beginning of the MD5, from the card.
        said_by: who says so, for messages.
    """

    sha256: str
    md5_prefix: str
    said_by: str


def digests(path: Path) -> Digests:
    """Hashes of a file as it lies on the disk; read once per process as long as the file stays the same.

    Raises:
        OSError: when it cannot be read.
    """
    status = os.stat(path)
    key = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    if key not in _digests:
        # MD5 tells damage from another file, as its authors mean it; it protects against nobody.
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                sha256.update(block)
                md5.update(block)
        _digests[key] = Digests(sha256.hexdigest(), md5.hexdigest())
    return _digests[key]


def expected(weights: Weights, name: str, cache: str | Path | None = None) -> Expected:
    """The hashes that any file of a card must have.

    Raises:
        CheckpointError: when the record is damaged or contradicts the card.
    """
    record = read_record(name, cache)
    recorded, pinned = (record or {}).get("sha256", ""), (weights.sha256 or "").lower()
    path = weights_folder(name, cache) / RECORD
    if pinned and recorded and pinned != recorded:
        reason = f"it says sha256 {recorded}, and the card of {name} says {pinned}; delete it if the card is right"
        raise CheckpointError(path, reason)
    return Expected(pinned or recorded, weights.md5_prefix.lower(), "the card" if pinned else f"the record {path}")


def mismatch(path: Path, wanted: Expected) -> str:
    """How the hashes of a file differ from the expected ones; empty when they do not.

    Raises:
        OSError: when it cannot be read.
    """
    if not wanted.sha256 and not wanted.md5_prefix:
        return ""
    found = digests(path)
    if wanted.sha256 and found.sha256 != wanted.sha256:
        return f"its sha256 is {found.sha256}, and {wanted.said_by} says {wanted.sha256}"
    if not found.md5.startswith(wanted.md5_prefix):
        return f"its MD5 is {found.md5}, and the authors say {wanted.md5_prefix}..."
    return ""


def read_record(name: str, cache: str | Path | None = None) -> dict[str, Any] | None:
    """What the first trusted load of a card recorded; None when there was none.

    Raises:
        CheckpointError: when the record is damaged.
    """
    path = weights_folder(name, cache) / RECORD
    record = read_json(path)
    if record is not None and not _is_sha256(record.get("sha256")):
        raise CheckpointError(path, "it names no sha256; delete it if you trust your file, which the next load records")
    return record


def remember(name: str, path: Path, *, cache: str | Path | None = None) -> None:
    """Record the hash of a file that has just been loaded strictly into the network of its card.

    Only a whole load is worth this: what was merely downloaded may be a sound file of other weights. A cache that
    cannot be written is no reason to refuse sound weights, so that it is logged only.

    Args:
        name: of the card.
        path: the file.
        cache: in place of `cache_root()`.

    Raises:
        CheckpointError: when another file of this card was recorded before.
    """
    found, record = digests(path).sha256, read_record(name, cache)
    if record is not None:
        if record["sha256"] != found:
            where = weights_folder(name, cache) / RECORD
            raise CheckpointError(path, f"its sha256 is {found}, and {where} says {record['sha256']}")
        return
    try:
        write_json(
            weights_folder(name, cache) / RECORD, {"sha256": found, "size": path.stat().st_size, "file": path.name}
        )
    except OSError as error:
        _logger.warning("the sha256 of %s is not recorded: %s", path, error)


def read_json(path: Path) -> dict[str, Any] | None:
    """A dictionary from a file; None where there is none.

    Raises:
        CheckpointError: for a file that holds something else.
    """
    try:
        values = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(path, f"it cannot be read ({error}); delete it if you know why") from None
    if not isinstance(values, dict):
        raise CheckpointError(path, f"it should hold a dictionary, not a {type(values).__name__}")
    return values


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write beside, flush, rename.

    Raises:
        OSError: when the folder is closed or the disk full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with open(beside, "w") as file:
            json.dump(values, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and all(it in "0123456789abcdef" for it in text)
