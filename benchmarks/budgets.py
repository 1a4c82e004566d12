"""How much of everything a comparison spends: complete settings by name, nothing inherited from anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.objectives import (
    EVERYTHING,
    STILLS,
    Lvmae,
    Mae,
    Options,
    Pretraining,
    SelfDistillation,
    Teacher,
    Umt,
    Vjepa,
)
from benchmarks.protocols import attentive_probe, finetune, knn, linear_probe
from benchmarks.tokenizer_training import PICO, Lesson
from zoo.data.transforms import Augment
from zoo.objectives.matrix import OBJECTIVES
from zoo.recipes.recipe import Recipe
from zoo.recipes.vjepa_probe import SWEEP_LRS, SWEEP_WEIGHT_DECAYS
from zoo.suggest import unknown
from zoo.training.probe import ProbeRecipe, SweepRecipe

Settings = finetune.Settings | attentive_probe.Settings | linear_probe.Settings | knn.Settings
PROTOCOLS = {
    "finetune": finetune,
    "attentive": attentive_probe,
    "attentive4": attentive_probe,
    "linear": linear_probe,
    "knn": knn,
}


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
        pretrain: objective -> its recipe and options.
        pretrain_augment: what varies between pretraining clips.
        evaluate: settings of each protocol.
        augment: what varies between training clips of a fine-tuning.
        control: recipe of the bag of frames, with equally many steps as a fine-tuning.
        costs: how costs are measured.
    """

    name: str
    small_suite: bool = False
    pretrain: dict[str, Pretraining]
    pretrain_augment: Augment
    evaluate: dict[str, Settings]
    augment: Augment
    control: Recipe
    costs: Costs


STILL_TEACHER = "vit_still_pico"
CODES = "codes"  # among the efforts of teachers: that of the tokenizer
SMALLER_DIM = 32  # width of the teacher of self-distillation; the small members have 64


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Steps and base learning rate of a training."""

    steps: int
    lr: float


def _pretrain_recipe(effort: Effort, batch: int) -> Recipe:
    """VideoMAE's optimiser (arXiv 2203.12602, table 7: betas 0.9 and 0.95, weight decay 0.05) at a rate for small nets.

    The rates of the quick budget were chosen by trial on `digits`; see CHANGELOG.
    """
    return Recipe(
        steps=effort.steps,
        global_batch=batch,
        base_lr=effort.lr,
        warmup_steps=max(1, effort.steps // 10),
        betas=(0.9, 0.95),
        weight_decay=0.05,
    )


def _classify_recipe(effort: Effort, batch: int) -> Recipe:
    """The same recipe for every system and start; the quick rate was chosen by trial on `digits`, see CHANGELOG."""
    return Recipe(
        steps=effort.steps,
        global_batch=batch,
        base_lr=effort.lr,
        warmup_steps=max(1, effort.steps // 10),
        weight_decay=0.05,
        gradient_clip=1.0,
    )


def _tokenizer_recipe(effort: Effort) -> Recipe:
    """That of the embedded clips, at another length."""
    return replace(PICO, steps=effort.steps, base_lr=effort.lr, warmup_steps=max(1, effort.steps // 20))


def _objectives(efforts: Mapping[str, Effort], teachers: Mapping[str, Effort], batch: int) -> dict[str, Pretraining]:
    """Every objective at the size of the small members."""
    stills = Teacher(
        architecture=STILL_TEACHER, shrink={}, lessons=STILLS, recipe=_classify_recipe(teachers[STILLS], 2 * batch)
    )
    smaller = Teacher(
        architecture="",
        shrink={"embed_dim": SMALLER_DIM},
        lessons=EVERYTHING,
        recipe=_classify_recipe(teachers[EVERYTHING], batch),
    )
    codes = Lesson(recipe=_tokenizer_recipe(teachers[CODES]))
    options: dict[str, Options] = {
        "mae": Mae(mask_ratio=0.75, mask="tube", decoder_dim=32, decoder_depth=1, decoder_heads=2),
        # Mask ratio and decoder are those of the row of MAE, so that the two differ in what is decoded, what of it is
        # predicted, and the length of the clips. LVMAE's ratio of 0.9 would leave one of nine places of these clips.
        "lvmae": Lvmae(
            tokenizer=codes,
            longer=2,
            mask_ratio=0.75,
            target="fsq_code",
            strategy="learned",
            share=0.15,
            decoder_dim=32,
            decoder_depth=1,
            decoder_heads=2,
            # On a grid of 3 x 3, VideoMAE's numbers of tokens hide the place from a decoder of this width: after 400
            # steps it saved 3 % of the best constant's loss with them and 18 % with these.
            decoder_positions="vjepa",
        ),
        "umt": Umt(teacher=stills, mask_ratio=0.75, mask="attention", num_layers=2),
        "vjepa": Vjepa(truncation="tube", predictor_dim=32, predictor_depth=2, predictor_heads=2, momentum=0.99),
        "self_distillation": SelfDistillation(teacher=smaller),
    }
    return {
        name: Pretraining(recipe=_pretrain_recipe(efforts[name], batch), options=chosen)
        for name, chosen in options.items()
    }


def _budget(
    name: str,
    *,
    pretrain: Mapping[str, Effort],
    teachers: Mapping[str, Effort],
    finetune_effort: Effort,
    batch: int,
    probe_steps: int,
    costs: Costs,
    small_suite: bool = False,
    sweep: tuple[tuple[float, ...], tuple[float, ...]] = ((1e-3, 3e-4), (0.01, 0.4)),
) -> Budget:
    """A budget; learning rates refer to batches of 256, those of probes are taken as they are.

    `sweep` holds the learning rates and weight decays that the probe of four blocks chooses from.
    """
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
        # V-JEPA 2's head (arXiv 2506.09985, appendix C); all 20 heads of its grid cost too much without a GPU.
        "attentive4": attentive_probe.Settings(
            recipe=SweepRecipe(
                steps=probe_steps,
                batch_size=batch,
                lrs=sweep[0],
                weight_decay=sweep[1][0],
                weight_decays=sweep[1],
                decay_all=True,
                warmup_steps=probe_steps // 15,
            ),
            num_heads=16,
            depth=4,
        ),
        "linear": linear_probe.Settings(
            recipe=ProbeRecipe(steps=probe_steps, batch_size=256, lrs=(1e-3, 1e-2, 1e-1), weight_decay=1e-4)
        ),
        "knn": knn.Settings(),
    }
    recipe = _classify_recipe(finetune_effort, batch)
    return Budget(
        name=name,
        small_suite=small_suite,
        pretrain=_objectives(pretrain, teachers, batch),
        pretrain_augment=Augment(crop="resized", area=(0.6, 1.0)),
        evaluate={"finetune": finetune.Settings(recipe=recipe), **probes},
        augment=Augment(crop="resized", area=(0.7, 1.0)),
        control=recipe,
        costs=costs,
    )


def _same(steps: int, lr: float) -> dict[str, Effort]:
    """One effort for every objective."""
    return {name: Effort(steps=steps, lr=lr) for name in OBJECTIVES}


BUDGETS = {
    "smoke": _budget(
        "smoke",
        pretrain=_same(6, 8e-3),
        teachers={
            STILLS: Effort(steps=6, lr=8e-3),
            EVERYTHING: Effort(steps=6, lr=8e-3),
            CODES: Effort(steps=6, lr=0.256),
        },
        finetune_effort=Effort(steps=6, lr=8e-3),
        batch=16,
        probe_steps=15,
        costs=Costs(frames=(16,), batch_size=2, rounds=2),
        small_suite=True,
    ),
    "quick": _budget(
        "quick",
        pretrain={
            **_same(240, 20e-3),
            "mae": Effort(steps=240, lr=12e-3),
            "lvmae": Effort(steps=240, lr=12e-3),
            "vjepa": Effort(steps=240, lr=8e-3),
        },
        teachers={
            STILLS: Effort(steps=300, lr=8e-3),
            EVERYTHING: Effort(steps=400, lr=20e-3),
            CODES: Effort(steps=400, lr=0.256),
        },
        finetune_effort=Effort(steps=120, lr=20e-3),
        batch=32,
        probe_steps=300,
        costs=Costs(frames=(8, 16, 32, 64, 128), batch_size=4, rounds=5),
    ),
    "full": _budget(
        "full",
        pretrain=_same(4000, 8e-3),
        teachers={
            STILLS: Effort(steps=3000, lr=8e-3),
            EVERYTHING: Effort(steps=1500, lr=8e-3),
            CODES: Effort(steps=4000, lr=0.256),
        },
        finetune_effort=Effort(steps=1500, lr=8e-3),
        batch=64,
        probe_steps=1000,
        costs=Costs(frames=(8, 16, 32, 64, 128, 256), batch_size=4, rounds=15),
        sweep=(SWEEP_LRS, SWEEP_WEIGHT_DECAYS),
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
