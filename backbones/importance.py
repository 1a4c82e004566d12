"""Which codes of a clip matter: a scorer that a tokenizer learns together with its codes, and the choice of the best.

LVMAE (arXiv 2411.13683, Section 3.1): two strided convolutions give a feature per code, a code's score is the distance
of its feature from that of the slot before, and only the latents of the best codes reach the quantizer in training. The
paper calls the choice "differentiable top-k" without naming the algorithm. Here it is the perturbed top-k of Cordonnier
et al. (arXiv 2104.03059): in our tests a straight-through sigmoid lost the moving parts of a clip, this one found them.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Grid
from backbones.tokenizer import Codes, Tokenizer

FIRST_SLOTS = ("copy", "keep", "zero")
SCOPES = ("global", "window")
Clips = Float[Tensor, "batch 3 frames height width"]
Scores = Float[Tensor, "batch t h w"]


def adjacent_distance(features: Float[Tensor, "batch t h w dim"], first_slot: str = "copy") -> Scores:
    """Euclidean distance of every feature from the one at its place a slot earlier (EVEREST, arXiv 2211.10636).

    Args:
        features: one per token.
        first_slot: what the first slot gets, which has none before it: "copy" the second slot's values (EVEREST),
            "keep" the largest of the clip, so that it is chosen before all others, "zero". A clip of one slot gets
            zeros.

    Raises:
        ValueError: for an unknown rule.
    """
    checked("first_slot", first_slot, FIRST_SLOTS)
    moved = torch.linalg.vector_norm(features.diff(dim=1), dim=-1)
    if not moved.shape[1]:
        return features.new_zeros(features.shape[:-1])
    if first_slot == "copy":
        first = moved[:, :1]
    elif first_slot == "keep":
        first = moved.amax((1, 2, 3), keepdim=True).expand_as(moved[:, :1])
    else:
        first = torch.zeros_like(moved[:, :1])
    return torch.cat([first, moved], 1)


def checked(role: str, name: str, known: tuple[str, ...]) -> str:
    """A name, if it is one of those known.

    Raises:
        ValueError: for any other.
    """
    if name not in known:
        raise ValueError(f"unknown {role} {name!r}; choose from {known}")
    return name


class ImportanceScorer(nn.Module):
    """Two strided convolutions from pixels to one feature per code.

    Args:
        tubelet: pixels per code (frames, height, width); each side is split into two strides as even as possible, the
            larger one first in space and last in time.
        hidden: channels between the convolutions.
        dim: width of a feature.
        causal: the first frame has a slot of its own, see `Tokenizer`.

    The paper gives neither widths nor kernels; kernels are as large as their strides.
    """

    def __init__(self, tubelet: tuple[int, int, int], *, hidden: int = 32, dim: int = 32, causal: bool = False) -> None:
        super().__init__()
        self.ahead = tubelet[0] - 1 if causal else 0
        (late, early), (top, down), (left, right) = (_factors(size) for size in tubelet)
        self.first = nn.Conv3d(3, hidden, (early, top, left), (early, top, left))
        self.second = nn.Conv3d(hidden, dim, (late, down, right), (late, down, right))

    def forward(self, video: Clips) -> Float[Tensor, "batch t h w dim"]:
        """Features of clips with pixels in 0-1."""
        if self.ahead:
            video = torch.cat([video[:, :, :1].expand(-1, -1, self.ahead, -1, -1), video], 2)
        return self.second(F.gelu(self.first(video - 0.5))).movedim(1, -1)


def _factors(size: int) -> tuple[int, int]:
    """Two factors, the larger one first."""
    smaller = next(it for it in range(math.isqrt(size), 0, -1) if size % it == 0)
    return size // smaller, smaller


class _PerturbedTopK(torch.autograd.Function):
    """Mean of the hard choices under noise; its gradient is the score-function estimate with the mean as baseline."""

    @staticmethod
    def forward(ctx, scores: Tensor, num: int, noise: Tensor, sigma: float) -> Tensor:  # type: ignore[no-untyped-def]  # torch's own context
        chosen = top_k((scores[:, None] + sigma * noise).flatten(0, 1), num).unflatten(0, noise.shape[:2])
        ctx.save_for_backward(chosen, noise)
        ctx.sigma = sigma
        return chosen.mean(1)

    @staticmethod
    def backward(ctx, gradient: Tensor):  # type: ignore[no-untyped-def]  # torch's own context
        chosen, noise = ctx.saved_tensors
        value = torch.einsum("bsn,bn->bs", chosen, gradient)
        value = value - value.mean(1, keepdim=True)
        scores = torch.einsum("bs,bsn->bn", value, noise) / (ctx.sigma * max(1, noise.shape[1] - 1))
        return scores, None, None, None


def top_k(scores: Float[Tensor, "batch tokens"], num: int) -> Float[Tensor, "batch tokens"]:
    """One for the `num` largest scores of each sample, zero for the others; of equal ones the first count as larger."""
    chosen = scores.argsort(dim=1, descending=True, stable=True)[:, :num]
    return torch.zeros_like(scores).scatter_(1, chosen, 1.0)


def perturbed_top_k(
    scores: Float[Tensor, "batch tokens"], num: int, noise: Float[Tensor, "batch samples tokens"], sigma: float = 0.3
) -> Float[Tensor, "batch tokens"]:
    """How often each token is among the `num` best when the scores are disturbed, with gradients for the scores.

    Args:
        scores: of one scale for all samples, see `standardized`.
        num: tokens that are chosen each time; the result sums to it.
        noise: standard normal.
        sigma: what the noise is multiplied by.
    """
    chosen: Tensor = _PerturbedTopK.apply(scores, num, noise, sigma)
    return chosen


def standardized(scores: Float[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens"]:
    """Scores of mean 0 and deviation 1 per sample; equal ones become zeros."""
    center = scores - scores.mean(1, keepdim=True)
    return center / (center.square().mean(1, keepdim=True) + 1e-12).sqrt()


class AdaptiveTokenizer(Tokenizer):
    """A tokenizer that learns which of its codes matter.

    In training mode the latents of unimportant codes are zero before they are quantized, so that codes and scores are
    learned together. In evaluation mode `latents` are whole, because an autoencoder's targets are; `kept_latents` are
    those of the most important codes alone.

    Args:
        tokenizer: makes and reads the codes.
        scorer: its grid must be the tokenizer's.
        keep_tokens: codes that are kept of a clip, or of each window (LVMAE: 768 of 1568 for 16 frames).
        first_slot: what `kept_latents` does with the first slot, see `adjacent_distance`. "keep" always keeps all of it
            (LVMAE, in training).
        keep_includes_first: whether a kept first slot counts among `keep_tokens`. The paper does not say; it does here.
        score_first_slot: the same for `importance`, where whole slots cannot be given away.
        sigma: strength of the noise of the perturbed choice in training.
        num_samples: choices that are averaged in training.
        window: frames that are looked at together; longer clips go through piece by piece (LVMAE: 16). None for whole
            clips.
        scope: which scores are comparable: "global" scores the whole clip at once; "window" scores each window by
            itself, and `importance` is then the share of its window that a code is above, so that a choice of the
            largest takes equally many of every window.

    Attributes:
        generator: of the noise; None for torch's global one, as dropout has it.

    Raises:
        ValueError: for unknown rules, a window that tubelets do not divide, and windows of a causal tokenizer.
    """

    generator: torch.Generator | None = None

    def __init__(
        self,
        tokenizer: Tokenizer,
        scorer: ImportanceScorer,
        *,
        keep_tokens: int = 768,
        first_slot: str = "keep",
        keep_includes_first: bool = True,
        score_first_slot: str = "copy",
        sigma: float = 0.3,
        num_samples: int = 32,
        window: int | None = None,
        scope: str = "global",
    ) -> None:
        super().__init__()
        self.tokenizer, self.scorer = tokenizer, scorer
        self.codebook_size, self.code_dim, self.levels = tokenizer.codebook_size, tokenizer.code_dim, tokenizer.levels
        self.tubelet, self.causal = tokenizer.tubelet, tokenizer.causal
        if window is not None and (self.causal or window < 1 or window % self.tubelet[0]):
            raise ValueError(
                f"windows of {window} frames cannot be cut for a {'' if self.causal else 'non-'}causal tokenizer with "
                f"{self.tubelet[0]} frames per code: they must be multiples of that; a causal one takes whole clips"
            )
        if scope == "window" and window is None:
            raise ValueError("scope 'window' needs a window, in frames")
        self.keep_tokens, self.keep_includes_first = keep_tokens, keep_includes_first
        self.first_slot = checked("first_slot", first_slot, FIRST_SLOTS)
        self.score_first_slot = checked("score_first_slot", score_first_slot, FIRST_SLOTS)
        self.sigma, self.num_samples, self.window = sigma, num_samples, window
        self.scope = checked("scope", scope, SCOPES)

    def grid(self, video: Clips) -> Grid:
        """Numbers of codes of a clip."""
        return self.tokenizer.grid(video)

    def latents(self, video: Clips) -> Float[Tensor, "batch t h w dim"]:
        """What the encoder makes of clips; in training mode, of the important codes alone."""
        return self.kept_latents(video) if self.training else self._by_window(self.tokenizer.latents, video)

    def kept_latents(self, video: Clips) -> Float[Tensor, "batch t h w dim"]:
        """Latents of the important codes, and zeros; in training mode weighted by how often each was chosen."""
        return self._by_window(lambda part: self.tokenizer.latents(part) * self.gates(part)[..., None], video)

    def quantize(self, latents: Float[Tensor, "batch t h w dim"]) -> Codes:
        """Latents rounded to code vectors."""
        return self.tokenizer.quantize(latents)

    def reconstruct(self, codes: Float[Tensor, "batch t h w dim"]) -> Clips:
        """Clips from code vectors, pixels not clamped."""
        parts = codes.split(codes.shape[1] if self.window is None else self.window // self.tubelet[0], 1)
        return torch.cat([self.tokenizer.reconstruct(part) for part in parts], 2)

    def embed(self, indices: Int64[Tensor, "batch t h w"]) -> Float[Tensor, "batch t h w dim"]:
        """Code vectors of indices."""
        return self.tokenizer.embed(indices)

    def up_project(self, codes: Float[Tensor, "batch t h w dim"]) -> Float[Tensor, "batch t h w width"]:
        """Code vectors as the decoder makes them wider."""
        return self.tokenizer.up_project(codes)

    def importance(self, video: Clips) -> Scores:
        """Distance of every code's feature from that of the slot before."""
        if self.scope == "global":
            return adjacent_distance(self.scorer(video), self.score_first_slot)
        return self._by_window(lambda part: _shares(adjacent_distance(self.scorer(part), self.score_first_slot)), video)

    def gates(self, video: Clips) -> Scores:
        """One for the kept codes of clips of a window or less, zero for the others; between them in training mode.

        Raises:
            ValueError: when there are not more codes than should be kept, or the first slot takes all of them.
        """
        scores = adjacent_distance(self.scorer(video), self.first_slot)
        _, slots, height, width = scores.shape
        forced = self.first_slot == "keep"
        area, num = height * width, self.keep_tokens
        if forced and self.keep_includes_first:
            num -= area
        candidates = scores[:, forced:].flatten(1)
        if not 0 < num < candidates.shape[1]:
            raise ValueError(
                f"{self.keep_tokens} kept of {slots} x {height} x {width} codes leave {num} to choose among "
                f"{candidates.shape[1]}; keep more, keep fewer or take larger clips"
            )
        candidates = standardized(candidates)
        chosen = perturbed_top_k(candidates, num, self._noise(candidates), self.sigma) if self.training else None
        chosen = top_k(candidates, num) if chosen is None else chosen
        return torch.cat([torch.ones_like(scores[:, :forced]), chosen.unflatten(1, (-1, height, width))], 1)

    def _noise(self, candidates: Tensor) -> Tensor:
        device = candidates.device if self.generator is None else self.generator.device
        shape = (len(candidates), self.num_samples, candidates.shape[1])
        return torch.randn(shape, generator=self.generator, device=device).to(candidates)

    def _by_window(self, function: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
        parts = video.split(video.shape[2] if self.window is None else self.window, 2)
        return torch.cat([function(part) for part in parts], 1)


def _shares(scores: Scores) -> Scores:
    """Share of the clip's codes that each is above; equal ones in the order of their indices, the first highest."""
    order = scores.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (1 - order.to(scores.dtype) / order.shape[1]).view_as(scores)
