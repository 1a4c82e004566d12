"""Features of a frozen backbone, computed once and kept in memory; `zoo.training.feature_cache` keeps them on disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from backbones.contract import Backbone, Features, Grid, Pool
from heads.views import encode, first_of_segments, join_segments
from zoo.batch import Batch, Unread
from zoo.training.predictions import count_views

# Looks at the videos that could not be read so far, and raises when there are too many.
Check = Callable[[Sequence[Unread]], None]


@dataclass(frozen=True, kw_only=True)
class FeatureBank:
    """Features of all views of a list, on the CPU.

    Attributes:
        tokens: patch tokens of each view; one token, the pooled vector, where features were pooled.
        prefix: prefix tokens of each view; none where features were pooled.
        grid: grid of a clip.
        labels: class of each view's video.
        rows: row of each view's video.
        views: number of each view among those of its row; None where nobody counted.
        failed: videos of the list that could not be read.
        targets: what a regression should give for each view's video; None where classes are asked for.
        read_from: folder on disk that held the features already; None where they were computed.
    """

    tokens: Float[Tensor, "views tokens dim"]
    prefix: Float[Tensor, "views prefix dim"]
    grid: Grid
    labels: Int64[Tensor, "views"]
    rows: Int64[Tensor, "views"]
    views: Int64[Tensor, "views"] | None = None
    failed: tuple[Unread, ...] = ()
    targets: Float[Tensor, "views"] | None = None
    read_from: Path | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, views: Int64[Tensor, "some"]) -> "FeatureBank":
        """Some of the views."""
        return replace(
            self,
            tokens=self.tokens[views],
            prefix=self.prefix[views],
            labels=self.labels[views],
            rows=self.rows[views],
            views=None if self.views is None else self.views[views],
            targets=None if self.targets is None else self.targets[views],
        )

    def across_segments(self, clips: int, crops: int) -> "FeatureBank":
        """The clips of each crop of a video as one view with all their tokens, for a head that looks at them at once.

        Published by V-JEPA (`attend_across_segments`). Views must lie as the data module gives them: those of a video
        together, clip by clip, the crops of a clip one after the other.

        Args:
            clips: temporal clips per video.
            crops: spatial crops per clip.

        Raises:
            ValueError: when the views of the videos are no such clips.
        """
        joined = join_segments(self.features(), clips=clips, crops=crops)
        if (self.rows.view(-1, clips * crops).diff(dim=1) != 0).any():
            raise ValueError(f"the {clips * crops} views of a video do not lie together")
        rows = first_of_segments(self.rows, clips=clips, crops=crops)
        targets = None if self.targets is None else first_of_segments(self.targets, clips=clips, crops=crops)
        return replace(
            self,
            tokens=joined.tokens,
            prefix=joined.prefix,
            grid=joined.grid,
            labels=first_of_segments(self.labels, clips=clips, crops=crops),
            rows=rows,
            views=count_views(rows),
            targets=targets,
        )

    def features(self, views: Int64[Tensor, "some"] | slice = slice(None), device: str = "cpu") -> Features:
        """What a head takes."""
        return Features(self.tokens[views].to(device), self.prefix[views].to(device), self.grid, None)


class AcceleratorError(ValueError):
    """A name of an accelerator that does not exist, or that this machine lacks."""


def check_accelerator(name: str) -> None:
    """See whether features can be computed there, before anything is read.

    Raises:
        AcceleratorError: if not.
    """
    there = {"auto": True, "cpu": True, "gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    there["cuda"] = there["gpu"]
    if name not in there:
        raise AcceleratorError(f"unknown accelerator {name!r}; known: {', '.join(there)}")
    if not there[name]:
        raise AcceleratorError(f"torch finds no accelerator {name!r} on this machine; choose auto or cpu")


def device_of(accelerator: str) -> str:
    """Device of a Lightning accelerator name; "auto" takes a GPU where there is one."""
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return {"gpu": "cuda"}.get(accelerator, accelerator)


def features_of(
    backbone: Backbone,
    batches: Iterable[Batch],
    *,
    pool: Pool | None,
    device: str = "cpu",
    layers: Sequence[int] | None = None,
    failed: list[Unread] | None = None,
    check: Check | None = None,
) -> Iterator[FeatureBank]:
    """Features of every view, batch by batch, by a backbone in evaluation mode.

    Args:
        backbone: the network; it stays in evaluation mode on the device.
        batches: the clips.
        pool: keep one vector per view; None keeps all tokens.
        device: where to compute.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.
        failed: takes the videos that could not be read.
        check: is shown them whenever there are more.
    """
    backbone.to(device).eval()
    for batch in batches:
        if failed is not None and batch.failed:
            failed += batch.failed
            if check is not None:
                check(failed)
        if not len(batch.row):
            continue  # nothing of it could be read
        with torch.no_grad():
            video = batch.video.to(device)
            features = backbone.forward_features(video) if layers is None else encode(backbone, video, layers=layers)
            tokens, prefix = features.tokens, features.prefix
            if pool is not None:
                tokens, prefix = features.pool(pool)[:, None], prefix[:, :0]
            tokens, prefix = tokens.float().cpu(), prefix.float().cpu()
        yield FeatureBank(
            tokens=tokens,
            prefix=prefix,
            grid=features.grid,
            labels=batch.label,
            rows=batch.row,
            views=torch.full_like(batch.row, -1) if batch.view is None else batch.view,
            targets=batch.target,
        )


def extract(
    backbone: Backbone,
    batches: Iterable[Batch],
    *,
    pool: Pool | None,
    max_bytes: int,
    device: str = "cpu",
    layers: Sequence[int] | None = None,
    check: Check | None = None,
) -> FeatureBank:
    """Features of every view, in memory.

    Args:
        backbone: the network; it stays in evaluation mode on the device.
        batches: the clips.
        pool: keep one vector per view; None keeps all tokens.
        max_bytes: largest bank.
        device: where to compute.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.
        check: is shown the videos that could not be read whenever there are more.

    Raises:
        ValueError: when there are no clips, or the bank would grow larger than `max_bytes`.
    """
    parts: list[FeatureBank] = []
    failed: list[Unread] = []
    used = 0
    for part in features_of(backbone, batches, pool=pool, device=device, layers=layers, failed=failed, check=check):
        parts.append(part)
        used += sum(tensor.nbytes for tensor in (part.tokens, part.prefix, part.labels, part.rows))
        if used > max_bytes:
            raise ValueError(
                f"after {sum(map(len, parts))} views the features take more than {max_bytes / 2**30:.1f} GiB; train "
                "the head with the finetune protocol and frozen=True, which keeps none, keep the features on disk, or "
                "raise max_bytes"
            )
    if not parts:
        none = "; none of the videos could be read" if failed else ""
        raise ValueError(f"there are no clips to extract features from{none}")
    targets = [part.targets for part in parts if part.targets is not None]
    return FeatureBank(
        tokens=torch.cat([part.tokens for part in parts]),
        prefix=torch.cat([part.prefix for part in parts]),
        grid=parts[-1].grid,
        labels=torch.cat([part.labels for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
        views=torch.cat([part.views for part in parts if part.views is not None]),
        failed=tuple(failed),
        targets=torch.cat(targets) if targets else None,
    )
