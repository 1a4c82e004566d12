"""Training a video tokenizer: reconstruction, perceptual and adversarial losses, and what the quantizer adds.

Sources: MAGVIT (arXiv 2212.05199; google-research/magvit, `vqgan_trainer.py` and configs for UCF-101), whose weights
are the defaults; MAGVIT-v2 (arXiv 2310.05737); Open-MAGVIT2 (TencentARC/SEED-Voken). spec-lvmae-magvit, B.5.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from backbones.contract import Backbone
from backbones.quantizers import annealed
from backbones.tokenizer import Tokenizer
from zoo.batch import Batch
from zoo.ema import Target
from zoo.objectives.contract import Loss, Objective, Picture, Steps

TOKENIZER, DISCRIMINATOR = "tokenizer", "discriminator"
ERRORS = {"l2": F.mse_loss, "l1": F.l1_loss}
LECAM_MOMENTUM = 0.999  # from memory of Open-MAGVIT2's code
Clips = Float[Tensor, "batch 3 frames height width"]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What each term of the losses is multiplied by; the defaults are MAGVIT's for UCF-101.

    Attributes:
        reconstruction: of the error of pixels in 0-1; 5 in MAGVIT-v2 (from memory).
        perceptual: 0.1 for ResNet logits; Open-MAGVIT2 takes 1 for LPIPS.
        adversarial: of the generator's loss; Open-MAGVIT2 takes 0.1 for images and 0.3 for video.
        r1: of the squared gradient of the discriminator at real clips.
        lecam: of LeCAM's regularisation (arXiv 2104.03310), which MAGVIT can do without; 0.001 in MAGVIT-v2 (from
            memory), 0.01 to 0.05 in Open-MAGVIT2.
        entropy: of LFQ's entropy term, at the end of its annealing.
        entropy_rise: how much higher it begins, see `backbones.quantizers.annealed`.
        entropy_steps: until `entropy` is reached.
        commitment: of LFQ's commitment term.

    Raises:
        ValueError: for a negative weight, and for annealing in no step.
    """

    reconstruction: float = 1.0
    perceptual: float = 0.1
    adversarial: float = 0.1
    r1: float = 10.0
    lecam: float = 0.0
    entropy: float = 0.1
    entropy_rise: float = 3.0
    entropy_steps: int = 2000
    commitment: float = 0.25

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (name == "entropy_steps" and value < 1):
                raise ValueError(f"{name}={value}: weights are 0 or more, and entropy_steps at least 1")

    def of_quantizer(self, step: int) -> dict[str, float]:
        """Weights of the quantizer's terms after some steps."""
        entropy = annealed(self.entropy, step, rise=self.entropy_rise, steps=self.entropy_steps)
        return {"entropy": entropy, "commitment": self.commitment}


class TokenizerTraining(Objective):
    """Trains any tokenizer, adaptive ones too, against a discriminator if there is one.

    With a discriminator there are two parts, and `forward` gives the loss of one of them. Both losses of a batch are of
    one reconstruction, made by `part="tokenizer"`, and of the weights before either is stepped, as in MAGVIT's code.

    Args:
        tokenizer: what is trained.
        discriminator: from clips to one logit each; None trains without an adversary, and as one part.
        perceptual: frozen distance of two sets of clips, see `zoo.objectives.perceptual`; None for none.
        error: "l2" (MAGVIT) or "l1" (Open-MAGVIT2).
        weights: of all terms.
        momentum: of the running average that is evaluated and exported.
        mean: of the clips' normalisation, per channel; it is undone first.
        std: likewise.

    Attributes:
        average: running average of the tokenizer.
        parts: names of the parts; empty without a discriminator.
        real_mean: running mean of the discriminator's logits of real clips, for LeCAM.
        fake_mean: of reconstructions.

    Raises:
        ValueError: for an unknown error, a momentum outside [0, 1], and a tokenizer that holds no backbone.
    """

    mean: Tensor
    std: Tensor
    real_mean: Tensor
    fake_mean: Tensor

    def __init__(
        self,
        tokenizer: Tokenizer,
        discriminator: nn.Module | None = None,
        *,
        perceptual: nn.Module | None = None,
        error: str = "l2",
        weights: LossWeights | None = None,
        momentum: float = 0.999,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__({} if perceptual is None else {"perceptual": perceptual})
        if error not in ERRORS:
            raise ValueError(f"unknown error {error!r}; choose from {', '.join(ERRORS)}")
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1], not {momentum}")
        if not any(isinstance(part, Backbone) for part in tokenizer.modules()):
            raise ValueError(f"{type(tokenizer).__name__} holds no backbone, so that nothing could be exported")
        if perceptual is None:
            _logger.warning("the tokenizer is trained without perceptual loss")
        self.tokenizer, self.discriminator = tokenizer, discriminator
        self.average = Target(tokenizer)
        self.parts = () if discriminator is None else (TOKENIZER, DISCRIMINATOR)
        self.error, self.weights, self.momentum = error, weights or LossWeights(), momentum
        self.register_buffer("mean", torch.tensor(mean)[:, None, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None, None], persistent=False)
        self.steps = Steps()
        self.register_buffer("real_mean", torch.tensor(0.0))
        self.register_buffer("fake_mean", torch.tensor(0.0))
        self._made: tuple[Tensor, Tensor] | None = None  # a batch's clips, and what became of them
        self._logits: tuple[Tensor, Tensor] | None = None

    @property
    def student(self) -> Backbone:  # type: ignore[override]  # found, not kept: a second name would double the weights
        """The encoder."""
        return next(part for part in self.tokenizer.modules() if isinstance(part, Backbone))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report must say of the loss."""
        lacking = {
            "perceptual": "perceptual" not in self.outside,
            "adversarial": self.discriminator is None,
        }
        return tuple(f"trained without {name} loss" for name, absent in lacking.items() if absent)

    def forward(self, batch: Batch, part: str = TOKENIZER) -> Loss:
        """The loss of one part.

        Raises:
            ValueError: for a part that there is not.
        """
        if part not in (self.parts or (TOKENIZER,)):
            raise ValueError(f"unknown part {part!r}; this objective has {', '.join(self.parts) or TOKENIZER}")
        pixels = batch.video * self.std + self.mean
        if part == TOKENIZER or self.discriminator is None:
            return self._tokenizer(batch.video, pixels)
        made, self._made = self._made, None
        if made is None or made[0] is not batch.video:
            with torch.no_grad():
                made = (batch.video, self.tokenizer(pixels).video)
        return self._adversary(self.discriminator, pixels, made[1])

    def _tokenizer(self, video: Clips, pixels: Clips) -> Loss:
        """Error of the reconstruction, distances of it, and the quantizer's terms."""
        made, codes = self.tokenizer(pixels)
        weights, measure = self.weights, ERRORS[self.error]
        terms = {"reconstruction": measure(made, pixels)}
        factors = {"reconstruction": weights.reconstruction}
        if "perceptual" in self.outside:
            terms["perceptual"] = self.outside["perceptual"](made, pixels)
            factors["perceptual"] = weights.perceptual
        if self.discriminator is not None:
            terms["adversarial"] = F.softplus(-self.discriminator(made)).mean()
            factors["adversarial"] = weights.adversarial
            self._made = (video, made.detach())
        terms |= codes.auxiliary
        factors |= self._quantizer_weights(codes.auxiliary)
        total = torch.stack([factors[name] * value for name, value in terms.items()]).sum()
        # The best guess without looking at a clip is the mean frame; of the other terms nobody knows one.
        mean = pixels.mean((0, 2), keepdim=True).expand_as(pixels)
        logs = {name: value.detach() for name, value in terms.items()}
        return Loss(total, {**logs, "blank_loss": measure(mean, pixels)})

    def _quantizer_weights(self, auxiliary: Mapping[str, Tensor]) -> dict[str, float]:
        known = self.weights.of_quantizer(self.steps.taken)
        if strange := [name for name in auxiliary if name not in known]:
            raise ValueError(f"the quantizer adds a term {strange[0]!r}, for which there is no weight")
        return {name: known[name] for name in auxiliary}

    def _adversary(self, discriminator: nn.Module, pixels: Clips, made: Clips) -> Loss:
        """Non-saturating loss, the penalty on its gradient at real clips, and LeCAM."""
        penalised = self.weights.r1 > 0
        pixels = pixels.detach().requires_grad_(penalised)
        real, fake = discriminator(pixels), discriminator(made)
        terms = {"discriminator": F.softplus(-real).mean() + F.softplus(fake).mean()}
        total = terms["discriminator"]
        if penalised:
            (slope,) = torch.autograd.grad(real.sum(), pixels, create_graph=True)
            terms["r1"] = slope.float().square().flatten(1).sum(1).mean()
            total = total + self.weights.r1 * terms["r1"]
        if self.weights.lecam:
            above, below = F.relu(real - self.fake_mean), F.relu(self.real_mean - fake)
            terms["lecam"] = above.square().mean() + below.square().mean()
            total = total + self.weights.lecam * terms["lecam"]
        self._logits = (real.detach().mean(), fake.detach().mean())
        told = {"real_logit": self._logits[0], "fake_logit": self._logits[1]}
        return Loss(total, {**{name: value.detach() for name, value in terms.items()}, **told})

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Move the running averages, now that the step was taken."""
        self.steps.taken = step
        self.average.follow(self.tokenizer, self.momentum)
        if self._logits is not None:
            for mean, seen in zip((self.real_mean, self.fake_mean), self._logits, strict=True):
                mean.lerp_(seen.to(mean.dtype), 1 - LECAM_MOMENTUM)
            self._logits = None

    @torch.no_grad()
    def picture(self, batch: Batch, pixels: Clips) -> Picture:
        """Clips and what the averaged tokenizer makes of them."""
        made = self.average.network(batch.video * self.std + self.mean).video.clamp(0, 1)
        note = "; ".join(("What comes back of the codes, by the averaged weights", *self.notes))
        return Picture({"shown": pixels, "reconstructed": made}, f"{note}.")
