"""What LVMAE predicts of a frozen tokenizer: code vectors, their up-projection, latents, or the codes' digits."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from backbones.tokenizer import Codes, Tokenizer
from backbones.tokens import take

DIGITS = "indices_ce"
CODE_TARGETS = ("fsq_code", "fsq_embed", "prequant", DIGITS)
Values = Float[Tensor, "batch query values"]
Errors = Float[Tensor, "batch query"]


class CodeTarget:
    """What of a tokenizer's codes is predicted, and how far off a prediction is.

    Args:
        kind: "fsq_code": code vectors, what the paper most likely means by "latent embeddings from the tokenizer";
            "fsq_embed": those behind the decoder's up-projection; "prequant": latents before quantization, for all of
            them the mean squared error. "indices_ce": the value of each dimension of a code, by cross entropy.
        tokenizer: makes the codes, in evaluation mode.

    Attributes:
        num_values: numbers predicted per token.

    Raises:
        ValueError: for an unknown kind, and "fsq_embed" of a tokenizer without an up-projection.
    """

    def __init__(self, kind: str, tokenizer: Tokenizer) -> None:
        if kind not in CODE_TARGETS:
            raise ValueError(f"unknown target of codes {kind!r}; choose from {CODE_TARGETS}")
        self.kind = kind
        self.levels = tokenizer.levels or (tokenizer.codebook_size,)
        self.num_values = tokenizer.code_dim
        if kind == "fsq_embed":
            like = next(tokenizer.parameters())
            self.num_values = tokenizer.up_project(like.new_zeros(1, 1, 1, 1, tokenizer.code_dim)).shape[-1]
        elif kind == DIGITS:
            self.num_values = sum(self.levels)

    def __call__(self, tokenizer: Tokenizer, codes: Codes, query: Int64[Tensor, "batch query"]) -> Tensor:
        """Targets at `query`: values in float32 or finer, or integers `[batch, query, dimensions]`."""
        if self.kind == DIGITS:
            return digits(take(codes.indices.flatten(1), query), self.levels)
        if self.kind == "prequant":
            values = codes.latents
        else:
            values = codes.codes if self.kind == "fsq_code" else tokenizer.up_project(codes.codes)
        return as_float(take(values.flatten(1, 3), query))

    def errors(self, prediction: Values, target: Tensor) -> Errors:
        """Mean error of each token over what is predicted of it."""
        if self.kind != DIGITS:
            return (prediction.to(target.dtype) - target).square().mean(-1)
        parts = zip(as_float(prediction).split(self.levels, -1), target.unbind(-1), strict=True)
        entropies = [
            F.cross_entropy(scores.flatten(0, 1), truth.flatten(), reduction="none") for scores, truth in parts
        ]
        return torch.stack(entropies).mean(0).view_as(target[..., 0])

    def blank(self, target: Tensor, counted: Bool[Tensor, "batch query"]) -> Float[Tensor, ""]:
        """Mean error over the counted tokens of what predicts the same for all of them at best."""
        if self.kind != DIGITS:
            return blank_error(target, counted)
        total = torch.zeros((), device=target.device)
        for level, truth in zip(self.levels, target.unbind(-1), strict=True):
            share = F.one_hot(truth[counted], level).float().mean(0)
            total = total - torch.special.xlogy(share, share).sum()
        return total / len(self.levels)

    def codes_of(
        self, tokenizer: Tokenizer, codes: Codes, query: Int64[Tensor, "batch query"], prediction: Values
    ) -> Float[Tensor, "batch t h w dim"] | None:
        """Code vectors with predictions at `query`, for a picture; None for what the tokenizer cannot read."""
        if self.kind == "fsq_embed":
            return None
        if self.kind == DIGITS:
            best = torch.stack([scores.argmax(-1) for scores in prediction.split(self.levels, -1)], -1)
            indices = codes.indices.flatten(1).scatter(1, query, from_digits(best, self.levels))
            return tokenizer.embed(indices.view_as(codes.indices))
        base = codes.latents if self.kind == "prequant" else codes.codes
        where = query[..., None].expand(-1, -1, base.shape[-1])
        values = base.flatten(1, 3).scatter(1, where, prediction.to(base.dtype)).view_as(base)
        return tokenizer.quantize(values).codes if self.kind == "prequant" else values


def blank_error(target: Values, counted: Bool[Tensor, "batch query"]) -> Float[Tensor, ""]:
    """Mean squared error over the counted tokens of their own mean."""
    seen = target[counted]
    return (seen - seen.mean(0)).square().mean()


def as_float(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The values in float32 or finer."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def digits(indices: Int64[Tensor, "*shape"], levels: tuple[int, ...]) -> Int64[Tensor, "*shape dims"]:
    """The value of each dimension of mixed-radix indices, the first dimension running fastest."""
    found = []
    for level in levels:
        found.append(indices % level)
        indices = indices // level
    return torch.stack(found, -1)


def from_digits(values: Int64[Tensor, "*shape dims"], levels: tuple[int, ...]) -> Int64[Tensor, "*shape"]:
    """Inverse of `digits`."""
    total, basis = torch.zeros_like(values[..., 0]), 1
    for place, level in enumerate(levels):
        total = total + values[..., place] * basis
        basis *= level
    return total
