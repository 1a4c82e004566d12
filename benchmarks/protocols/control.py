"""Controls that know nothing of order: what they can answer, a suite's motion and order tasks must not reward.

A bag of frames sees every frame alone and averages what it saw; of two motions that are each other's reversal it can
tell the pair, never the direction. A linear probe on the first frame sees one instant.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone, Features, Grid
from zoo.batch import Unread
from zoo.card import ClipSpec
from zoo.data.decode import DecodeError
from zoo.data.loading import Reader
from zoo.data.records import Record
from zoo.data.transforms import eval_clips

BAG_OF_FRAMES = "bag of frames"
FIRST_FRAME = "first frame"
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HELD_OUT = 0.2  # share of the training videos on which the probe's penalty is chosen


class _Stage(nn.Sequential):
    """Halve the sides of a frame."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        super().__init__(nn.Conv2d(in_chans, out_chans, 3, stride=2, padding=1), nn.GroupNorm(8, out_chans), nn.GELU())


class FrameBag(Backbone):
    """A small convolutional network on every frame alone: one token per frame, pooled by their mean.

    Nothing passes between frames, so the pooled features are the same for any order of the frames.

    Args:
        img_size: side of the frames in pixels.
        embed_dim: channels of the last stage.
        depth: stages; each halves the sides.
    """

    def __init__(self, *, img_size: int, embed_dim: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.embed_dim, self.depth, self.tubelet = embed_dim, depth, (1, img_size, img_size)
        self.pool, self.drops_tokens = "mean", False
        widths = [3, *(embed_dim // 2 ** (depth - 1 - stage) for stage in range(depth))]
        self.blocks = nn.ModuleList(_Stage(first, second) for first, second in pairwise(widths))
        self.norm = nn.LayerNorm(embed_dim)

    def forward_intermediates(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        layers: Sequence[int],
        keep: Int64[Tensor, "batch tokens"] | None = None,
        *,
        norm: bool = True,
    ) -> list[Features]:
        """Features after the last stage; earlier stages have other widths and are not offered.

        Raises:
            ValueError: for another layer than the last, and for `keep`.
        """
        if keep is not None:
            raise ValueError("a bag of frames cannot drop tokens; give no keep")
        if any(layer != self.depth - 1 for layer in self.resolve_layers(layers)):
            raise ValueError(f"a bag of frames has features after its last stage only ({self.depth - 1})")
        grid = self.grid(video)
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        for index in range(self.depth):
            frames = self.run_block(index, frames)
        tokens = frames.mean((2, 3)).unflatten(0, (len(video), grid.time))
        tokens = self.norm(tokens) if norm else tokens
        return [Features(tokens, tokens[:, :0], Grid(*grid), None) for _ in layers]


class FirstFrames(NamedTuple):
    """One frame per row of a list.

    Attributes:
        pixels: normalised and flattened, of the rows that could be read.
        labels: their classes.
        rows: their rows, ascending.
        unread: the other rows.
    """

    pixels: Float[Tensor, "videos pixels"]
    labels: Int64[Tensor, "videos"]
    rows: Int64[Tensor, "videos"]
    unread: tuple[Unread, ...]


def first_frames(records: Sequence[Record], spec: ClipSpec, read: Reader) -> FirstFrames:
    """The first frame of each row; where a row has several windows of one video, of the first.

    Args:
        records: a list.
        spec: size and normalisation of the frames.
        read: reads videos.
    """
    still = replace(spec, num_frames=1)
    windows = {record.row: record for record in reversed(records)}
    found: list[tuple[Tensor, Record]] = []
    unread = []
    for _, record in sorted(windows.items()):
        try:
            frames = read(record.path, lambda _: torch.zeros(1, dtype=torch.int64), record.span)
        except DecodeError as error:
            unread.append(Unread(record.row, str(record.path), error.reason))
            continue
        found.append((eval_clips(frames, still, crops=1)[0].flatten(), record))
    return FirstFrames(
        torch.stack([pixels for pixels, _ in found]),
        torch.tensor([record.label for _, record in found]),
        torch.tensor([record.row for _, record in found]),
        tuple(unread),
    )


class Probe(NamedTuple):
    """Probabilities of a linear probe on the test set, and the penalty it chose."""

    probabilities: Float[Tensor, "videos classes"]
    penalty: float


def first_frame_probe(
    train: Float[Tensor, "train pixels"],
    labels: Int64[Tensor, "train"],
    test: Float[Tensor, "test pixels"],
    *,
    num_classes: int,
    seed: int = 0,
) -> Probe:
    """Multinomial logistic regression from the pixels of one frame; its L2 penalty is chosen on held-out train videos.

    Args:
        train: one flattened frame per training video.
        labels: their classes.
        test: one flattened frame per test video.
        num_classes: number of classes.
        seed: of the split that chooses the penalty.
    """
    mean, std = train.mean(0), train.std(0).clamp(min=1e-6)
    train, test = (train - mean) / std, (test - mean) / std
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    held, rest = order[: int(HELD_OUT * len(train))], order[int(HELD_OUT * len(train)) :]
    scores = {}
    for penalty in PENALTIES:
        weights = _fit(train[rest], labels[rest], num_classes, penalty)
        scores[penalty] = F.cross_entropy(_scores(train[held], weights), labels[held]).item()
    best = min(scores, key=lambda penalty: scores[penalty])
    return Probe(_scores(test, _fit(train, labels, num_classes, best)).softmax(1), best)


def _scores(frames: Tensor, weights: Tensor) -> Tensor:
    return frames @ weights[:-1] + weights[-1]


def _fit(
    frames: Float[Tensor, "videos pixels"], labels: Int64[Tensor, "videos"], num_classes: int, penalty: float
) -> Float[Tensor, "pixels_and_bias classes"]:
    """Minimise mean cross entropy + penalty / 2 * squared norm by L-BFGS from zero; the problem is convex."""
    weights = torch.zeros(frames.shape[1] + 1, num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(_scores(frames, weights), labels) + penalty / 2 * weights[:-1].square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return weights.detach()
