"""Scores of an evaluation while it runs, on disk: a run that was killed goes on, and ends with the same numbers.

Each process of a run appends one line per batch to a file of its own. A line is written whole or is the last of its
file, torn, and is left out then: nothing needs to be repaired. The first line of a file says what the scores depend on;
files that say something else are left alone.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from zoo.batch import Unread
from zoo.data.cache import decoder_version
from zoo.data.datamodule import VideoDataModule
from zoo.training.feature_cache import list_hash, weights_hash
from zoo.training.predictions import ViewScores

PATTERN = "scores-*.jsonl"
COLUMNS = ("scores", "labels", "rows", "views", "targets")


class ScoreLog:
    """Scores of the batches of an evaluation.

    Args:
        folder: of the run; made when missing.
        key: everything that the scores and the batches depend on, as plain values.

    Attributes:
        known: number of each batch that an earlier run scored, and its scores.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any]) -> None:
        self.key = json.loads(json.dumps(dict(key)))
        folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[int, ViewScores] = {}
        for path in sorted(folder.glob(PATTERN)):
            self.known.update(read_scores(path, self.key))
        self.path = folder / PATTERN.replace("*", f"{os.getpid()}-{secrets.token_hex(4)}")

    @property
    def done(self) -> frozenset[int]:
        """Numbers of the batches that an earlier run scored."""
        return frozenset(self.known)

    def add(self, number: int, scored: ViewScores) -> None:
        """Append the scores of a batch.

        Args:
            number: of the batch among those of the whole list.
            scored: on the CPU.

        Raises:
            OSError: when the disk is full or closed.
        """
        columns = {name: it.contiguous() for name in COLUMNS if (it := getattr(scored, name)) is not None}
        content = base64.b64encode(safetensors.torch.save(columns)).decode()
        line = {"batch": number, "scores": content, "failed": [list(it) for it in scored.failed]}
        head = [] if self.path.exists() else [self.key]
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(it)}\n" for it in [*head, line])


def read_scores(path: Path, key: Mapping[str, Any]) -> dict[int, ViewScores]:
    """Batches of a file up to the first torn line; none of a file with another key."""
    found: dict[int, ViewScores] = {}
    with path.open("rb") as file:
        try:
            if json.loads(file.readline()) != key:
                return {}
            for line in file:
                told = json.loads(line)
                columns = safetensors.torch.load(base64.b64decode(told["scores"], validate=True))
                failed = tuple(Unread(*it) for it in told["failed"])
                scores, labels, rows, views = (columns[name] for name in COLUMNS[:4])
                found[told["batch"]] = ViewScores(scores, labels, rows, views, columns.get("targets"), failed)
        except (ValueError, KeyError, TypeError, SafetensorError):
            return found
    return found


def clear_scores(folder: Path) -> None:
    """Remove the scores of an evaluation whose result is stored."""
    for path in folder.glob(PATTERN):
        path.unlink(missing_ok=True)


def score_key(module: torch.nn.Module, data: VideoDataModule, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the scores of a test list depend on, and its cutting into batches.

    Args:
        module: the network with its head.
        data: the test list, and how clips are read.
        options: everything else, as plain values: arithmetic, questions, number of processes.
    """
    decoder = data.reader.decoder
    return {
        "weights": weights_hash(module),
        "modules": str(module),
        "list": list_hash(data.test_records),
        "clip": data.spec.to_dict(),
        "batch_size": data.batch_size,
        "decoder": f"{decoder}: {decoder_version(decoder)}",
        "torch": torch.__version__,
        **options,
    }
