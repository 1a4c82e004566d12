"""Features of a frozen backbone, computed once and kept in memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from backbones.contract import Backbone, Features, Grid, Pool
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

    def features(self, views: Int64[Tensor, "some"] | slice = slice(None), device: str = "cpu") -> Features:
        """What a head takes."""
        return Features(self.tokens[views].to(device), self.prefix[views].to(device), self.grid, None)


def device_of(accelerator: str) -> str:
    """Device of a Lightning accelerator name; "auto" takes a GPU where there is one."""
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return {"gpu": "cuda"}.get(accelerator, accelerator)


@torch.no_grad()
def extract(
    backbone: Backbone, batches: Iterable[Batch], *, pool: Pool | None, max_bytes: int, device: str = "cpu"
) -> FeatureBank:
    """Features of every view, by a backbone in evaluation mode.

    Args:
        backbone: the network; it stays in evaluation mode on the device.
        batches: the clips.
        pool: keep one vector per view; None keeps all tokens.
        max_bytes: largest bank.
        device: where to compute.

    Raises:
        ValueError: when there are no clips, or the bank would grow larger than `max_bytes`.
    """
    backbone.to(device).eval()
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    used, grid = 0, None
    for batch in batches:
        features = backbone.forward_features(batch.video.to(device))
        grid = features.grid
        tokens, prefix = features.tokens, features.prefix
        if pool is not None:
            tokens, prefix = features.pool(pool)[:, None], prefix[:, :0]
        parts.append((tokens.float().cpu(), prefix.float().cpu(), batch.label, batch.row))
        used += sum(tensor.nbytes for tensor in parts[-1])
        if used > max_bytes:
            views = sum(len(part[3]) for part in parts)
            raise ValueError(
                f"after {views} views the features take more than {max_bytes / 2**30:.1f} GiB; train the head with "
                "the finetune protocol and frozen=True, which keeps none, or raise max_bytes"
            )
    if grid is None:
        raise ValueError("there are no clips to extract features from")
    tokens, prefix, labels, rows = (torch.cat(column) for column in zip(*parts, strict=True))
    return FeatureBank(tokens=tokens, prefix=prefix, grid=grid, labels=labels, rows=rows)
