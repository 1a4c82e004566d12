"""What both Lightning modules share: optimiser, learning rate of each step, random numbers, the stop at NaN."""

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from backbones.contract import Backbone
from zoo.batch import Batch
from zoo.objectives.contract import Loss
from zoo.recipes.recipe import Recipe
from zoo.seeds import seed_of
from zoo.training.optim import (
    Placement,
    adamw,
    describe_groups,
    place_parameters,
    schedule_of,
    set_lr,
    set_weight_decay,
    weight_decay_of,
)


class NonFiniteError(ArithmeticError):
    """Training met NaN or infinity and stopped before the optimiser step, so the weights are still good.

    Attributes:
        step: the step that was not taken, from 1.
        terms: names of the values that are not finite.
        rows: rows of the clips in the batch.
    """

    def __init__(self, step: int, terms: list[str], rows: list[int], hint: str = "") -> None:
        super().__init__(step, terms, rows, hint)
        self.step, self.terms, self.rows, self.hint = step, terms, rows, hint

    def __str__(self) -> str:
        return (
            f"step {self.step} was not taken: {', '.join(self.terms)} not finite; clips in rows {self.rows}{self.hint}"
        )


def seed_global(seed: int, device: torch.device) -> None:
    """Seed the global generators of the CPU and of one device.

    torch.manual_seed would queue a call per step, with a formatted stack, for accelerators that are not in use.
    """
    torch.default_generator.manual_seed(seed)
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).manual_seed(seed)


class TrainingModule(lightning.LightningModule, ABC):
    """Trains what a subclass defines by `backbone`, `loss` and perhaps `after_step`.

    Random numbers of a step depend on (seed, step, rank) only: torch's global generators (dropout, drop path, mixup)
    and the subclass's own are seeded before every batch. Nothing needs to be restored when a run is resumed, and
    neither the number of data workers nor evaluation in between changes a run.

    Args:
        recipe: every number of the run.
        seed: of all random draws of the run.
    """

    def __init__(self, recipe: Recipe, *, seed: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.seed = seed
        self.schedule, self.decay_schedule = schedule_of(recipe), weight_decay_of(recipe)
        self.pending: list[dict[str, Tensor]] = []
        self.last_logs: dict[str, Tensor] = {}
        self.rows: list[int] = []

    @property
    @abstractmethod
    def backbone(self) -> Backbone:
        """The part whose layers get layer-wise rates."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Loss of one training batch."""

    def reseed(self, seed: int) -> None:
        """Seed generators of the subclass before a batch; torch's global ones are seeded already."""
        return

    def after_step(self, step: int) -> None:
        """Called after optimiser step `step`, from 1."""
        return

    def group_table(self) -> str:
        """Table of parameter groups, for the log of a run."""
        return describe_groups(self.placements(), self.recipe)

    def placements(self) -> list[Placement]:
        """Layer, rate and decay of every trainable parameter."""
        return place_parameters(
            self, self.backbone, layer_decay=self.recipe.layer_decay, layer_rule=self.recipe.layer_rule
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the recipe's groups."""
        return adamw(self.placements(), self.recipe)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch.

        Raises:
            NonFiniteError: when the loss is NaN or infinite.
        """
        self.begin(batch, batch_idx)
        loss = self.loss(batch)
        self.require_finite({"loss": loss.total.detach(), **loss.logs}, batch)
        self.pending.append({"loss": loss.total.detach(), **loss.logs})
        return loss.total

    def begin(self, batch: Batch, batch_idx: int) -> None:
        """Note the clips, and seed everything random in what is done with them."""
        self.rows = batch.row.tolist()
        seed = seed_of(self.seed, self.global_step, batch_idx % self.recipe.accumulate, self.global_rank)
        seed_global(seed, self.device)
        self.reseed(seed)

    def require_finite(self, values: dict[str, Tensor], batch: Batch) -> None:
        """Stop when the loss is not finite.

        Raises:
            NonFiniteError: names the step, every value that is not finite, and the clips.
        """
        if torch.isfinite(values["loss"]):
            return
        terms = [name for name, value in values.items() if not torch.isfinite(value).all()]
        broken = batch.row[~torch.isfinite(batch.video).flatten(1).all(1)].tolist()
        hint = f"; pixels are not finite in rows {broken}" if broken else ""
        raise NonFiniteError(self.global_step + 1, terms, self.rows, hint)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measure the gradient once, stop when it is not finite, clip it as the recipe says.

        Raises:
            NonFiniteError: when the norm of the gradient is NaN or infinite.
        """
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        # With float16 the scaler skips such steps by itself and lowers its scale.
        if self.recipe.precision != "16-mixed" and not torch.isfinite(norm):
            raise NonFiniteError(self.global_step + 1, ["gradient norm"], self.rows)
        self.pending[-1]["grad_norm"] = norm
        if self.recipe.gradient_clip is None or self.global_step < self.recipe.clip_after:
            return
        if not self.recipe.clip_parts:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.recipe.gradient_clip, norm)
            return
        inside = {id(parameter) for parameter in self.backbone.parameters()}
        for part in (True, False):
            chosen = [parameter for parameter in parameters if (id(parameter) in inside) == part]
            torch.nn.utils.clip_grad_norm_(chosen, self.recipe.gradient_clip)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """One optimiser step at the schedule's rate, then `after_step`."""
        plain = self.set_rates(optimizer)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.after_step(self.global_step + 1)
        self.keep_logs(plain)

    def set_rates(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """Set learning rate and weight decay of the next step; gives what there is to log of them."""
        plain = {"lr": self.schedule(self.global_step)}
        set_lr(optimizer, plain["lr"])
        if self.decay_schedule is not None:
            plain["weight_decay"] = self.decay_schedule(self.global_step)
            set_weight_decay(optimizer, plain["weight_decay"])
        return plain

    def keep_logs(self, plain: dict[str, float]) -> None:
        """Make the means over the batches of a step what is logged of it."""
        means = {name: self.mean_of(name) for name in self.pending[-1]}
        self.last_logs = {**means, **{name: torch.tensor(it, dtype=torch.float64) for name, it in plain.items()}}
        self.pending.clear()

    def mean_of(self, name: str) -> Tensor:
        """Mean of a logged value over the batches of an optimiser step."""
        values = [logs[name] for logs in self.pending if name in logs]
        return torch.stack(values).mean() if len(values) > 1 else values[0]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note what the run is, in plain values."""
        checkpoint["run"] = self.identity()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to go on with another run's checkpoint.

        Raises:
            ValueError: naming what differs.
        """
        theirs, ours = checkpoint["run"], self.identity()
        wrong = {key: theirs.get(key) for key in ours if theirs.get(key) != ours[key]}
        if wrong:
            wanted = {key: ours[key] for key in wrong}
            raise ValueError(f"the checkpoint belongs to another run: it has {wrong}, this run has {wanted}")

    def identity(self) -> dict[str, Any]:
        """Recipe and seed as plain values."""
        plain = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self.recipe).items()}
        return {"seed": self.seed, **plain}
