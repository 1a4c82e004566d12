"""Read a file of weights without trusting it: nothing in it is ever executed, and every refusal names the file.

Accepted are safetensors files and what torch.save writes, the latter read with `weights_only=True` always and with
exactly one extra class allowed, argparse.Namespace, in which the MAE family keeps its command line. torch must be 2.6
or newer, because older restricted loaders could be made to run code (CVE-2025-32434).
"""

import argparse
import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

MAX_TENSORS = 20_000  # the largest released file of the families has 582; headers of 100 000 entries take seconds
SPARE_BYTES = 2**28  # tensors that share memory, such as tied weights and expanded tables, claim more than is stored
MAX_WRAPPERS = 8  # a pickle may hold a dictionary that contains itself; no training code puts more than three around
# From target_encoder to encoder: networks beside each other in a file of V-JEPA, of which its authors evaluate the
# target encoder. The classifier is its probe; V-JEPA 2 trains many at once and releases a list of one, `classifiers`.
# Running averages (timm's and the MAE family's) count only where the weights themselves are not there.
WRAPPERS = (
    "state_dict",
    "model",
    "module",
    "model_state",
    "model_state_dict",
    "target_encoder",
    "ema_encoder",
    "encoder",
    "classifier",
    "model_ema",
    "state_dict_ema",
)
PREDICTOR = "predictor"
STATE_DICT = "<state dict>"  # in the place of a path, in messages
_REFUSED_CLASS = re.compile(r"GLOBAL (\S+)|Trying to call .*?function (\S+)|class (\S+)", re.S)


class CheckpointError(RuntimeError):
    """A file of weights that cannot be used.

    Attributes:
        path: the file, or "<state dict>".
        reason: what is wrong with it.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot load {self.path!r}: {self.reason}"


class Contents(NamedTuple):
    """What a file holds.

    Attributes:
        state: the tensors by name.
        wrapper: names of the dictionaries around them, such as "model"; empty for a bare state dict.
        ignored: entries beside the tensors that are no tensors.
        metadata: text that a safetensors file carries.
        predictor: tensors of a predictor that lies beside the encoder.
    """

    state: dict[str, Tensor]
    wrapper: str
    ignored: list[str]
    metadata: dict[str, str]
    predictor: dict[str, Tensor] = {}  # noqa: RUF012 - a default of a NamedTuple, never written to


def read_weights(path: str | Path, entry: str = "") -> Contents:
    """The tensors of a file, on the CPU.

    Args:
        path: the file.
        entry: which dictionary of the file, such as "encoder" or "classifiers.0"; empty for the usual one.

    Raises:
        CheckpointError: for whatever is not a sound file of weights.
    """
    path = Path(os.path.expanduser(path))
    kind = sniff(path)
    if kind == "safetensors":
        if entry:
            raise CheckpointError(path, f"a safetensors file has no entry {entry!r}: it holds one network only")
        state, metadata = _read_safetensors(path)
        return Contents(state, "", [], metadata)
    if kind == "zip":
        _check_zip(path)
    return unwrap(_torch_load(path), path, entry)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text that a safetensors file carries; empty for other files.

    Raises:
        CheckpointError: as `read_weights`.
    """
    path = Path(os.path.expanduser(path))
    if sniff(path) != "safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except Exception as error:
        raise CheckpointError(path, f"damaged safetensors file ({_first_line(error)})") from None


def extent(path: str | Path) -> tuple[int, int]:
    """Number of tensors in a safetensors file, and its size in bytes.

    Raises:
        CheckpointError: as `read_weights`.
    """
    path = Path(os.path.expanduser(path))
    try:
        with safe_open(path, framework="pt") as file:
            return len(list(file.keys())), path.stat().st_size
    except Exception as error:
        raise CheckpointError(path, f"damaged safetensors file ({_first_line(error)})") from None


def unwrap(value: object, path: str | Path, entry: str = "") -> Contents:
    """The state dict inside the dictionaries that training codes put around it.

    Args:
        value: what the file holds.
        path: the file, for messages.
        entry: which dictionary of the file; empty for the usual one.

    Raises:
        CheckpointError: when there is none.
    """
    whole = value
    wrappers: list[str] = [entry] if entry else []
    value = _entry(value, entry, path)
    while isinstance(value, Mapping) and (inner := _wrapped(value)):
        wrappers.append(inner)
        if len(wrappers) > MAX_WRAPPERS:
            raise CheckpointError(path, f"its dictionaries are nested without end: {'.'.join(wrappers[:4])}...")
        value = _only(value[inner], path)
    if not isinstance(value, Mapping):
        raise CheckpointError(path, f"it holds a {type(value).__name__}, not a dictionary of tensors")
    if odd := [key for key in value if not isinstance(key, str)]:
        raise CheckpointError(path, f"its keys should be names, but one is {odd[0]!r}")
    state = {name: tensor.detach() for name, tensor in value.items() if isinstance(tensor, Tensor)}
    if not state:
        raise CheckpointError(path, f"it holds no tensors; its entries are {_keys(value)}")
    if len(state) > MAX_TENSORS:
        raise CheckpointError(path, f"{len(state)} tensors; no network of the zoo has more than {MAX_TENSORS}")
    if odd := [name for name, tensor in state.items() if tensor.layout != torch.strided or tensor.is_quantized]:
        raise CheckpointError(path, f"{odd[0]!r} is a sparse or quantised tensor")
    _check_claims(state, path)
    beside = whole.get(PREDICTOR) if isinstance(whole, Mapping) and value is not whole else None
    predictor = {name: it.detach() for name, it in _tensors(beside).items()}
    return Contents(state, ".".join(wrappers), [key for key in value if key not in state], {}, predictor)


def _entry(value: object, entry: str, path: str | Path) -> object:
    """What stands under a dotted name; numbers count the members of a list.

    Raises:
        CheckpointError: when there is no such entry, naming those that there are.
    """
    for word in filter(None, entry.split(".")):
        known = list(value) if isinstance(value, Mapping) else []
        if isinstance(value, list | tuple):
            known = [str(index) for index in range(len(value))]
            value = dict(zip(known, value, strict=True))
        if not isinstance(value, Mapping) or word not in value:
            there = ", ".join(repr(it) for it in known[:8]) or "none"
            raise CheckpointError(path, f"it has no entry {entry!r}: {word!r} is not there; entries there are {there}")
        value = value[word]
    return value


def _only(value: object, path: str | Path) -> object:
    """The one member of a list; anything else as it is.

    Raises:
        CheckpointError: for a list of several, of which nobody knows which is meant.
    """
    if not isinstance(value, list | tuple):
        return value
    if len(value) != 1:
        raise CheckpointError(path, f"it holds a list of {len(value)} state dicts; name the entry, as 'classifiers.0'")
    return value[0]


def _keys(value: object) -> str:
    keys = list(value)[:8] if isinstance(value, Mapping) else []
    return ", ".join(repr(key) for key in keys) or "none at all"


def _tensors(value: Any) -> dict[str, Tensor]:
    """A state dict; empty for anything else."""
    mapping = value if isinstance(value, Mapping) else {}
    return {str(name): it for name, it in mapping.items() if isinstance(it, Tensor)}


def _check_claims(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse tensors that repeat few stored values many times: they would fill the memory when they are copied."""
    real = [tensor for tensor in state.values() if not tensor.is_meta]
    stored = sum({it.untyped_storage().data_ptr(): it.untyped_storage().nbytes() for it in real}.values())
    claimed = sum(it.numel() * it.element_size() for it in real)
    if claimed > 2 * stored + SPARE_BYTES:
        raise CheckpointError(path, f"its tensors claim {claimed:,} bytes, but only {stored:,} are there")


def _wrapped(value: Mapping[Any, Any]) -> str:
    """Name of the dictionary inside `value` that holds the weights; empty when `value` itself does."""
    found = (key for key in WRAPPERS if isinstance(value.get(key), Mapping) and value[key])
    several = "classifiers" if isinstance(value.get("classifiers"), list | tuple) and value["classifiers"] else ""
    return next(found, several)


def sniff(path: Path) -> str:
    """What a file is, by its first bytes: "safetensors", "zip" or "pickle".

    Raises:
        CheckpointError: for everything else, saying what it looks like.
    """
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise CheckpointError(path, "it is a folder; name the file in it")
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(path, "it is not a regular file")
        with open(path, "rb") as file:
            head = file.read(512)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, _first_line(error)) from None
    if head[:4] == b"PK\x03\x04":
        return "zip"
    if len(head) > 8 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= status.st_size - 8:
        return "safetensors"
    if head[:1] == b"\x80" and head[257:262] != b"ustar":
        return "pickle"
    raise CheckpointError(path, _describe(head, status.st_size))


def _describe(head: bytes, size: int) -> str:
    """Why a file with this beginning holds no weights."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not size:
        return "the file is empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        return "it is a web page, not weights: the download link was answered with HTML"
    if text.startswith(b"version https://git-lfs"):
        return "it is a git-lfs pointer, not weights: run `git lfs pull` where it came from"
    if head[257:262] == b"ustar":
        return "it is a tar archive (or torch's format before 0.4); unpack it, or save it again with a newer torch"
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        return "it is a compressed file; unpack it and name the file of weights in it"
    if head.startswith(b"\x93NUMPY"):
        return "it is a numpy array, and weights are many arrays with names"
    if head[8:9] == b"{":
        return "damaged safetensors file: its header is longer than the file"
    return f"neither a safetensors nor a torch file: {size} bytes that begin with {head[:16]!r}"


def _check_zip(path: Path) -> None:
    """Refuse archives that are damaged, and those that unpack to more than their size.

    torch.save stores its members as they are. A deflated one, or one that overlaps another, can claim any size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if deflated := [it.filename for it in members if it.compress_type != zipfile.ZIP_STORED]:
                raise CheckpointError(
                    path, f"its member {deflated[0]!r} is compressed, which torch never does (zip bomb?)"
                )
            names = [it.filename for it in members]
            if astray := [name for name in names if name.startswith("/") or ".." in re.split(r"[/\\]", name)]:
                raise CheckpointError(path, f"its member {astray[0]!r} leads out of the archive")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                # Readers disagree on which of them counts, so that what was checked need not be what is read.
                raise CheckpointError(path, f"two members are called {twice[0]!r}")
            if sum(it.file_size for it in members) > path.stat().st_size:
                raise CheckpointError(path, "its members claim more bytes than the file has (zip bomb?)")
            if damaged := archive.testzip():
                raise CheckpointError(path, f"its member {damaged!r} is damaged: the checksum is wrong")
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(path, f"truncated or damaged file ({_first_line(error)})") from None


def _torch_load(path: Path) -> object:
    """What a torch file holds, as tensors and plain values."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch's own text advises to load again without the restriction, which is the last thing to do.
        raise CheckpointError(path, _pickle_reason(error)) from None


def _pickle_reason(error: Exception) -> str:
    """Why the restricted loader gave up."""
    text = str(error)
    if "weights_only" not in text.lower() and "WeightsUnpickler" not in text:
        return f"truncated or damaged file ({_first_line(error)})"
    match = _REFUSED_CLASS.search(text)
    name = next((group for group in match.groups() if group), "") if match else ""
    what = f"it asks for {name.strip('`,.')!r}, which" if name else "it holds something that"
    return f"{what} is neither a tensor nor a plain value; refused, and nothing in the file was executed"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise CheckpointError(path, f"{len(names)} tensors; no network of the zoo has more than {MAX_TENSORS}")
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(path, f"damaged safetensors file ({_first_line(error)})") from None


def _first_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
