"""The objectives of a comparison: their settings at the size of a suite, and how each is built for a system."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from backbones.contract import Backbone
from backbones.frames import FrameTeacher
from backbones.layers import Flavor
from backbones.positions import Positions
from backbones.tokenizer import Tokenizer
from benchmarks.suite import Suite
from benchmarks.tokenizer_training import Lesson
from zoo.card import ClipSpec
from zoo.decoder_masks import Budget, DecoderMasking
from zoo.ema import LinearMomentum
from zoo.model import VideoModel
from zoo.objectives.contract import Objective
from zoo.objectives.lvmae import lvmae_for
from zoo.objectives.mae import PixelTarget, mae_for
from zoo.objectives.matrix import mask_for
from zoo.objectives.self_distillation import self_distillation_for
from zoo.objectives.umt import umt_for
from zoo.objectives.vjepa import PredictorForm, vjepa_for
from zoo.recipes.recipe import Recipe
from zoo.registry import create_model

STILLS, EVERYTHING = "stills", "everything"


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A network that is trained with labels first, and teaches others then.

    Attributes:
        architecture: its name; "" for the student's own.
        shrink: overrides of the builder that make it smaller than the student.
        lessons: what it is trained on: "stills" are single frames of the suite's first task with its labels,
            "everything" the training clips of all tasks with the labels of all.
        recipe: every number of its training.
    """

    architecture: str
    shrink: dict[str, Any]
    lessons: str
    recipe: Recipe

    def name(self, student: str) -> str:
        """Architecture of the teacher of a student."""
        return self.architecture or student

    def num_classes(self, suite: Suite) -> int:
        """Classes that it is trained on."""
        return suite.tasks[0].num_classes if self.lessons == STILLS else sum(task.num_classes for task in suite.tasks)

    def overrides(self, student: ClipSpec) -> dict[str, Any]:
        """Options of its builder: the student's clips, or single frames of their size."""
        frames = 1 if self.lessons == STILLS else student.num_frames
        return {"img_size": student.img_size, "num_frames": frames, **self.shrink}

    def model(self, student: str, clip: ClipSpec, suite: Suite) -> VideoModel:
        """The teacher with random weights."""
        return create_model(self.name(student), num_classes=self.num_classes(suite), **self.overrides(clip))

    def words(self, suite: Suite) -> str:
        """Who it is and what labels its students have seen, in a sentence or two."""
        if self.lessons == STILLS:
            return (
                f"`{self.architecture}` looks at single frames. It was trained on frames of the training clips of "
                f"{suite.tasks[0].name} with their labels, which its students have seen through it."
            )
        return (
            "A smaller network of the student's kind, trained on the training clips of all tasks with their labels. "
            "The student learns from the same labels: its rows had more supervised steps than their twins."
        )


@dataclass(frozen=True, kw_only=True)
class Mae:
    """Options of masked autoencoding.

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
class Lvmae:
    """Options of masked autoencoding of long clips with a small decoder.

    Attributes:
        tokenizer: makes the targets and learns which tokens matter; trained first, once per seed.
        longer: frames of a clip over those of the clips that the student is evaluated on. Videos with fewer frames than
            a clip repeat some.
        mask_ratio: fraction of tokens that the encoder does not see, in tubes.
        target: see `zoo.objectives.lvmae.LVMAE`.
        strategy: how the decoded tokens are chosen, see `zoo.decoder_masks`.
        share: of all tokens that is decoded.
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: its heads.
        decoder_positions: see `backbones.positions.register_positions`.
    """

    tokenizer: Lesson
    longer: int
    mask_ratio: float
    target: str
    strategy: str
    share: float
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    decoder_positions: Positions


@dataclass(frozen=True, kw_only=True)
class Umt:
    """Options of the alignment with an unmasked teacher.

    Attributes:
        teacher: who teaches.
        mask_ratio: fraction of tokens dropped.
        mask: how they are chosen, for students that take it; see `zoo.objectives.matrix.mask_for`.
        num_layers: last blocks that are aligned, as many as the shallower of the two has at most.
    """

    teacher: Teacher
    mask_ratio: float
    mask: str
    num_layers: int


@dataclass(frozen=True, kw_only=True)
class Vjepa:
    """Options of the prediction of features.

    The student is evaluated. The authors evaluate the target, which a few hundred steps hardly move from its start.

    Attributes:
        truncation: how masks of one batch get equal lengths, see `zoo.multiblock.Multiblock`. "tube" suits every
            student, so that all solve one task; the published "first" shows and asks for early frames mostly.
        predictor_dim: width of the predictor.
        predictor_depth: its blocks.
        predictor_heads: its heads.
        momentum: of the target encoder at the first step; it rises linearly to 1.
    """

    truncation: str
    predictor_dim: int
    predictor_depth: int
    predictor_heads: int
    momentum: float


@dataclass(frozen=True, kw_only=True)
class SelfDistillation:
    """Options of self-distillation.

    Attributes:
        teacher: the smaller one.
    """

    teacher: Teacher


Options = Mae | Lvmae | Umt | Vjepa | SelfDistillation


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """One objective in a budget.

    Attributes:
        recipe: every number of the training.
        options: the objective's own.
    """

    recipe: Recipe
    options: Options

    @property
    def teacher(self) -> Teacher | None:
        """Who teaches, if anybody does."""
        return self.options.teacher if isinstance(self.options, Umt | SelfDistillation) else None

    @property
    def tokenizer(self) -> Lesson | None:
        """How the tokenizer is trained whose codes are predicted, if any are."""
        return self.options.tokenizer if isinstance(self.options, Lvmae) else None

    def clip(self, evaluated: ClipSpec) -> ClipSpec:
        """The clips of the pretraining of a student that is evaluated on other ones."""
        longer = self.options.longer if isinstance(self.options, Lvmae) else 1
        return replace(evaluated, num_frames=longer * evaluated.num_frames)

    @property
    def needs_labels(self) -> bool:
        """Whether the objective itself learns from labels."""
        return isinstance(self.options, SelfDistillation)


class Setting(NamedTuple):
    """What an objective is built from.

    Attributes:
        student: the backbone.
        clip: its clips.
        pretraining: recipe and options.
        num_classes: of all tasks together, for objectives that learn from labels.
        teacher: the trained teacher; None for objectives without.
        tokenizer: the trained tokenizer; None for objectives without.
    """

    student: Backbone
    clip: ClipSpec
    pretraining: Pretraining
    num_classes: int
    teacher: VideoModel | None = None
    tokenizer: Tokenizer | None = None


def build(setting: Setting) -> Objective:
    """The objective of a setting."""
    makers: dict[type, Callable[[Setting, Any], Objective]] = {
        Mae: _mae,
        Lvmae: _lvmae,
        Umt: _umt,
        Vjepa: _vjepa,
        SelfDistillation: _self_distillation,
    }
    options = setting.pretraining.options
    return makers[type(options)](setting, options)


def taught(setting: Setting) -> VideoModel:
    """The trained teacher of a setting.

    Raises:
        ValueError: when there is none.
    """
    if setting.teacher is None:
        raise ValueError(f"{type(setting.pretraining.options).__name__} needs a trained teacher")
    return setting.teacher


def _umt(setting: Setting, options: Umt) -> Objective:
    teacher = FrameTeacher(taught(setting).backbone, num_layers=options.num_layers)
    return umt_for(
        setting.student,
        teacher,
        setting.clip.img_size,
        setting.clip.num_frames,
        mask=mask_for(setting.student, options.mask),
        mask_ratio=options.mask_ratio,
    )


def _vjepa(setting: Setting, options: Vjepa) -> Objective:
    steps = setting.pretraining.recipe.steps
    return vjepa_for(
        setting.student,
        setting.clip.img_size,
        setting.clip.num_frames,
        steps=steps,
        truncation=options.truncation,
        predictor=PredictorForm(
            width=options.predictor_dim,
            depth=options.predictor_depth,
            num_heads=options.predictor_heads,
            flavor=Flavor(positions="vjepa", qkv_bias="qkv"),
        ),
        # The published start of 0.998 suits 90,000 steps: in a few hundred the target would hardly move.
        momentum=LinearMomentum(start=options.momentum, final=1.0, steps=int(1.25 * steps)),
    )


def _self_distillation(setting: Setting, _: SelfDistillation) -> Objective:
    return self_distillation_for(setting.student, taught(setting).backbone, num_classes=setting.num_classes)


def _mae(setting: Setting, options: Mae) -> Objective:
    clip = setting.clip
    return mae_for(
        setting.student,
        clip.img_size,
        clip.num_frames,
        mask_ratio=options.mask_ratio,
        mask=mask_for(setting.student, options.mask),
        decoder_dim=options.decoder_dim,
        decoder_depth=options.decoder_depth,
        decoder_heads=options.decoder_heads,
        target=PixelTarget(mean=clip.mean, std=clip.std),
    )


def _lvmae(setting: Setting, options: Lvmae) -> Objective:
    if setting.tokenizer is None:
        raise ValueError("Lvmae needs a trained tokenizer")
    clip = setting.clip
    return lvmae_for(
        setting.student,
        setting.tokenizer,
        clip.img_size,
        clip.num_frames,
        target=options.target,
        mask_ratio=options.mask_ratio,
        masking=DecoderMasking(strategy=options.strategy, budget=Budget(total=options.share)),
        pixels=PixelTarget(mean=clip.mean, std=clip.std),
        decoder={
            "width": options.decoder_dim,
            "depth": options.decoder_depth,
            "num_heads": options.decoder_heads,
            "flavor": Flavor(positions=options.decoder_positions),
        },
    )
