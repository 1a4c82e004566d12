"""A published training row, whole: network, start, objective, data, augmentation, optimisation, and what came out.

No field has a default: what a paper or script says, and what we had to choose in its place, stands in the row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from zoo.card import Classifier, ClipSpec, Reported
from zoo.data.transforms import Augment
from zoo.recipes.learned import Learned
from zoo.recipes.recipe import Recipe, steps_of
from zoo.training.probe_recipe import SweepRecipe

KINDS = ("pretrain", "finetune", "probe")
HEADS = ("fresh", "rows")
RANDOM = "random"


class Views(NamedTuple):
    """Test views, and where it says so."""

    clips: int
    crops: int
    source: str


class Original(NamedTuple):
    """What the authors trained on.

    Attributes:
        devices: how many; 0 where our sources do not say.
        clips: videos or images on each at a time, before they are repeated; 0 where our sources do not say.
        name: kind of device; "" likewise.
    """

    devices: int
    clips: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Descent:
    """Gradient descent with momentum whose rate falls in steps, which `zoo.training` does not do.

    Attributes:
        lr: of the first epoch, for the whole batch.
        drops: epochs after which it falls to a tenth.
        global_batch: clips per step; 0 where our sources do not say.
    """

    lr: float
    drops: tuple[int, ...]
    global_batch: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """A row of a paper, a script or a model zoo.

    Attributes:
        name: `architecture.tag`; that of the card whose weights it made, where there is one.
        family: of the paper, such as "videomamba".
        kind: "pretrain" (with an objective), "finetune" (a classifier end to end) or "probe" (a head on frozen
            features).
        architecture: name of the network.
        options: of its builder: clip size, drop path.
        classifier: form of the head; None for pretraining.
        head_scale: what the weights of a fresh classifier are multiplied by at the start.
        head_start: "fresh", or "rows" of the classifier of `start` that stand for the classes.
        start: name of the weights to begin with, a card or another row; "random" for none.
        objective: what is learned; None for class labels.
        suite: name of the videos in the zoo; "" where it has none.
        task: of the suite; "" for the only one.
        data: the training list in words.
        videos: its length, in which epochs are counted.
        clip: frames, size and normalisation, and the test views.
        views: test views as each source has them.
        augment: what varies between training clips.
        recipe: every number of the optimisation.
        epochs: passes over the list; None where the authors count steps.
        warmup_epochs: of linear warm-up; likewise.
        original: hardware of the authors.
        cost: what it cost them, in words.
        expected: printed results, with sources.
        source: paper, repository and file.
        produces: card of the released weights; "" where none were released.
        unknown: fields, by their dotted names, that none of our sources states; what stands there is our choice.
        lacks: what the authors did and the zoo does not do.
        notes: conflicts of the sources and quirks.
        obstacle: why the zoo cannot run it; "" when it can.
    """

    name: str
    family: str
    kind: str
    architecture: str
    options: Mapping[str, Any]
    classifier: Classifier | None
    head_scale: float
    head_start: str
    start: str
    objective: Learned | None
    suite: str
    task: str
    data: str
    videos: int
    clip: ClipSpec
    views: tuple[Views, ...]
    augment: Augment
    recipe: Recipe | SweepRecipe | Descent
    epochs: int | None
    warmup_epochs: int | None
    original: Original
    cost: str
    expected: tuple[Reported, ...]
    source: str
    produces: str
    unknown: tuple[str, ...]
    lacks: tuple[str, ...]
    notes: tuple[str, ...]
    obstacle: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: unknown kind {self.kind!r}; choose from {KINDS}")
        if self.head_start not in HEADS:
            raise ValueError(f"{self.name}: unknown head_start {self.head_start!r}; choose from {HEADS}")
        if (self.objective is None) == (self.kind == "pretrain") and not self.obstacle:
            raise ValueError(f"{self.name}: a pretraining has an objective, and nothing else has one")
        if self.videos < 1:
            raise ValueError(f"{self.name}: a list of {self.videos} videos")
        if self.augment.flip and not self.clip.flip:
            raise ValueError(f"{self.name}: flips of {self.augment.flip} in clips that must not be flipped")
        counted = self.counted().recipe
        if isinstance(self.recipe, Recipe | SweepRecipe) and isinstance(counted, Recipe | SweepRecipe):
            found, wanted = (self.recipe.steps, self.recipe.warmup_steps), (counted.steps, counted.warmup_steps)
            if found != wanted:
                raise ValueError(
                    f"{self.name}: {self.epochs} epochs of {self.videos:,} videos, {self.warmup_epochs} of warm-up, "
                    f"are {wanted[0]} and {wanted[1]} steps, not {found[0]} and {found[1]}"
                )

    @property
    def optimisation(self) -> Recipe:
        """The recipe of a row that trains a network with AdamW.

        Raises:
            ValueError: for any other row.
        """
        if not isinstance(self.recipe, Recipe):
            raise ValueError(f"{self.name} is not trained by AdamW but by {type(self.recipe).__name__}")
        return self.recipe

    @property
    def global_batch(self) -> int:
        """Videos per step, before they are repeated; 0 where nobody says."""
        recipe = self.recipe
        return recipe.batch_size if isinstance(recipe, SweepRecipe) else recipe.global_batch

    def counted(self) -> "Training":
        """The row with the steps of its recipe that its epochs are; as it is where steps are counted."""
        recipe, batch = self.recipe, self.global_batch
        if self.epochs is None or isinstance(recipe, Descent):
            return self
        steps = steps_of(self.epochs, videos=self.videos, global_batch=batch)
        warmup = steps_of(self.warmup_epochs or 0, videos=self.videos, global_batch=batch)
        if (recipe.steps, recipe.warmup_steps) == (steps, warmup):
            return self
        return replace(self, recipe=replace(recipe, steps=steps, warmup_steps=warmup))
