"""Results: one JSON file per run, written whole or not at all, never overwritten.

A result is found again by what was run (`Identity`), so a sweep that starts a second time repeats nothing. Everything
that only describes the circumstances (commit, device, versions, seconds) is recorded beside it and is no part of the
identity. Predictions and pictures lie next to the JSON as .npz files without pickled objects.
"""

import hashlib
import io
import json
import math
import os
import re
import secrets
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

SCHEMA = 1
Kind = Literal["teacher", "tokenizer", "pretrain", "evaluate", "control", "cost"]
RANDOM = "random"
WEIGHTS = "weights-"  # before the hash of a file, where that is what a system starts from
Json = str | int | float | bool | None | list[Any] | dict[str, Any]
STALE_AFTER_S = 3600.0  # a temporary file this old belongs to a writer that was killed


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


class Problem(NamedTuple):
    """A file in the store that is no result, and why."""

    path: Path
    reason: str


def digest(value: Json) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What was run; two runs of one identity are the same experiment.

    Attributes:
        kind: training of a teacher or of a tokenizer, pretraining, evaluation, control row or cost measurement.
        system: name of the card or of the control.
        init: where the weights came from: "random" or the name of the pretraining objective.
        suite: suite of videos.
        task: task of the suite; "" for what concerns all tasks (pretraining, costs).
        split_hash: hash of the lists and files the run saw.
        protocol: name of the protocol, or of the objective of a pretraining run.
        settings_hash: `digest` of every setting that shapes the numbers (architecture overrides, steps, rates, views).
        seed: seed of weights, order and augmentation.
    """

    kind: Kind
    system: str
    init: str
    suite: str
    task: str
    split_hash: str
    protocol: str
    settings_hash: str
    seed: int

    @property
    def key(self) -> str:
        """Hash of all fields: the name under which a result is found again."""
        return digest({"schema": SCHEMA, **asdict(self)})

    @property
    def stem(self) -> str:
        """File name without ending: readable first, unique by the key at its end."""
        words = [self.kind, self.system, self.init, self.task, self.protocol, f"seed{self.seed}", self.key]
        return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", word) for word in words if word)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One finished run.

    Attributes:
        identity: what was run.
        settings: every setting behind `identity.settings_hash`, in full.
        metrics: measured numbers, as estimate and 95 % interval; a number without an interval repeats itself three
            times.
        n_expected: number of test videos listed.
        n_evaluated: number of test videos scored.
        failed: the test videos that could not be scored, as "path: reason".
        curves: logged while running, one dict per logged step with the key "step".
        details: what was counted on the way (parameters, clips seen, cost points).
        arrays: name -> file of the arrays stored beside this file.
        weights: file of trained weights, relative to the store; "" when none were kept.
        device: processor, threads, accelerator.
        versions: package -> version.
        decoder: which decoder read the clips.
        commit: commit of the zoo, with "+changes" when files differed from it; "" outside a checkout.
        seconds: wall-clock time.
        command: command line that ran it.
        created: UTC time of writing.
        schema: version of this format.
    """

    identity: Identity
    settings: dict[str, Any]
    metrics: dict[str, Interval]
    n_expected: int = 0
    n_evaluated: int = 0
    failed: list[str] = field(default_factory=list)
    curves: list[dict[str, float | int]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, str] = field(default_factory=dict)
    weights: str = ""
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    decoder: str = ""
    commit: str = ""
    seconds: float = 0.0
    command: str = ""
    created: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if digest(self.settings) != self.identity.settings_hash:
            raise ValueError(f"the settings of {self.identity.stem} do not have the hash its identity names")
        if self.n_evaluated + len(self.failed) != self.n_expected:
            raise ValueError(
                f"{self.identity.stem}: {self.n_evaluated} videos scored and {len(self.failed)} failed "
                f"do not add up to the {self.n_expected} listed"
            )

    @property
    def complete(self) -> bool:
        """True when every listed test video was scored: only then is its accuracy a headline number."""
        return not self.failed

    @property
    def headline(self) -> Interval | None:
        """The number that the run is about; None where there is none."""
        return next(iter(self.metrics.values()), None)

    @property
    def protocol_hash(self) -> str:
        """Hash of what must be equal for two numbers to stand in one column.

        That is how systems are trained and scored: the protocol with all of its settings, which frames, clips and crops
        are looked at, how they are merged, and which part of a list. The size of a network's clips is its own.
        """
        clip = self.settings.get("clip", {})
        return digest(
            {
                "protocol": self.identity.protocol,
                "settings": self.settings.get("protocol", {}),
                "views": {name: clip.get(name) for name in ("sampling", "clips", "crops")},
                **{name: self.settings.get(name) for name in ("merge", "metric", "limit")},
            }
        )

    def to_json(self) -> str:
        """The file's text. Raises ValueError for a number that is not finite."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Read what `to_json` wrote.

        Raises:
            ValueError: for text that is torn, of another schema, or no result at all.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or "identity" not in raw:
            raise ValueError("not a result of this zoo: no identity")
        if raw.get("schema") != SCHEMA:
            raise ValueError(f"schema {raw.get('schema')!r}; this version reads schema {SCHEMA}")
        names = {entry.name for entry in fields(cls)}
        if raw.keys() != names:
            raise ValueError(f"fields differ from a result's: {sorted(raw.keys() ^ names)}")
        try:
            identity = Identity(**raw["identity"])
            metrics = {name: Interval(*values) for name, values in raw["metrics"].items()}
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a result of this zoo: {error}") from error
        if not all(math.isfinite(number) for values in metrics.values() for number in values):
            raise ValueError("a metric is not a finite number")
        return cls(**{**raw, "identity": identity, "metrics": metrics})


class Store:
    """A folder of results. Many processes may add to it at the same time.

    Args:
        folder: created when missing.

    Attributes:
        problems: files that the last `results()` could not read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def add(self, result: Result, arrays: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> Path:
        """Write one result and the arrays beside it; what is there already stays as it is.

        Args:
            result: the finished run.
            arrays: file name suffix -> named arrays, such as {"predictions": {"rows": ..., "labels": ...}}.

        Returns:
            Path of the JSON file. A second result of the same identity gets a number in its name and is found after
            the first.
        """
        stem = result.identity.stem
        names = dict(result.arrays)
        # Arrays first: a JSON file that exists is a complete result.
        for name, values in (arrays or {}).items():
            names[name] = write_arrays(self.folder, f"{stem}.{name}", values).name
        text = Result(**{**_shallow(result), "arrays": names}).to_json()
        return write_new(self.folder, stem, ".json", (text + "\n").encode())

    def results(self) -> list[Result]:
        """All readable results, sorted by file name; unreadable files are listed in `problems`."""
        found, self.problems = [], []
        for path in sorted(self.folder.glob("*.json"), key=_order):
            try:
                result = Result.from_json(path.read_text(encoding="utf-8"))
                self._check_arrays(result)
                found.append(result)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                self.problems.append(Problem(path, f"not a whole JSON file: {error}"))
            except (OSError, ValueError) as error:
                self.problems.append(Problem(path, str(error)))
        return found

    def finished(self) -> dict[str, Result]:
        """Key of what was run -> its first result."""
        first: dict[str, Result] = {}
        for result in self.results():
            first.setdefault(result.identity.key, result)
        return first

    def arrays(self, result: Result, name: str) -> dict[str, np.ndarray]:
        """Arrays stored beside a result.

        Raises:
            ValueError: when the result has no such arrays, or their file is missing or torn; names the file.
        """
        if name not in result.arrays:
            raise ValueError(f"{result.identity.stem} has no arrays {name!r}; it has {sorted(result.arrays)}")
        path = self.folder / result.arrays[name]
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {key: archive[key] for key in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: {error}") from error

    def _check_arrays(self, result: Result) -> None:
        """Raise ValueError when a file of arrays is missing or damaged: such a run counts as not done."""
        for name in result.arrays.values():
            try:
                with zipfile.ZipFile(self.folder / name) as archive:
                    damaged = archive.testzip()
            except (OSError, zipfile.BadZipFile, zlib.error) as error:
                raise ValueError(f"its arrays cannot be read: {name}: {error}") from None
            if damaged:
                raise ValueError(f"its arrays cannot be read: {name} is damaged at {damaged}")

    def _sweep(self) -> None:
        for path in self.folder.glob(".*.tmp"):
            try:
                if time.time() - path.stat().st_mtime > STALE_AFTER_S:
                    path.unlink()
            except OSError:
                continue  # another process swept it first


def _order(path: Path) -> tuple[str, int]:
    """Sorts the numbered names of one identity in the order in which they were given."""
    stem, _, number = path.stem.rpartition(".")
    return (stem, int(number)) if number.isdigit() else (path.stem, 1)


def _shallow(result: Result) -> dict[str, Any]:
    return {entry.name: getattr(result, entry.name) for entry in fields(result)}


def write_arrays(folder: Path, stem: str, values: Mapping[str, np.ndarray]) -> Path:
    """Store arrays as a compressed .npz under a new name.

    Raises:
        ValueError: for arrays of objects, which would need pickle.
    """
    if objects := [name for name, value in values.items() if value.dtype.hasobject]:
        raise ValueError(f"arrays of Python objects cannot be stored safely: {objects}")
    content = io.BytesIO()
    np.savez_compressed(content, **values)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    return write_new(folder, stem, ".npz", content.getvalue())


def write_new(folder: Path, stem: str, ending: str, content: bytes) -> Path:
    """Write a file that did not exist, in one step: readers see nothing or all of it.

    Returns:
        `stem + ending`, or the first of stem.2, stem.3, ... that is free.
    """
    temporary = folder / f".{os.getpid()}-{secrets.token_hex(6)}.tmp"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return _publish(temporary, folder, stem, ending)
    finally:
        temporary.unlink(missing_ok=True)


def _publish(temporary: Path, folder: Path, stem: str, ending: str) -> Path:
    """Give a complete temporary file a name that nobody has; the loser of a race takes the next number."""
    number = 1
    while True:
        path = folder / (f"{stem}{ending}" if number == 1 else f"{stem}.{number}{ending}")
        if _claim(temporary, path):
            _flush_folder(folder)
            return path
        number += 1


def _claim(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        return _claim_without_links(temporary, path)
    return True


def _claim_without_links(temporary: Path, path: Path) -> bool:
    """For file systems without hard links: reserve the name, then move the content over the empty file."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    os.replace(temporary, path)
    return True


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows cannot open a folder
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def settings_differences(results: Sequence[Result]) -> dict[str, list[Json]]:
    """Settings that are not the same in all results: what a table's footnote has to say."""
    values: dict[str, list[Json]] = {}
    for name in sorted({name for result in results for name in result.settings}):
        seen: list[Json] = []
        for result in results:
            value = result.settings.get(name)
            if value not in seen:
                seen.append(value)
        if len(seen) > 1:
            values[name] = seen
    return values
