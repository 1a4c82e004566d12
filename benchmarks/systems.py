"""What takes part in a comparison: an architecture at the size of the suite's clips, under an objective."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from backbones.contract import Backbone
from backbones.meta import meta_device
from benchmarks.suite import Task
from zoo.card import ClipSpec
from zoo.foreign import split_objective
from zoo.model import VideoModel
from zoo.objectives.matrix import OBJECTIVES, obstacle
from zoo.registry import architectures, create_backbone, create_model, get_architecture
from zoo.suggest import unknown

NO_OBJECTIVE = "none"


class SizeError(ValueError):
    """An architecture that is not made for the suite's clips."""


class ObjectiveError(ValueError):
    """An objective under which a backbone cannot be trained."""


@dataclass(frozen=True, kw_only=True)
class System:
    """An architecture by name.

    Called with a number of frames it builds the backbone for clips of that length, for the measurement of costs.

    Attributes:
        name: of the architecture.
        clip: its clip protocol.
        objective: of its pretraining; "none" for one that starts from random weights alone.
    """

    name: str
    clip: ClipSpec
    objective: str = NO_OBJECTIVE

    @property
    def pretrained(self) -> bool:
        """Whether it is pretrained at all."""
        return self.objective != NO_OBJECTIVE

    @property
    def label(self) -> str:
        """As `zoo compare` takes it."""
        return f"{self.name}:{self.objective}"

    @property
    def overrides(self) -> dict[str, int]:
        """Options of the builder that the clips decide."""
        return {"img_size": self.clip.img_size, "num_frames": self.clip.num_frames}

    def model(self, task: Task) -> VideoModel:
        """A classifier with random weights that knows the names of the task's classes."""
        size = self.clip
        model = create_model(
            self.name, num_classes=task.num_classes, img_size=size.img_size, num_frames=size.num_frames
        )
        if model.spec is not None:
            model.spec = replace(model.spec, label_names=task.classes)
        return model

    def backbone(self) -> Backbone:
        """The backbone in its pretraining form."""
        return self(self.clip.num_frames)

    def __call__(self, frames: int) -> Backbone:
        """The backbone for clips of another length."""
        return create_backbone(self.name, img_size=self.clip.img_size, num_frames=frames)


def system(words: str, *, side_px: int | None, suite: str) -> System:
    """The system of a name, checked against the suite's clips.

    Args:
        words: an architecture, or architecture:objective. Without an objective it is the family's own; "none" leaves
            pretraining out.
        side_px: shorter side of the suite's videos; None where any size fits.
        suite: its name, for messages.

    Raises:
        UnknownNameError: for an unknown name or objective, with the closest ones.
        SizeError: for an architecture made for larger pictures, with those that fit.
        ObjectiveError: for an objective that the architecture cannot be trained under, and for words of another form.
    """
    name, objective = split_objective(words)
    if not name or name.endswith(":") or ":" in objective:
        raise ObjectiveError(f"{words!r} is no NAME or NAME:OBJECTIVE, such as vit_pico or vit_pico:mae")
    architecture = get_architecture(name)
    objective = objective or architecture.objective
    if objective not in (*OBJECTIVES, NO_OBJECTIVE):
        raise unknown("objective", objective, [*OBJECTIVES, NO_OBJECTIVE])
    clip = architecture.clip
    if side_px is not None and clip.img_size > side_px:
        fitting = [entry.name for entry in architectures().values() if entry.clip.img_size <= side_px]
        raise SizeError(
            f"{name} is made for clips of {clip.img_size} x {clip.img_size} px, and the videos of {suite} have "
            f"{side_px} x {side_px} px: enlarging them would cost {(clip.img_size / side_px) ** 2:.0f} times the "
            f"computation and show nothing. These fit: {', '.join(fitting)}"
        )
    made = System(name=architecture.name, clip=clip, objective=objective)
    with meta_device():
        backbone = made.backbone()
    if made.pretrained and (reason := obstacle(backbone, objective)):
        possible = [entry for entry in OBJECTIVES if not obstacle(backbone, entry)]
        if architecture.tokenizer is not None and objective == "lvmae":
            reason += "; NAME:lvmae names the backbone that learns, and its tokenizer is trained on the way"
        raise ObjectiveError(f"{made.label}: {reason}; choose from {', '.join([*possible, NO_OBJECTIVE])}")
    return made


def systems(names: Sequence[str], *, side_px: int | None, suite: str) -> list[System]:
    """The systems of several names, each once, in order."""
    return list(dict.fromkeys(system(name, side_px=side_px, suite=suite) for name in names))
