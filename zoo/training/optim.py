"""The optimiser: parameter groups with layer decay, learning rates of every step, AdamW."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from backbones.contract import Backbone
from zoo.recipes.recipe import LayerRule, Recipe
from zoo.training.schedules import Schedule, StretchedCosine, StretchedLine

REFERENCE_BATCH = 256  # what published base learning rates refer to (MAE, VideoMAE, UMT, VideoMamba)


def scale_lr(base_lr: float, *, global_batch: int, repeats: int = 1) -> float:
    """Learning rate of a run: base * clips per step / 256.

    Args:
        base_lr: rate for a batch of 256, as papers print it.
        global_batch: clips per optimiser step, over all devices and accumulated batches.
        repeats: augmented copies per clip. UMT and VideoMamba count them (run_class_finetuning.py, `num_sample`);
            VideoMAE does not.
    """
    return base_lr * global_batch * repeats / REFERENCE_BATCH


@dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """Linear warm-up, then half a cosine, one value per optimiser step (VideoMAE, utils.py, `cosine_scheduler`).

    The first warm-up step has the value `start`, the last one `peak`, and so has the first step after it; the value
    `final` would be reached one step after the last.

    Attributes:
        peak: largest value.
        final: value at which the cosine ends.
        steps: number of steps, warm-up included.
        warmup_steps: number of warm-up steps.
        start: value of the first warm-up step.
    """

    peak: float
    steps: int
    final: float = 0.0
    warmup_steps: int = 0
    start: float = 0.0

    def __call__(self, step: int) -> float:
        """Value at a step, counted from 0.

        Raises:
            ValueError: for a step outside the schedule.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} lies outside a schedule of {self.steps} steps (0 to {self.steps - 1})")
        if step == self.warmup_steps - 1 > 0:
            return self.peak
        if step < self.warmup_steps:
            return self.start + step * ((self.peak - self.start) / max(1, self.warmup_steps - 1))
        angle = math.pi * (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        return self.final + 0.5 * (self.peak - self.final) * (1 + math.cos(angle))


def schedule_of(recipe: Recipe) -> Schedule:
    """Learning rate per step, scaled by the batch."""
    repeats = recipe.repeats if recipe.repeats_scale_lr else 1

    def scaled(base_lr: float) -> float:
        return scale_lr(base_lr, global_batch=recipe.global_batch, repeats=repeats)

    peak, final, horizon = scaled(recipe.base_lr), scaled(recipe.base_final_lr), int(recipe.stretch * recipe.steps)
    if recipe.schedule == "vjepa_linear":
        return StretchedLine(peak=peak, final=final, horizon=horizon)
    if recipe.schedule == "vjepa_cosine":
        start = scaled(recipe.base_warmup_lr)
        return StretchedCosine(peak=peak, final=final, horizon=horizon, warmup_steps=recipe.warmup_steps, start=start)
    return CosineSchedule(
        peak=peak,
        final=final,
        start=scaled(recipe.base_warmup_lr),
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
    )


def weight_decay_of(recipe: Recipe) -> Schedule | None:
    """Weight decay per step; None where it does not change."""
    if recipe.final_weight_decay is None:
        return None
    horizon = int(recipe.stretch * recipe.steps)
    return StretchedCosine(peak=recipe.weight_decay, final=recipe.final_weight_decay, horizon=horizon)


def layer_of(backbone: Backbone, name: str, rule: LayerRule = "all") -> int:
    """Layer of a backbone parameter: 0 stem, 1..depth the blocks, depth + 1 what comes after.

    Args:
        backbone: the backbone.
        name: parameter name inside it.
        rule: "all" is the backbone's own layering. VideoMamba's code (video_sm/optim_factory.py) differs in two ways.
            Its table has no entry for the temporal position table, which falls to the last layer: "videomamba". And
            the branch for its blocks is commented out, so that they fall there too and only patch embedding, spatial
            position table and class token are slowed down, to decay^(depth + 1) of the rate, which all but freezes
            them: "videomamba_published" (its issue 109). The authors saw no gain from the corrected form.

    Raises:
        ValueError: for a layer that does not exist.
    """
    layer, last = backbone.layer_of(name), backbone.depth + 1
    if not 0 <= layer <= last:
        raise ValueError(f"parameter {name!r} is in layer {layer}; layers of this backbone are 0 to {last}")
    if rule != "all" and name.startswith("temporal_pos_embed"):
        return last
    if rule == "videomamba_published" and layer > 0:
        return last
    return layer


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where one trainable parameter ends up.

    Attributes:
        name: full name in the trained module.
        parameter: the parameter.
        layer: layer of the backbone; depth + 1 for heads, decoders and everything else.
        lr_scale: factor on the learning rate.
        decays: whether weight decay applies.
    """

    name: str
    parameter: nn.Parameter
    layer: int
    lr_scale: float
    decays: bool


def place_parameters(
    module: nn.Module, backbone: Backbone, *, layer_decay: float = 1.0, layer_rule: LayerRule = "all"
) -> list[Placement]:
    """One placement per trainable parameter of `module`, in its order.

    Vectors and scalars (norms, biases) never decay, nor does what a submodule lists in `no_weight_decay()`.

    Args:
        module: everything that is trained; contains `backbone`.
        backbone: the part whose layers get smaller rates.
        layer_decay: factor from a layer to the one below.
        layer_rule: see `layer_of`.

    Raises:
        ValueError: when `backbone` is no part of `module`, or nothing is trainable.
    """
    prefix = next((name for name, part in module.named_modules() if part is backbone), None)
    if prefix is None:
        raise ValueError(f"{type(backbone).__name__} is not a part of the {type(module).__name__} to be trained")
    prefix = f"{prefix}." if prefix else ""
    inside, exempt, last = {id(p) for p in backbone.parameters()}, set(no_decay_names(module)), backbone.depth + 1
    placements = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = layer_of(backbone, name.removeprefix(prefix), layer_rule) if id(parameter) in inside else last
        placements.append(
            Placement(
                name=name,
                parameter=parameter,
                layer=layer,
                lr_scale=layer_decay ** (last - layer),
                decays=parameter.ndim > 1 and name not in exempt,
            )
        )
    if not placements:
        raise ValueError(f"{type(module).__name__} has no trainable parameter")
    return placements


def no_decay_names(module: nn.Module) -> Iterator[str]:
    """Full names of the parameters that submodules exempt from weight decay."""
    for prefix, part in module.named_modules():
        listed = getattr(part, "no_weight_decay", None)
        if callable(listed):
            yield from (f"{prefix}.{name}" if prefix else name for name in listed())


def param_groups(placements: list[Placement], *, weight_decay: float) -> list[dict[str, Any]]:
    """Optimiser groups of parameters with equal rate and decay; each holds `lr_scale` for the schedule.

    Raises:
        ValueError: when a parameter was placed twice.
    """
    if len({id(place.parameter) for place in placements}) != len(placements):
        raise ValueError("a parameter was placed in two groups")
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for place in placements:
        key = (place.lr_scale, place.decays)
        if key not in groups:
            groups[key] = {"params": [], "lr_scale": key[0], "weight_decay": weight_decay if place.decays else 0.0}
        groups[key]["params"].append(place.parameter)
    return list(groups.values())


def describe_groups(placements: list[Placement], recipe: Recipe) -> str:
    """Table of the groups, for the log of a run: learning rate, decay, tensors, parameters, an example."""
    peak = schedule_of(recipe).peak
    lines = [
        f"{'layer':>5} {'lr scale':>10} {'peak lr':>10} {'decay':>6} {'tensors':>7} {'parameters':>11}  first name"
    ]
    for layer, decays in sorted({(place.layer, place.decays) for place in placements}):
        members = [place for place in placements if (place.layer, place.decays) == (layer, decays)]
        scale, decay = members[0].lr_scale, recipe.weight_decay if decays else 0.0
        count = sum(place.parameter.numel() for place in members)
        lines.append(
            f"{layer:>5} {scale:>10.4g} {peak * scale:>10.4g} {decay:>6.4g} {len(members):>7} {count:>11,}  "
            f"{members[0].name}"
        )
    return "\n".join(lines)


def adamw(placements: list[Placement], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over the groups; the rate of each step is set by `set_lr`."""
    groups = param_groups(placements, weight_decay=recipe.weight_decay)
    # One kernel per group: 0.9 instead of 5.0 ms per step for 80 small tensors on a CPU. With float16 Lightning must
    # unscale gradients itself, which a fused optimiser does not allow.
    devices = {place.parameter.device.type for place in placements}
    fused = recipe.precision != "16-mixed" and devices <= {"cpu", "cuda"}
    return torch.optim.AdamW(groups, lr=schedule_of(recipe).peak, betas=recipe.betas, eps=recipe.eps, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of the next step; groups scale it by their `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def set_weight_decay(optimizer: torch.optim.Optimizer, weight_decay: float) -> None:
    """Set the weight decay of the next step in the groups that decay."""
    for group in optimizer.param_groups:
        if group["weight_decay"] > 0:
            group["weight_decay"] = weight_decay
