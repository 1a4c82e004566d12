"""Codebooks without a codebook: lookup-free (LFQ) and finite scalar quantization (FSQ).

Sources: Yu et al., "Language Model Beats Diffusion: Tokenizer is Key to Visual Generation" (arXiv 2310.05737, LFQ) with
its authors' answers in lucidrains/magvit2-pytorch and TencentARC/SEED-Voken (Open-MAGVIT2); Mentzer et al., "Finite
Scalar Quantization: VQ-VAE Made Simple" (arXiv 2309.15505) with its notebook. Indices are little-endian in both: the
first dimension counts least.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

FSQ_EPS = 1e-3  # the paper's notebook
GROUP_BITS = 9  # Open-MAGVIT2's two sub-tokens of 2^18 codes
# 2^12 logits per token; a clip of 5 x 16 x 16 tokens then takes 21 MB, and 1.34 GB at 2^18.
MAX_GROUP_BITS = 12


class Quantized(NamedTuple):
    """Latents after quantization.

    Attributes:
        indices: entries of the codebook.
        codes: code vectors; gradients pass straight through.
        auxiliary: terms of a training loss by name, without weights; empty in eval mode.
    """

    indices: Int64[Tensor, "*batch"]
    codes: Float[Tensor, "*batch dim"]
    auxiliary: dict[str, Tensor]


class Quantizer(nn.Module, ABC):
    """Vectors to entries of a codebook of `codebook_size` vectors of width `dim`. It has no parameters and no state.

    `levels` counts the values of each dimension; indices are mixed radix, the first dimension runs fastest.
    """

    dim: int
    codebook_size: int
    levels: tuple[int, ...]

    @abstractmethod
    def forward(self, latents: Float[Tensor, "*batch dim"]) -> Quantized:
        """Round latents to the codebook."""

    @abstractmethod
    def embed(self, indices: Int64[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Code vectors of indices.

        Raises:
            ValueError: for an index outside the codebook.
        """

    def split(self, indices: Int64[Tensor, "*batch"], bits: Sequence[int]) -> Int64[Tensor, "*batch parts"]:
        """Indices as several smaller ones, for generators and classifiers that cannot have 2^18 outputs.

        Args:
            indices: entries of the codebook.
            bits: of each part, such as (9, 9), the least significant first (Open-MAGVIT2's "pre" and "post").

        Raises:
            ValueError: when the bits are not those of the codebook.
        """
        shifts = self._shifts(bits)
        return torch.stack([indices >> at & (1 << size) - 1 for at, size in zip(shifts, bits, strict=True)], -1)

    def join(self, parts: Int64[Tensor, "*batch parts"], bits: Sequence[int]) -> Int64[Tensor, "*batch"]:
        """Inverse of `split`.

        Raises:
            ValueError: when the bits are not those of the codebook, or the parts are more or fewer.
        """
        shifts = self._shifts(bits)
        if parts.shape[-1] != len(bits):
            raise ValueError(f"{parts.shape[-1]} parts per token for the factors {tuple(bits)}")
        return (parts << torch.tensor(shifts, device=parts.device)).sum(-1)

    def _shifts(self, bits: Sequence[int]) -> list[int]:
        if any(it < 1 for it in bits) or 2 ** sum(bits) != self.codebook_size:
            raise ValueError(f"factors of {tuple(bits)} bits are not those of a codebook of {self.codebook_size}")
        return [sum(bits[:part]) for part in range(len(bits))]

    def _check(self, indices: Tensor) -> None:
        if indices.is_meta or not indices.numel():
            return
        low, high = (int(it) for it in indices.aminmax())
        if low < 0 or high >= self.codebook_size:
            raise ValueError(
                f"index {low if low < 0 else high} is not in a codebook of {self.codebook_size} (0 to "
                f"{self.codebook_size - 1})"
            )


class FSQ(Quantizer):
    """Each dimension rounded to a few levels; nothing is added to the loss.

    Codes lie in [-1, 1]; an even number of levels reaches -1 and not 1 (FSQ's notebook).

    Args:
        levels: levels of each dimension. The paper advises 5 or more, and for 2^8 codes (8, 6, 5), 2^10 (8, 5, 5, 5),
            2^12 (7, 5, 5, 5, 5), 2^14 (8, 8, 8, 6, 5), 2^16 (8, 8, 8, 5, 5, 5).

    Raises:
        ValueError: for fewer than two levels, and for none.
    """

    reach: Tensor
    offset: Tensor
    shift: Tensor
    radius: Tensor
    basis: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or any(it < 2 for it in levels):
            raise ValueError(f"levels={tuple(levels)}: each dimension needs 2 levels or more")
        self.levels = tuple(levels)
        self.dim, self.codebook_size = len(levels), math.prod(levels)
        reach = (torch.tensor(levels) - 1) * (1 - FSQ_EPS) / 2
        offset = torch.tensor([0.0 if it % 2 else 0.5 for it in levels])
        self.register_buffer("reach", reach, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.register_buffer("shift", (offset / reach).tan(), persistent=False)
        self.register_buffer("radius", torch.tensor([it // 2 for it in levels]), persistent=False)
        self.register_buffer(
            "basis", torch.tensor([math.prod(levels[:at]) for at in range(len(levels))]), persistent=False
        )

    def forward(self, latents: Float[Tensor, "*batch dim"]) -> Quantized:
        """Bound by tanh, then round."""
        # Half precision cannot tell neighbouring levels' edges apart.
        bounded = (latents.float() + self.shift).tanh() * self.reach - self.offset
        levels = bounded.round()
        codes = (bounded + (levels - bounded).detach()) / self.radius
        indices = ((levels.long() + self.radius) * self.basis).sum(-1)
        return Quantized(indices, codes.to(latents.dtype), {})

    def embed(self, indices: Int64[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """See `Quantizer.embed`."""
        self._check(indices)
        levels = indices[..., None] // self.basis % torch.tensor(self.levels, device=indices.device)
        return (levels - self.radius).float() / self.radius


class LFQ(Quantizer):
    """The signs of latents; 0 counts as negative. No activation before them, no codebook loss.

    In training mode `auxiliary` holds "commitment", mse(latents, codes), and "entropy", E[H(q)] - H(E[q]): single
    tokens should be certain of their code and the codebook should be used evenly. The probabilities are softmax(2 z.c /
    temperature) over all codes c. The first term is exactly a sum over bits, E[H(q)] = sum of Bernoulli entropies of
    sigmoid(4 z / temperature). The second is not; it is computed over groups of bits and summed, which is an upper
    bound and exact for one group, or over a sample of tokens.

    The paper's weights are 0.1 for the entropy and 0.25 for the commitment at 2^10 to 2^40 codes (its authors).

    Args:
        bits: dimensions, so that there are 2^bits codes.
        temperature: of the softmax; 0.01 in MAGVIT's and Open-MAGVIT2's code.
        entropy_groups: equal groups of bits for the codebook's entropy; 0 for as few as keep each at `GROUP_BITS`.
        entropy_tokens: tokens per step, drawn anew, over which the codebook's entropy is computed; 0 for all.

    Raises:
        ValueError: for groups that do not divide the bits, and for ones so large that the matrix of tokens x codes
            would fill the memory, unless tokens are sampled.
    """

    basis: Tensor
    group: Tensor

    def __init__(
        self, bits: int, *, temperature: float = 0.01, entropy_groups: int = 0, entropy_tokens: int = 0
    ) -> None:
        super().__init__()
        if bits < 1 or temperature <= 0 or entropy_groups < 0 or entropy_tokens < 0:
            raise ValueError(
                f"bits={bits}, temperature={temperature}, entropy_groups={entropy_groups}, entropy_tokens="
                f"{entropy_tokens}: bits and temperature are above 0, the others 0 or more"
            )
        groups = entropy_groups or next(it for it in range(1, bits + 1) if bits % it == 0 and bits // it <= GROUP_BITS)
        if bits % groups:
            raise ValueError(f"{groups} groups do not divide {bits} bits")
        size = bits // groups
        if size > MAX_GROUP_BITS and not entropy_tokens:
            raise ValueError(
                f"the entropy of 2^{size} codes at once needs a matrix of tokens x {2**size:,} numbers; take "
                f"entropy_groups so that a group has at most {MAX_GROUP_BITS} bits, or entropy_tokens to sample"
            )
        self.dim, self.codebook_size, self.levels = bits, 2**bits, (2,) * bits
        self.temperature, self.groups, self.entropy_tokens = temperature, groups, entropy_tokens
        self.register_buffer("basis", 2 ** torch.arange(bits), persistent=False)
        self.register_buffer("group", _signs(torch.arange(2**size), size), persistent=False)

    def forward(self, latents: Float[Tensor, "*batch dim"]) -> Quantized:
        """Take the signs."""
        positive = latents > 0
        signs = torch.where(positive, 1.0, -1.0).to(latents.dtype)
        codes = latents + (signs - latents).detach()
        auxiliary = {}
        if self.training:
            token, codebook = self.entropies(latents)
            auxiliary = {"entropy": token - codebook, "commitment": F.mse_loss(latents, signs)}
        return Quantized((positive * self.basis).sum(-1), codes, auxiliary)

    def embed(self, indices: Int64[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """See `Quantizer.embed`."""
        self._check(indices)
        return _signs(indices, self.dim)

    def entropies(self, latents: Float[Tensor, "*batch dim"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Mean entropy of a token's code, and entropy of the mean over tokens, in nats."""
        with torch.autocast(latents.device.type, enabled=False):
            tokens = latents.float().flatten(0, -2) / self.temperature
            size = (4 * tokens).abs()
            # The entropy of sigmoid(x), without the difference of large numbers.
            token = (F.softplus(-size) + size * torch.sigmoid(-size)).sum(-1).mean()
            if 0 < self.entropy_tokens < len(tokens):
                tokens = tokens[torch.randperm(len(tokens), device=tokens.device)[: self.entropy_tokens]]
            logits = 2 * tokens.unflatten(-1, (self.groups, -1)) @ self.group.T
            mean = logits.softmax(-1).mean(0)
            return token, -(mean * mean.clamp_min(torch.finfo(mean.dtype).tiny).log()).sum()


def _signs(indices: Int64[Tensor, "*batch"], bits: int) -> Float[Tensor, "*batch bits"]:
    """The bits of indices, least significant first, as -1 and 1."""
    return ((indices[..., None] >> torch.arange(bits, device=indices.device)) & 1) * 2.0 - 1.0


def annealed(weight: float, step: int, *, rise: float = 3.0, steps: int = 2000) -> float:
    """Weight of the entropy that begins higher, which helps large codebooks: weight * (1 + rise * what is left).

    Args:
        weight: final weight.
        step: steps taken.
        rise: how much higher it begins, 3 in Open-MAGVIT2's loss class (its released configurations say 0).
        steps: until the final weight, 2000 in the same class.
    """
    return weight * (1 + rise * max(0.0, 1 - step / steps))
