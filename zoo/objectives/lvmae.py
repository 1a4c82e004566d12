"""LVMAE: masked autoencoding of long clips, with a decoder that predicts the important tokens alone.

Source: LVMAE (arXiv 2411.13683). Its authors released neither code nor weights, and the tables with the settings of
its two networks could not be read; what is chosen here in their place is said where it stands.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from backbones.contract import Backbone
from backbones.tokenizer import Codes, Tokenizer
from heads.masked_decoder import MaskedDecoder
from zoo import decoder_scores, pictures
from zoo.batch import Batch
from zoo.decoder_masks import DecoderMask, DecoderMasking, noise_of
from zoo.objectives.code_targets import CODE_TARGETS, CodeTarget, blank_error
from zoo.objectives.contract import Loss, Objective, Picture, backbone_of, checked_ratio
from zoo.objectives.mae import MASKS, VIDEOMAE_TARGET, PixelTarget
from zoo.seeds import seed_of

PIXELS = "pixels"
TARGETS = (*CODE_TARGETS, PIXELS)
LEARNED = DecoderMasking()
Clips = Float[Tensor, "batch 3 frames height width"]
Source = nn.Module | Mapping[int, Tensor]


class Draw(NamedTuple):
    """What of some clips is shown, and what is asked.

    Attributes:
        keep: tokens that the encoder sees.
        query: tokens that the decoder predicts.
        ranked: whether each of them was chosen for its score.
        counted: whether the loss is taken there: where the encoder does not see.
        scores: what was ranked by; None where nothing was.
    """

    keep: Int64[Tensor, "batch kept"]
    query: Int64[Tensor, "batch query"]
    ranked: Bool[Tensor, "batch query"]
    counted: Bool[Tensor, "batch query"]
    scores: Float[Tensor, "batch t h w"] | None


class LVMAE(Objective):
    """Masked autoencoding whose decoder gets a small, chosen set of mask tokens, with any backbone that drops tokens.

    The loss is the mean over the decoded tokens that the encoder does not see. Targets are those of whole clips: the
    tokenizer leaves nothing out. It is frozen, and part of neither optimiser, averaged weights nor checkpoint; the
    choice of tokens is never trained together with the autoencoder, so that it cannot drift towards easy ones.

    Args:
        student: the backbone.
        decoder: predicts what `target` needs per token.
        tokenizer: makes targets and scores; its codes lie on the student's tokens. None where neither is asked of it.
        target: "fsq_code" (LVMAE), "fsq_embed", "prequant", "indices_ce" (see `CodeTarget`) or "pixels".
        mask_ratio: fraction of tokens that the encoder does not see.
        mask: "tube" (LVMAE) or "random"; see `zoo.masks`.
        masking: how the decoded tokens are chosen.
        pixels: the clips' normalisation, and what pixels are turned into as targets.
        source: what strategy "flow" or "precomputed" asks: a module like `zoo.decoder_scores.FrameDifference`, which is
            taken when None is given, or scores `[t, h, w]` by the rows of the list.

    Raises:
        ValueError: for a student that cannot drop tokens, unknown names, a tokenizer or source that is missing or does
            not fit, and a decoder of the wrong output width.
    """

    def __init__(
        self,
        student: Backbone,
        decoder: MaskedDecoder,
        tokenizer: Tokenizer | None = None,
        *,
        target: str = "fsq_code",
        mask_ratio: float = 0.9,
        mask: str = "tube",
        masking: DecoderMasking = LEARNED,
        pixels: PixelTarget = VIDEOMAE_TARGET,
        source: Source | None = None,
    ) -> None:
        flow = source if isinstance(source, nn.Module) else decoder_scores.FrameDifference()
        networks = {"tokenizer": tokenizer, "flow": flow if masking.strategy == "flow" else None}
        super().__init__({name: part for name, part in networks.items() if part is not None})
        if not backbone_of(student, "student").drops_tokens:
            raise ValueError(f"{type(student).__name__} cannot drop tokens, which masked autoencoding needs")
        if mask not in MASKS:
            raise ValueError(f"unknown mask {mask!r}; choose from {tuple(MASKS)}")
        fitting(student, tokenizer, target, masking.strategy, source)
        self.codes = CodeTarget(target, tokenizer) if tokenizer is not None and target != PIXELS else None
        self.student, self.decoder, self.target = student, decoder, target
        self.mask_ratio, self.mask, self.masking = checked_ratio(mask_ratio), mask, masking
        self.pixels, self.source = pixels, source if isinstance(source, Mapping) else {}
        wanted = num_values(student, tokenizer, target, pixels)
        if decoder.head.out_features != wanted:
            raise ValueError(
                f"the decoder predicts {decoder.head.out_features} values per token, but target {target!r} has {wanted}"
            )

    def forward(self, batch: Batch) -> Loss:
        """Error over the tokens of one batch that are decoded and not seen, with freshly drawn masks.

        Logs, beside `blank_loss` (predicting the same for all of them): `counted` tokens per clip, the `overlap`, which
        is the share of decoded tokens that the encoder sees, and the share of all tokens that is `decoded`.
        """
        draw = self.draw(batch)
        prediction, target = self.predict(batch.video, draw)
        error = self.errors(prediction, target)
        number = draw.counted.sum()
        total = torch.where(draw.counted, error, 0).sum() / number.clamp_min(1)
        decoded = draw.query.shape[1] / self.student.grid(batch.video).num_tokens
        logs = {
            "blank_loss": self.blank(target, draw.counted),
            "counted": number / len(batch.video),
            "overlap": 1 - draw.counted.float().mean(),
            "decoded": torch.tensor(decoded),
        }
        return Loss(total, logs)

    @torch.no_grad()
    def draw(self, batch: Batch) -> Draw:
        """Visible and decoded tokens. The latter depend on the clip's row, and not on the other clips of the batch."""
        grid, device = self.student.grid(batch.video), batch.video.device
        keep = MASKS[self.mask](grid, self.mask_ratio, len(batch.video), self.generator)
        base = int(torch.randint(2**62, (), generator=self.generator))
        seen: Counter[int] = Counter()
        seeds = []
        for row in batch.row.tolist():
            # Copies of a clip in one batch get masks of their own.
            seeds.append(seed_of(base, row, seen[row]))
            seen[row] += 1
        scores = self.scores(batch)
        flat = None if scores is None else scores.flatten(1).float().cpu()
        chosen: DecoderMask = self.masking(grid, noise_of(seeds, grid.num_tokens), keep, flat)
        hidden = torch.ones(len(keep), grid.num_tokens, dtype=torch.bool).scatter_(1, keep, False)
        counted = hidden.gather(1, chosen.query)
        return Draw(keep.to(device), chosen.query.to(device), chosen.ranked.to(device), counted.to(device), scores)

    def scores(self, batch: Batch) -> Float[Tensor, "batch t h w"] | None:
        """What tokens are ranked by; None for a strategy that does not."""
        strategy, pixels = self.masking.strategy, self.pixels.to_unit_range(batch.video)
        if strategy == "learned":
            return self.tokenizer.importance(pixels)
        if strategy == "flow":
            flow: Tensor = self.outside["flow"](pixels, self.student.tubelet)
            return flow
        if strategy == "embed_diff":
            return decoder_scores.embedding_change(self.student, batch.video)
        return decoder_scores.looked_up(self.source, batch.row.tolist()) if strategy == "precomputed" else None

    @property
    def tokenizer(self) -> Tokenizer:
        """The frozen tokenizer."""
        tokenizer = self.outside["tokenizer"]
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"the tokenizer is a {type(tokenizer).__name__}")
        return tokenizer

    def predict(self, video: Clips, draw: Draw) -> tuple[Float[Tensor, "batch query values"], Tensor]:
        """Predictions and targets at the decoded tokens."""
        prediction = self.decoder(self.student.forward_features(video, draw.keep), draw.query)
        if self.codes is None:
            return prediction, self.pixels(video, draw.query, self.student.tubelet)
        return prediction, self.codes(self.tokenizer, self.encode(video), draw.query)

    @torch.no_grad()
    def encode(self, video: Clips) -> Codes:
        """The tokenizer's codes of normalised clips.

        Raises:
            ValueError: when they do not lie on the student's tokens.
        """
        pixels = self.pixels.to_unit_range(video)
        theirs, ours = self.tokenizer.grid(pixels), self.student.grid(video)
        if theirs != ours:
            raise ValueError(f"the tokenizer has a grid of {tuple(theirs)} codes, the student one of {tuple(ours)}")
        return self.tokenizer.quantize(self.tokenizer.latents(pixels))

    def errors(self, prediction: Float[Tensor, "batch query values"], target: Tensor) -> Float[Tensor, "batch query"]:
        """Error of each decoded token."""
        if self.codes is not None:
            return self.codes.errors(prediction, target)
        return (prediction.to(target.dtype) - target).square().mean(-1)

    def blank(self, target: Tensor, counted: Bool[Tensor, "batch query"]) -> Float[Tensor, ""]:
        """What the same prediction for all counted tokens gives at best; 0 where there are none."""
        if not counted.any():
            return torch.zeros((), device=target.device)
        return blank_error(target, counted) if self.codes is None else self.codes.blank(target, counted)

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Clips) -> Picture:
        """The visible patches, the scores, the decoded tokens, what the tokenizer keeps, and what comes out there."""
        draw, tubelet = self.draw(batch), self.student.tubelet
        panels = {"shown": pictures.visible(pixels, draw.keep, tubelet)}
        if draw.scores is not None:
            panels["scores"] = pictures.paint(_grays(draw.scores), self.student.grid(batch.video), tubelet)
        panels["decoded"] = pictures.visible(pixels, draw.query, tubelet)
        if self.codes is not None:
            # What comes back of the true codes: no prediction can look better.
            panels["tokenizer"] = self.tokenizer.reconstruct(self.encode(batch.video).codes).clamp(0, 1)
        panels["predicted"], note = self._predicted(batch.video, draw)
        kept = "Tokenizer: what comes back of the true codes. " if self.codes is not None else ""
        text = f"LVMAE, strategy {self.masking.strategy}: the decoder predicts the decoded tokens alone. {kept}{note}"
        return Picture(panels, text)

    def _predicted(self, video: Clips, draw: Draw) -> tuple[Clips, str]:
        prediction, target = self.predict(video, draw)
        tubelet, grid = self.student.tubelet, self.student.grid(video)
        if self.codes is None:
            borrowed = "" if self.pixels.normalize == "none" else ", with the mean and deviation of the true patches"
            made = self.pixels.pasted(video, draw.query, prediction, tubelet)
            return made, f"Predictions there{borrowed}; the input elsewhere."
        codes = self.encode(video)
        vectors = self.codes.codes_of(self.tokenizer, codes, draw.query, prediction)
        if vectors is not None:
            made = self.tokenizer.reconstruct(vectors).clamp(0, 1)
            return made, "The tokenizer's picture of predictions there, and of the true codes elsewhere."
        palette = pictures.Palette(target)
        return pictures.paint(palette(prediction), grid, tubelet, draw.query), "Colours are principal components."


def _grays(scores: Float[Tensor, "batch t h w"]) -> Float[Tensor, "batch tokens 3"]:
    """White for the largest score of each clip, black for the smallest."""
    flat = scores.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp_min(1e-12))[..., None].expand(-1, -1, 3)


def fitting(student: Backbone, tokenizer: Tokenizer | None, target: str, strategy: str, source: Source | None) -> None:
    """Whether target and strategy have what they need.

    Raises:
        ValueError: for an unknown target, and a tokenizer or source that is missing or does not fit.
    """
    if target not in TARGETS:
        raise ValueError(f"unknown target {target!r}; choose from {TARGETS}")
    if tokenizer is None and target != PIXELS:
        raise ValueError(f"target {target!r} needs a tokenizer; give one, or take target 'pixels'")
    if tokenizer is None and strategy == "learned":
        raise ValueError("strategy 'learned' needs a tokenizer with an importance scorer")
    if tokenizer is not None and (tokenizer.tubelet != student.tubelet or tokenizer.causal):
        alone = ", the first frame alone" if tokenizer.causal else ""
        raise ValueError(
            f"the tokenizer's codes stand for {tokenizer.tubelet} pixels{alone}, the student's tokens for "
            f"{student.tubelet}: one code must lie on one token"
        )
    kind = {"flow": nn.Module, "precomputed": Mapping}.get(strategy)
    if source is not None and (kind is None or not isinstance(source, kind)):
        raise ValueError(f"a source of type {type(source).__name__} means nothing to strategy {strategy!r}")
    if strategy == "precomputed" and source is None:
        raise ValueError("strategy 'precomputed' needs a source: scores by the rows of the list")


def num_values(student: Backbone, tokenizer: Tokenizer | None, target: str, pixels: PixelTarget) -> int:
    """Numbers that a decoder predicts per token."""
    if tokenizer is None or target == PIXELS:
        return pixels.num_values(student.tubelet)
    return CodeTarget(target, tokenizer).num_values


def lvmae_for(
    student: Backbone,
    tokenizer: Tokenizer | None,
    img_size: int,
    num_frames: int,
    *,
    target: str = "fsq_code",
    mask_ratio: float = 0.9,
    masking: DecoderMasking = LEARNED,
    pixels: PixelTarget = VIDEOMAE_TARGET,
    source: Source | None = None,
    decoder: Mapping[str, Any] | None = None,
) -> LVMAE:
    """LVMAE with a decoder of its own for any backbone.

    Args:
        student: the backbone.
        tokenizer: see `LVMAE`.
        img_size: side of the clips in pixels.
        num_frames: frames of the clips.
        target: see `LVMAE`.
        mask_ratio: fraction of tokens that the encoder does not see.
        masking: how the decoded tokens are chosen.
        pixels: its mean and std must be those of the clips' normalisation.
        source: see `LVMAE`.
        decoder: `width`, `depth`, `num_heads` and `flavor` of the decoder, see `zoo.cards.lvmae.DECODERS`; half the
            student's width, 4 blocks (the encoder has three times as many), a head for each 64 channels and VideoMAE's
            positions when None. These number the tokens one after another: with few tokens per row and a narrow decoder
            they hardly tell where a token lies, and the kinds with axes of their own, such as "vjepa", do.
    """
    width = backbone_of(student, "student").embed_dim // 2
    form: dict[str, Any] = {"width": width, "depth": 4, "num_heads": max(1, width // 64), **(decoder or {})}
    fitting(student, tokenizer, target, masking.strategy, source)
    made = MaskedDecoder(
        student.embed_dim,
        num_values(student, tokenizer, target, pixels),
        student.grid(torch.empty(1, 3, num_frames, img_size, img_size, device="meta")),
        **form,
    )
    return LVMAE(
        student,
        made,
        tokenizer,
        target=target,
        mask_ratio=mask_ratio,
        masking=masking,
        pixels=pixels,
        source=source,
    )
