"""How much of everything a comparison spends: complete settings by name, nothing inherited from anywhere."""

from dataclasses import dataclass

from benchmarks.protocols import attentive_probe, finetune, knn, linear_probe
from zoo.data.transforms import Augment
from zoo.recipes.recipe import Recipe
from zoo.suggest import unknown
from zoo.training.probe import ProbeRecipe

Settings = finetune.Settings | attentive_probe.Settings | linear_probe.Settings | knn.Settings
PROTOCOLS = {"finetune": finetune, "attentive": attentive_probe, "linear": linear_probe, "knn": knn}


@dataclass(frozen=True, kw_only=True)
class Mae:
    """Options of masked autoencoding at this size.

    Attributes:
        mask_ratio: fraction of tokens dropped.
        mask: how they are chosen, see `zoo.masks`.
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its heads.
    """

    mask_ratio: float
    mask: str
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int


@dataclass(frozen=True, kw_only=True)
class Costs:
    """How costs are measured.

    Attributes:
        frames: clip lengths.
        batch_size: clips per call where time and memory are measured.
        rounds: interleaved timing rounds.
    """

    frames: tuple[int, ...]
    batch_size: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Everything that a comparison spends.

    Attributes:
        name: as the command line knows it.
        small_suite: use the suite's small rendering.
        pretrain: recipe of the pretraining.
        mae: its objective.
        pretrain_augment: what varies between pretraining clips.
        evaluate: settings of each protocol.
        augment: what varies between training clips of a fine-tuning.
        control: recipe of the bag of frames, with equally many steps as a fine-tuning.
        costs: how costs are measured.
    """

    name: str
    small_suite: bool = False
    pretrain: Recipe
    mae: Mae
    pretrain_augment: Augment
    evaluate: dict[str, Settings]
    augment: Augment
    control: Recipe
    costs: Costs


def _mae_recipe(steps: int, *, batch: int, base_lr: float) -> Recipe:
    """VideoMAE's optimiser (arXiv 2203.12602, table 7: betas 0.9 and 0.95, weight decay 0.05) at a rate for small nets.

    The rate of the quick budget was chosen by trial on `digits`; see CHANGELOG.
    """
    return Recipe(
        steps=steps,
        global_batch=batch,
        base_lr=base_lr,
        warmup_steps=max(1, steps // 10),
        betas=(0.9, 0.95),
        weight_decay=0.05,
    )


def _classify_recipe(steps: int, *, batch: int, base_lr: float) -> Recipe:
    """The same recipe for every system and start; the quick rate was chosen by trial on `digits`, see CHANGELOG."""
    return Recipe(
        steps=steps,
        global_batch=batch,
        base_lr=base_lr,
        warmup_steps=max(1, steps // 10),
        weight_decay=0.05,
        gradient_clip=1.0,
    )


def _budget(
    name: str,
    *,
    pretrain_steps: int,
    pretrain_lr: float,
    steps: int,
    lr: float,
    batch: int,
    probe_steps: int,
    costs: Costs,
    small_suite: bool = False,
) -> Budget:
    """A budget; learning rates refer to batches of 256."""
    probes: dict[str, Settings] = {
        "attentive": attentive_probe.Settings(
            recipe=ProbeRecipe(
                steps=probe_steps,
                batch_size=64,
                lrs=(3e-4, 1e-3, 3e-3),
                weight_decay=1e-2,
                warmup_steps=probe_steps // 15,
            )
        ),
        "linear": linear_probe.Settings(
            recipe=ProbeRecipe(steps=probe_steps, batch_size=256, lrs=(1e-3, 1e-2, 1e-1), weight_decay=1e-4)
        ),
        "knn": knn.Settings(),
    }
    recipe = _classify_recipe(steps, batch=batch, base_lr=lr)
    return Budget(
        name=name,
        small_suite=small_suite,
        pretrain=_mae_recipe(pretrain_steps, batch=batch, base_lr=pretrain_lr),
        mae=Mae(mask_ratio=0.75, mask="tube", decoder_dim=32, decoder_depth=1, decoder_heads=2),
        pretrain_augment=Augment(crop="resized", area=(0.6, 1.0)),
        evaluate={"finetune": finetune.Settings(recipe=recipe), **probes},
        augment=Augment(crop="resized", area=(0.7, 1.0)),
        control=recipe,
        costs=costs,
    )


BUDGETS = {
    "smoke": _budget(
        "smoke",
        pretrain_steps=6,
        pretrain_lr=8e-3,
        steps=6,
        lr=8e-3,
        batch=16,
        probe_steps=15,
        costs=Costs(frames=(16,), batch_size=2, rounds=2),
        small_suite=True,
    ),
    "quick": _budget(
        "quick",
        pretrain_steps=240,
        pretrain_lr=12e-3,
        steps=150,
        lr=20e-3,
        batch=32,
        probe_steps=300,
        costs=Costs(frames=(8, 16, 32, 64, 128), batch_size=4, rounds=5),
    ),
    "full": _budget(
        "full",
        pretrain_steps=4000,
        pretrain_lr=8e-3,
        steps=1500,
        lr=8e-3,
        batch=64,
        probe_steps=1000,
        costs=Costs(frames=(8, 16, 32, 64, 128, 256), batch_size=4, rounds=15),
    ),
}


def budget(name: str) -> Budget:
    """The budget of a name.

    Raises:
        UnknownNameError: naming the closest.
    """
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    return BUDGETS[name]
