"""Metrics again from the scores that an evaluation stored, without the network."""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.evaluate import numbers
from benchmarks.results import Interval, Result, Store
from benchmarks.session import RequestError
from zoo.training.predictions import ATTENDED, MEAN, SOFTMAX, Predictions, ViewScores, as_rule, merge


class Recomputed(NamedTuple):
    """Metrics of stored scores.

    Attributes:
        metrics: the headline metric first.
        rule: how views were merged.
        predictions: one line per video.
    """

    metrics: dict[str, Interval]
    rule: str
    predictions: Predictions


def recompute(path: Path, rule: str = "") -> Recomputed:
    """Merging and metrics again from the scores stored beside a result; nothing is written.

    Args:
        path: the JSON file of a result.
        rule: merge rule; "" for the result's own.

    Raises:
        UnknownNameError: for an unknown rule.
        RequestError: for a file that is no such result, and for a rule that needs the network.
    """
    try:
        result = Result.from_json(path.read_text(encoding="utf-8"))
        stored = Store(path.parent).arrays(result, "views")
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RequestError(f"{path}: no scores of views to merge again: {error}") from None
    own = result.settings.get("merge", SOFTMAX)
    wanted = as_rule(rule) if rule else own
    if wanted == ATTENDED and own != ATTENDED:
        raise RequestError(f"{path}: {wanted!r} asks the network about several clips at once; stored are single views")
    if (wanted == MEAN) != (own == MEAN):
        raise RequestError(f"{path}: scores merged by {own!r} cannot be merged by {wanted!r}")
    # A row that lost a window was stored with the rest of its views, and has no prediction.
    kept = np.isin(stored["rows"], Store(path.parent).arrays(result, "predictions")["rows"])
    columns = {name: torch.from_numpy(np.ascontiguousarray(value[kept])) for name, value in stored.items()}
    labels, rows, views = (columns[name].long() for name in ("labels", "rows", "views"))
    scores = ViewScores(columns["scores"], labels, rows, views, columns.get("targets"))
    predictions = merge(scores, rule=wanted, num_views=1, windows=Counter(scores.rows.tolist()))
    per_scene = int(result.details.get("videos_per_scene", 1))
    headline = str(result.settings.get("metric", "top1"))
    return Recomputed(numbers(predictions, headline=headline, per_scene=per_scene), wanted, predictions)
