"""Class probabilities per video, merged from the views of a video by its row."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Predictions(NamedTuple):
    """One line per video, rows ascending, on the CPU.

    Attributes:
        probabilities: mean over the views of a video of the softmax `[videos, classes]`, float32.
        labels: true classes.
        rows: row of each video in its list.
    """

    probabilities: Float[Tensor, "videos classes"]
    labels: Int64[Tensor, "videos"]
    rows: Int64[Tensor, "videos"]


def merge_views(
    probabilities: Float[Tensor, "views classes"],
    labels: Int64[Tensor, "views"],
    rows: Int64[Tensor, "views"],
    *,
    num_views: int | None = None,
) -> Predictions:
    """Mean of the probabilities of each video's views (VideoMAE, UMT, VideoMamba: softmax first, then the mean).

    Videos are told apart by row. The authors use the file name up to the first dot, which mixes videos of equal name in
    different folders (Breakfast).

    Args:
        probabilities: softmax per view.
        labels: class of the view's video.
        rows: row of the view's video.
        num_views: views that every video must have; None for any equal number.

    Raises:
        ValueError: when videos have different numbers of views, or views of one video different labels.
    """
    videos, index, counts = rows.unique(return_inverse=True, return_counts=True)
    wanted = num_views if num_views is not None else int(counts.max()) if len(counts) else 0
    if (counts != wanted).any():
        wrong = {int(row): int(count) for row, count in zip(videos, counts, strict=True) if count != wanted}
        raise ValueError(f"every video must have {wanted} views; row: number of views found: {wrong}")
    merged_labels = torch.zeros_like(videos).scatter_(0, index, labels)
    if not torch.equal(merged_labels[index], labels):
        wrong_rows = rows[merged_labels[index] != labels].unique().tolist()
        raise ValueError(f"views of one video carry different labels in rows {wrong_rows}")
    total = torch.zeros(len(videos), probabilities.shape[1], dtype=torch.float64)
    total.index_add_(0, index, probabilities.double())
    return Predictions((total / max(1, wanted)).float(), merged_labels, videos)
