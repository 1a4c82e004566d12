"""Features of a frozen backbone, computed once and kept in memory; `zoo.training.feature_cache` keeps them on disk."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from backbones.contract import Backbone, Features, Grid, Pool
from heads.views import encode
from zoo.batch import Batch


@dataclass(frozen=True, kw_only=True)
class FeatureBank:
    """Features of all views of a list, on the CPU.

    Attributes:
        tokens: patch tokens of each view; one token, the pooled vector, where features were pooled.
        prefix: prefix tokens of each view; none where features were pooled.
        grid: grid of a clip.
        labels: class of each view's video.
        rows: row of each view's video.
    """

    tokens: Float[Tensor, "views tokens dim"]
    prefix: Float[Tensor, "views prefix dim"]
    grid: Grid
    labels: Int64[Tensor, "views"]
    rows: Int64[Tensor, "views"]

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, views: Int64[Tensor, "some"]) -> "FeatureBank":
        """Some of the views."""
        return FeatureBank(
            tokens=self.tokens[views],
            prefix=self.prefix[views],
            grid=self.grid,
            labels=self.labels[views],
            rows=self.rows[views],
        )

    def across_segments(self, clips: int) -> "FeatureBank":
        """The clips of each crop of a video as one view with all their tokens, for a head that looks at them at once.

        Published by V-JEPA (`attend_across_segments`). Views must lie as the data module gives them: those of a video
        together, clip by clip, the crops of a clip one after the other.

        Args:
            clips: temporal clips per video.

        Raises:
            ValueError: when the views of the videos are no such clips.
        """
        videos, counts = self.rows.unique_consecutive(return_counts=True)
        views = int(counts.max()) if len(counts) else 0
        if len(videos.unique()) < len(videos) or (counts != views).any() or clips < 1 or views % clips:
            raise ValueError(
                f"{clips} clips per video need views that lie together and are a multiple of {clips}; numbers of views "
                f"found: {sorted(set(counts.tolist()))}"
            )
        shape = {"clips": clips, "crops": views // clips}
        joined = "(videos clips crops) n d -> (videos crops) (clips n) d"
        first = "(videos clips crops) -> clips (videos crops)"
        return FeatureBank(
            tokens=rearrange(self.tokens, joined, **shape),
            prefix=rearrange(self.prefix, joined, **shape),
            grid=self.grid._replace(time=clips * self.grid.time),
            labels=rearrange(self.labels, first, **shape)[0],
            rows=rearrange(self.rows, first, **shape)[0],
        )

    def features(self, views: Int64[Tensor, "some"] | slice = slice(None), device: str = "cpu") -> Features:
        """What a head takes."""
        return Features(self.tokens[views].to(device), self.prefix[views].to(device), self.grid, None)


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
) -> Iterator[FeatureBank]:
    """Features of every view, batch by batch, by a backbone in evaluation mode.

    Args:
        backbone: the network; it stays in evaluation mode on the device.
        batches: the clips.
        pool: keep one vector per view; None keeps all tokens.
        device: where to compute.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.
    """
    backbone.to(device).eval()
    for batch in batches:
        with torch.no_grad():
            video = batch.video.to(device)
            features = backbone.forward_features(video) if layers is None else encode(backbone, video, layers=layers)
            tokens, prefix = features.tokens, features.prefix
            if pool is not None:
                tokens, prefix = features.pool(pool)[:, None], prefix[:, :0]
            tokens, prefix = tokens.float().cpu(), prefix.float().cpu()
        yield FeatureBank(tokens=tokens, prefix=prefix, grid=features.grid, labels=batch.label, rows=batch.row)


def extract(
    backbone: Backbone,
    batches: Iterable[Batch],
    *,
    pool: Pool | None,
    max_bytes: int,
    device: str = "cpu",
    layers: Sequence[int] | None = None,
) -> FeatureBank:
    """Features of every view, in memory.

    Args:
        backbone: the network; it stays in evaluation mode on the device.
        batches: the clips.
        pool: keep one vector per view; None keeps all tokens.
        max_bytes: largest bank.
        device: where to compute.
        layers: blocks whose normed outputs are joined along the tokens; None for the last one.

    Raises:
        ValueError: when there are no clips, or the bank would grow larger than `max_bytes`.
    """
    parts: list[FeatureBank] = []
    used = 0
    for part in features_of(backbone, batches, pool=pool, device=device, layers=layers):
        parts.append(part)
        used += sum(tensor.nbytes for tensor in (part.tokens, part.prefix, part.labels, part.rows))
        if used > max_bytes:
            raise ValueError(
                f"after {sum(map(len, parts))} views the features take more than {max_bytes / 2**30:.1f} GiB; train "
                "the head with the finetune protocol and frozen=True, which keeps none, keep the features on disk, or "
                "raise max_bytes"
            )
    if not parts:
        raise ValueError("there are no clips to extract features from")
    return FeatureBank(
        tokens=torch.cat([part.tokens for part in parts]),
        prefix=torch.cat([part.prefix for part in parts]),
        grid=parts[-1].grid,
        labels=torch.cat([part.labels for part in parts]),
        rows=torch.cat([part.rows for part in parts]),
    )
