"""Scores of views, and their merging into one answer per video, by its row."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from zoo.batch import Unread
from zoo.suggest import unknown

SOFTMAX, LOGITS, ATTENDED, MEAN = "mean of softmax", "mean of logits", "segments attended", "mean"
# Rule -> what it does, and who publishes numbers by it.
MERGE_RULES: Mapping[str, str] = {
    SOFTMAX: "softmax of each view, then the mean (VideoMAE, UMT, VideoMamba: engine_for_finetuning.py, merge)",
    LOGITS: "mean of the scores of the views, then softmax",
    ATTENDED: "the head looks at all clips of a crop at once; softmax of each crop, then the mean (V-JEPA's probes)",
    MEAN: "mean of the values of the views, for regressions",
}
SHOWN = 10


class ViewScores(NamedTuple):
    """What a network says of every view, before anything is merged, on the CPU.

    Attributes:
        scores: before softmax, or the values of a regression.
        labels: true classes.
        rows: row of each view's video.
        views: number of the view among those of its row, from 0; -1 where they are to be counted as they come.
        targets: what a regression should give; None where classes are asked for.
        failed: videos that could not be read.
    """

    scores: Float[Tensor, "views outputs"]
    labels: Int64[Tensor, "views"]
    rows: Int64[Tensor, "views"]
    views: Int64[Tensor, "views"]
    targets: Float[Tensor, "views"] | None = None
    failed: tuple[Unread, ...] = ()


class Predictions(NamedTuple):
    """One line per video, rows ascending, on the CPU.

    Attributes:
        probabilities: of every class `[videos, classes]`, float32; for a regression the value, as the only column.
        labels: true classes.
        rows: row of each video in its list.
        targets: what a regression should give; None where classes are asked for.
        failed: videos of the list that have no prediction.
    """

    probabilities: Float[Tensor, "videos classes"]
    labels: Int64[Tensor, "videos"]
    rows: Int64[Tensor, "videos"]
    targets: Float[Tensor, "videos"] | None = None
    failed: tuple[Unread, ...] = ()


def as_rule(name: str) -> str:
    """The merge rule of a name; blanks may be hyphens or underscores.

    Raises:
        UnknownNameError: naming the closest.
    """
    rule = name.replace("-", " ").replace("_", " ").strip().lower()
    if rule not in MERGE_RULES:
        raise unknown("merge rule", name, MERGE_RULES)
    return rule


def join(parts: Sequence[ViewScores]) -> ViewScores:
    """Scores of several batches or processes, sorted by row and view, whatever order they came in.

    Raises:
        ValueError: without parts, and when some have targets and some have none.
    """
    scored = [part for part in parts if len(part.rows)] or list(parts[:1])
    if not scored:
        raise ValueError("there are no scores to join")
    if len({part.targets is None for part in scored}) > 1:
        raise ValueError("some views have a target and some have none")
    scores, labels, rows, views = (torch.cat(column) for column in list(zip(*scored, strict=True))[:4])
    given = [part.targets for part in scored if part.targets is not None]
    targets = torch.cat(given) if given else None
    if (views < 0).any():
        views = count_views(rows)
    order = views.argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    return ViewScores(
        scores[order],
        labels[order],
        rows[order],
        views[order],
        None if targets is None else targets[order],
        tuple(sorted({failure for part in parts for failure in part.failed})),
    )


def count_views(rows: Int64[Tensor, "views"]) -> Int64[Tensor, "views"]:
    """Number of each view among those of its row, in the order given: for clips that nobody numbered."""
    seen: Counter[int] = Counter()
    numbers = []
    for row in rows.tolist():
        numbers.append(seen[row])
        seen[row] += 1
    return torch.tensor(numbers, dtype=torch.int64)


def merge(
    given: ViewScores,
    *,
    rule: str = SOFTMAX,
    num_views: int | None = None,
    windows: Mapping[int, int] | None = None,
) -> Predictions:
    """One prediction per video from those of its views.

    Videos are told apart by row. The authors use the file name up to the first dot, which mixes videos of equal name in
    different folders (Breakfast). A row of which any part could not be read has no prediction.

    Args:
        given: scores of all views, in any order.
        rule: one of `MERGE_RULES`.
        num_views: views of a record; None for any number that all videos have.
        windows: row -> number of records, for every row of the list; None when each row has one and the list is not
            known. With both, exactly these views must be there.

    Raises:
        UnknownNameError: for a rule that does not exist.
        ValueError: when views are missing, doubled or of no listed row; when views of one video have different labels
            or targets; when a rule for classes is used on values, or the other way round; for scores that are no
            numbers, which would count as an answer.
    """
    rule = as_rule(rule)
    if (rule == MEAN) != (given.targets is not None):
        kind = "values of a regression" if given.targets is not None else "scores of classes"
        raise ValueError(f"{kind} are not merged by {rule!r}; use {MEAN if given.targets is not None else SOFTMAX!r}")
    given = join([given])
    lost = torch.tensor([failure.row for failure in given.failed], dtype=torch.int64)
    kept = ~torch.isin(given.rows, lost)
    rows, views = given.rows[kept], given.views[kept]
    videos, index, counts = rows.unique(return_inverse=True, return_counts=True)
    _require_views(videos, counts, num_views, windows, set(lost.tolist()))
    _require_each_once(rows, views, counts)
    labels = _of_video(given.labels[kept], index, videos, "labels")
    targets = None if given.targets is None else _of_video(given.targets[kept], index, videos, "targets")
    merged = _merged(given.scores[kept], index, counts, rule)
    if wrong := videos[~merged.isfinite().all(1)].tolist():
        raise ValueError(f"the network's scores of {len(wrong)} videos are no finite numbers, in rows {wrong[:SHOWN]}")
    return Predictions(merged, labels, videos, targets, given.failed)


def _merged(
    scores: Float[Tensor, "views outputs"], index: Int64[Tensor, "views"], counts: Int64[Tensor, "videos"], rule: str
) -> Float[Tensor, "videos outputs"]:
    """Sums in float64, in the order of the views."""
    parts = scores.float() if rule in (LOGITS, MEAN) else scores.float().softmax(1)
    total = torch.zeros(len(counts), scores.shape[1], dtype=torch.float64).index_add_(0, index, parts.double())
    mean = total / counts.clamp(min=1)[:, None]
    return (mean.softmax(1) if rule == LOGITS else mean).float()


def _require_views(
    videos: Int64[Tensor, "videos"],
    counts: Int64[Tensor, "videos"],
    num_views: int | None,
    windows: Mapping[int, int] | None,
    lost: set[int],
) -> None:
    """Raise ValueError unless every listed row that can be read has all of its views, and no other row any."""
    found = dict(zip(videos.tolist(), counts.tolist(), strict=True))
    if windows is None:
        wanted = num_views if num_views is not None else max(found.values(), default=0)
        wrong = {row: count for row, count in found.items() if count != wanted}
        if wrong:
            raise ValueError(f"every video must have {wanted} views; row: number of views found: {wrong}")
        return
    per_record = num_views if num_views is not None else max(found.values(), default=0) // max(1, *windows.values())
    expected = {row: count * per_record for row, count in windows.items() if row not in lost}
    wrong = {row: found.get(row, 0) for row in expected.keys() | found.keys() if found.get(row) != expected.get(row)}
    if wrong:
        shown = {row: (found_one, expected.get(row, 0)) for row, found_one in sorted(wrong.items())[:SHOWN]}
        more = f", and {len(wrong) - SHOWN} more rows" if len(wrong) > SHOWN else ""
        raise ValueError(f"views are missing or too many; row: (views found, views of the list): {shown}{more}")


def _require_each_once(
    rows: Int64[Tensor, "views"], views: Int64[Tensor, "views"], counts: Int64[Tensor, "videos"]
) -> None:
    """Raise ValueError unless the views of each row, which lie together and in order, are numbered 0, 1, 2, ..."""
    numbers = torch.cat([torch.arange(count) for count in counts.tolist()]) if len(counts) else views
    if not torch.equal(numbers, views):
        wrong = sorted(set(rows[numbers != views].tolist()))[:SHOWN]
        raise ValueError(f"rows {wrong} have views doubled while others are missing")


def _of_video(values: Tensor, index: Int64[Tensor, "views"], videos: Int64[Tensor, "videos"], what: str) -> Tensor:
    """The value that all views of a video have."""
    merged = torch.zeros(len(videos), dtype=values.dtype).scatter_(0, index, values)
    if not torch.equal(merged[index], values):
        wrong = videos[index[merged[index] != values]].unique().tolist()
        raise ValueError(f"views of one video carry different {what} in rows {wrong}")
    return merged
