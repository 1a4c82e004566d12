"""What every protocol hands back: predictions per video, so that any metric or paired test can be computed later.

Each module beside this one is a protocol and has the same two names:

- `Settings`: a frozen keyword-only dataclass of plain values, complete; `dataclasses.asdict` of it is what gets hashed;
- `run(model, data, settings, *, seed, run_dir, on_step=None, accelerator="auto") -> Outcome`, where `model` is a
  function without arguments that builds a `VideoModel` with the weights to start from (it is called after torch's
  global generator was seeded; protocols with a frozen backbone use the model's backbone and number of classes only),
  `data` is a data module, `run_dir` a folder of this run alone (calling again with the same folder continues an
  interrupted run), and `on_step(step, logs)` is called after each optimiser step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from zoo.batch import Unread
from zoo.training.predictions import ViewScores


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Predictions of one system on one test set, one row per video, sorted by `rows`.

    Two outcomes on the same test set therefore pair up row by row.

    Attributes:
        probabilities: class probabilities, the mean of the softmax over the views of a video, on the CPU.
        labels: true class of each video.
        rows: row of each video in the test list, ascending, each at most once.
        expected: number of videos in the test list; `rows` is shorter when some could not be scored.
        targets: what a regression should give; None where classes are asked for, and `probabilities` then are values.
        unread: the videos that could not be scored, and why, as far as the evaluation itself found out.
        unread_training: the training videos that were left out of a probe because they could not be read, and why.
        scores: of every view, before merging; None where there are no views.
        repeats: likewise in each repeat of an experiment, such as a low-shot split, of which one is told in full; empty
            where there is one only.
        curves: what was logged while training, one dict per logged step ("step" is always there; the first optimiser
            step is 1), in order.
        seconds: wall-clock time of training and evaluation.
        details: what the protocol chose or counted on the way (learning rate of a sweep, clips seen, steps).
    """

    probabilities: Float32[Tensor, "videos classes"]
    labels: Int64[Tensor, "videos"]
    rows: Int64[Tensor, "videos"]
    expected: int
    curves: list[dict[str, int | float]]
    seconds: float
    targets: Float32[Tensor, "videos"] | None = None
    unread: tuple[Unread, ...] = ()
    unread_training: tuple[Unread, ...] = ()
    scores: ViewScores | None = None
    repeats: tuple[ViewScores, ...] = ()
    details: dict[str, float | int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.rows) > self.expected:
            raise ValueError(f"{len(self.rows)} videos were scored, but the test list has {self.expected}")
        if not torch.equal(self.rows, self.rows.unique()):
            raise ValueError("rows must be ascending, each video once: merge the views of a video before reporting")

    @property
    def failed(self) -> int:
        """Number of videos of the test list that have no prediction."""
        return self.expected - len(self.rows)

    @property
    def accuracy(self) -> float:
        """Share of scored videos whose most probable class is the true one (micro average), in 0..1."""
        return (self.probabilities.argmax(1) == self.labels).float().mean().item()


def each_row_once(failed: Sequence[Unread]) -> list[Unread]:
    """The first failure of each row: several windows of one video may have failed."""
    first: dict[int, Unread] = {}
    for failure in failed:
        first.setdefault(failure.row, failure)
    return list(first.values())
