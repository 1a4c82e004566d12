"""Masked autoencoding: predict the pixels of dropped tubelets from the visible ones.

Sources: VideoMAE (arXiv 2203.12602; MCG-NJU/VideoMAE engine_for_pretraining.py) and mae_st (arXiv 2205.09113;
facebookresearch/mae_st models_mae.py).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from backbones.contract import Backbone, Grid
from backbones.layers import patchify, unpatchify
from backbones.tokens import complement
from heads.masked_decoder import MaskedDecoder
from zoo import masks, pictures
from zoo.batch import Batch
from zoo.card import IMAGENET_MEAN, IMAGENET_STD
from zoo.objectives.contract import Loss, Objective, Picture, backbone_of, checked_ratio

Tubelet = tuple[int, int, int]
Values = Float[Tensor, "batch query channels pixels"]
MASKS = {"tube": masks.tube, "random": masks.random}
NORMALIZATIONS = ("channel", "patch", "none")


@dataclass(frozen=True, kw_only=True)
class PixelTarget:
    """What the pixels of a tubelet are turned into before they are predicted; the defaults are VideoMAE's.

    Attributes:
        normalize: "channel": per tubelet and channel, (x - mean) / (unbiased std + 1e-6), VideoMAE's form; "patch": per
            tubelet over all its values, (x - mean) / sqrt(unbiased var + 1e-6), mae_st's form; "none".
        unit_range: start from pixels in 0-1, the clip's normalisation undone (VideoMAE); False starts from the clip as
            it comes (mae_st).
        mean: of the clip's normalisation, per channel, for pixels in 0-1.
        std: likewise.
        frames_per_token: frames of each tubelet that are predicted; None for all. Fewer are taken as mae_st's
            pred_t_dim does it: evenly spaced frames of the whole clip, first and last included.

    Raises:
        ValueError: for an unknown normalisation.
    """

    normalize: str = "channel"
    unit_range: bool = True
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    frames_per_token: int | None = None

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZATIONS:
            raise ValueError(f"unknown normalisation of targets {self.normalize!r}; choose from {NORMALIZATIONS}")

    def size(self, tubelet: Tubelet) -> Tubelet:
        """Frames and pixels of a tubelet that are predicted.

        Raises:
            ValueError: when the predicted frames do not divide those of the tubelet.
        """
        if self.frames_per_token and tubelet[0] % self.frames_per_token:
            raise ValueError(f"{self.frames_per_token} predicted frames do not divide the {tubelet[0]} of a tubelet")
        return (self.frames_per_token or tubelet[0], *tubelet[1:])

    def num_values(self, tubelet: Tubelet) -> int:
        """Numbers predicted per tubelet."""
        frames, height, width = self.size(tubelet)
        return 3 * frames * height * width

    def __call__(
        self, video: Float[Tensor, "batch 3 frames height width"], query: Int64[Tensor, "batch query"], tubelet: Tubelet
    ) -> Float[Tensor, "batch query values"]:
        """Targets at `query`, each in the order frames, rows, columns, channels (fastest); only these are copied."""
        values = self.values(video, query, tubelet)
        center, scale = self.statistics(values)
        return values.sub_(center).div_(scale).transpose(2, 3).flatten(2)

    def values(self, video: Tensor, query: Tensor, tubelet: Tubelet) -> Values:
        """A copy of the pixels at `query` with their own statistics, in float32 or finer."""
        if self.frames_per_token:
            video = video.index_select(2, self.frames(video.shape[2], tubelet).to(video.device))
        values = patchify(video, self.size(tubelet), query).flatten(3)
        values = values.to(torch.promote_types(values.dtype, torch.float32))
        if self.unit_range:
            # In place here and above: the copy is large, and touching fresh memory costs more than the arithmetic.
            values.mul_(self._column(self.std, values)).add_(self._column(self.mean, values))
        return values

    def statistics(self, values: Values) -> tuple[Tensor, Tensor]:
        """What is subtracted from each tubelet's values, and what they are divided by."""
        if self.normalize == "none":
            return values.new_zeros(1), values.new_ones(1)
        axes = (3,) if self.normalize == "channel" else (2, 3)
        center = values.mean(axes, keepdim=True)
        # A norm instead of `torch.var`, which takes many times as long on a CPU.
        norm = torch.linalg.vector_norm(values - center, dim=axes, keepdim=True)
        var = norm.square() / (math.prod(values.shape[axis] for axis in axes) - 1)
        return center, var.sqrt() + 1e-6 if self.normalize == "channel" else (var + 1e-6).sqrt()

    def pasted(
        self,
        video: Float[Tensor, "batch 3 frames height width"],
        query: Int64[Tensor, "batch query"],
        prediction: Float[Tensor, "batch query values"],
        tubelet: Tubelet,
    ) -> Float[Tensor, "batch 3 frames height width"]:
        """Clips in 0-1 with predictions at `query`, which borrow the statistics of the true tubelets."""
        center, scale = self.statistics(self.values(video, query, tubelet))
        values = prediction.to(center.dtype).unflatten(2, (-1, 3)).transpose(2, 3) * scale + center
        if not self.unit_range:
            values = self.to_unit_range(values, 2)
        frames = self.size(tubelet)[0]
        pieces = values.unflatten(3, (frames, *tubelet[1:])).repeat_interleave(tubelet[0] // frames, dim=3)
        patches = patchify(self.to_unit_range(video.to(values.dtype), 1), tubelet).clone()
        patches[torch.arange(len(video), device=video.device)[:, None], query] = pieces
        grid = Grid(*(side // size for side, size in zip(video.shape[2:], tubelet, strict=True)))
        return unpatchify(patches, grid).clamp(0, 1)

    def to_unit_range(self, normalized: Tensor, channel_axis: int = 1) -> Tensor:
        """Pixels in 0-1: the clip's normalisation undone."""
        shape = [-1 if axis == channel_axis else 1 for axis in range(normalized.ndim)]
        mean, std = (normalized.new_tensor(it).view(shape) for it in (self.mean, self.std))
        return normalized * std + mean

    def frames(self, num_frames: int, tubelet: Tubelet) -> Int64[Tensor, "predicted"]:
        """Indices of the predicted frames of a clip."""
        count = num_frames // tubelet[0] * self.size(tubelet)[0]
        return torch.linspace(0, num_frames - 1, count).long()

    def _column(self, per_channel: tuple[float, float, float], like: Tensor) -> Tensor:
        return torch.tensor(per_channel, dtype=like.dtype, device=like.device)[:, None]


VIDEOMAE_TARGET = PixelTarget()
MAE_ST_TARGET = PixelTarget(
    normalize="patch", unit_range=False, mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), frames_per_token=1
)


class MAE(Objective):
    """Masked autoencoding with any backbone that can drop tokens.

    Only visible tubelets are embedded, only dropped ones become targets, and the loss is their mean squared error.

    Args:
        student: the backbone.
        decoder: predicts `target.num_values(student.tubelet)` numbers per dropped token.
        mask_ratio: fraction of tokens dropped.
        mask: "tube" (VideoMAE) or "random" (mae_st); see `zoo.masks`.
        target: what is predicted.

    Raises:
        ValueError: for a student that cannot drop tokens, an unknown mask, and a decoder of the wrong output width.
    """

    def __init__(
        self,
        student: Backbone,
        decoder: MaskedDecoder,
        *,
        mask_ratio: float = 0.9,
        mask: str = "tube",
        target: PixelTarget = VIDEOMAE_TARGET,
    ) -> None:
        super().__init__()
        if not backbone_of(student, "student").drops_tokens:
            raise ValueError(f"{type(student).__name__} cannot drop tokens, which masked autoencoding needs")
        if mask not in MASKS:
            raise ValueError(f"unknown mask {mask!r}; choose from {tuple(MASKS)}")
        if decoder.head.out_features != target.num_values(student.tubelet):
            raise ValueError(
                f"the decoder predicts {decoder.head.out_features} values per token, but the target has "
                f"{target.num_values(student.tubelet)}"
            )
        self.student, self.decoder = student, decoder
        self.mask_ratio, self.mask, self.target = checked_ratio(mask_ratio), mask, target

    def forward(self, batch: Batch) -> Loss:
        """Mean squared error over the dropped tokens of one batch, with freshly drawn masks.

        Logs `blank_loss`, what predicting zeros would give: with normalised targets, each tubelet's mean.
        """
        prediction, target = self.predict(batch.video, self.draw(batch.video))
        loss = F.mse_loss(prediction.to(target.dtype), target)
        return Loss(loss, {"blank_loss": target.square().mean()})

    def draw(self, video: Float[Tensor, "batch 3 frames height width"]) -> Int64[Tensor, "batch kept"]:
        """Visible tokens of each clip."""
        return MASKS[self.mask](self.student.grid(video), self.mask_ratio, len(video), self.generator).to(video.device)

    def predict(
        self, video: Float[Tensor, "batch 3 frames height width"], keep: Int64[Tensor, "batch kept"]
    ) -> tuple[Float[Tensor, "batch query values"], Float[Tensor, "batch query values"]]:
        """Predictions and targets at the dropped tokens, in raster order."""
        features = self.student.forward_features(video, keep)
        query = complement(keep, features.grid.num_tokens)
        return self.decoder(features, query), self.target(video, query, self.student.tubelet)

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Float[Tensor, "batch 3 frames height width"]) -> Picture:
        """The visible patches, and the reconstruction of the others."""
        made, keep = self.reconstruct(batch)
        shown = pictures.visible(pixels, keep, self.student.tubelet)
        return Picture({"shown": shown, "predicted": made}, f"MAE: {self.reconstruction_note}")

    @property
    def reconstruction_note(self) -> str:
        """What a picture made by `reconstruct` shows, for its caption."""
        if self.target.normalize == "none":
            return "Masked patches are the network's predictions; visible patches are the input's."
        return (
            "Masked patches are the network's predictions with the mean and standard deviation of the true patches, "
            "because the network is trained on patches normalised by them: brightness and contrast are not its own. "
            "Visible patches are the input's."
        )

    @torch.no_grad()
    def reconstruct(
        self, batch: Batch, keep: Int64[Tensor, "batch kept"] | None = None
    ) -> tuple[Float[Tensor, "batch 3 frames height width"], Int64[Tensor, "batch kept"]]:
        """Clips with pixels in 0-1 whose dropped tubelets are predictions, and the tokens that were kept.

        See `reconstruction_note` for what the predictions borrow from the truth. Where only some frames of a tubelet
        are predicted, they stand for its other frames too.

        Args:
            batch: normalised clips.
            keep: visible tokens; drawn with `generator` when None.
        """
        video, tubelet = batch.video, self.student.tubelet
        keep = self.draw(video) if keep is None else keep
        query = complement(keep, self.student.grid(video).num_tokens)
        prediction, _ = self.predict(video, keep)
        return self.target.pasted(video, query, prediction, tubelet), keep


def mae_for(
    student: Backbone,
    img_size: int,
    num_frames: int,
    *,
    mask_ratio: float = 0.9,
    mask: str = "tube",
    decoder_dim: int | None = None,
    decoder_depth: int = 4,
    decoder_heads: int | None = None,
    target: PixelTarget = VIDEOMAE_TARGET,
) -> MAE:
    """MAE with a VideoMAE decoder for any backbone; prefix tokens, if it has some, pass through the decoder.

    Args:
        student: the backbone.
        img_size: side of the clips in pixels.
        num_frames: frames of the clips.
        mask_ratio: fraction of tokens dropped.
        mask: see `MAE`.
        decoder_dim: width of the decoder; half the student's when None, as for VideoMAE-S, B, L and H.
        decoder_depth: blocks of the decoder (4 in VideoMAE's scripts for S and B).
        decoder_heads: heads of the decoder; one for each 64 channels when None, as for VideoMAE-S, B and L.
        target: what is predicted; its mean and std must be those of the clips' normalisation.
    """
    width = decoder_dim or backbone_of(student, "student").embed_dim // 2
    grid: Grid = student.grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta"))
    decoder = MaskedDecoder(
        student.embed_dim,
        target.num_values(student.tubelet),
        grid,
        width=width,
        depth=decoder_depth,
        num_heads=decoder_heads or max(1, width // 64),
    )
    return MAE(student, decoder, mask_ratio=mask_ratio, mask=mask, target=target)
