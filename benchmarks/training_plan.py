"""A published training as it is going to run: fields set, shrunk, spread over devices, on a suite that is here."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from backbones.meta import meta_device
from benchmarks.published import Outside
from benchmarks.session import RequestError, check_data
from benchmarks.shrunken_training import STEPS, SUITE, TASK, shrunk
from benchmarks.suite import Suite, SuiteError, Task
from benchmarks.suites.table import get_suite
from benchmarks.training_settings import FACTS, SettingError, difference, with_values
from zoo.fetch import find, words
from zoo.recipes.catalogue import get_training
from zoo.recipes.learned import Alignment, Codes, Distillation, Reconstruction
from zoo.recipes.recipe import Recipe
from zoo.recipes.training import RANDOM, Training
from zoo.registry import create_backbone, get_architecture, get_card, released
from zoo.training.features import AcceleratorError
from zoo.training.fit import Hardware
from zoo.training.optim import schedule_of
from zoo.training.probe_recipe import SweepRecipe

SAME = ("recipe.accumulate",)  # fields that change how a run computes and not what


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a person asked for.

    Attributes:
        name: of the recipe.
        kind: what the command runs.
        data: folder of the suite's official files.
        suite: other videos than the recipe's; "" for its own.
        task: of the suite; "" for the recipe's, or the only one.
        values: fields to set, as texts.
        start: file of weights to begin with, in place of the recipe's.
        teacher: file or folder of the teacher or tokenizer, likewise.
        shrink: make everything small.
        steps: of a shrunk run.
        hardware: where to compute; its precision is the recipe's.
        batch_size: videos per device at a time; None for the original's.
        workers: loading processes per device.
        seed: of weights, clips and masks.
        out: folder of the run and of results.
    """

    name: str
    kind: str
    data: Path | None = None
    suite: str = ""
    task: str = ""
    values: tuple[str, ...] = ()
    start: Path | None = None
    teacher: Path | None = None
    shrink: bool = False
    steps: int = STEPS
    hardware: Hardware = field(default_factory=Hardware)
    batch_size: int | None = None
    workers: int = 0
    seed: int = 0
    out: Path = Path("runs/train")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An order with everything that it stands for.

    Attributes:
        order: what was asked for.
        published: the row as it is in the catalogue.
        training: as it runs.
        suite: the videos' constants.
        task: of it.
        batch_size: videos per device and step of the loader.
        warnings: what is not as the row has it.
    """

    order: Order
    published: Training
    training: Training
    suite: Suite
    task: Task
    batch_size: int
    warnings: tuple[str, ...]

    @property
    def run_dir(self) -> Path:
        """Folder of the run alone."""
        small = "-shrunk" if self.order.shrink else ""
        return self.order.out / "work" / f"{self.training.name}-{self.suite.name}{small}-seed{self.order.seed}"

    @property
    def made_by(self) -> str:
        """The row, and how this run is not as it has it: what a file of weights says of its training."""
        order, name = self.order, self.training.name
        if order.shrink:
            return f"{name} (shrunken)"
        fields = difference(self.published, self.training)
        odd = [it for it in fields if it.partition(".")[0] not in FACTS and it not in SAME]
        odd += ["videos"] if (self.suite.name, self.task.name) != _own(self.published, self.suite) else []
        # Weights that nobody released can only be one's own.
        odd += ["start"] if order.start is not None and self.training.start in released() else []
        odd += ["teacher"] if order.teacher is not None else []
        return f"{name} (other {', '.join(odd)})" if odd else name

    @property
    def outside(self) -> Outside:
        """What it looks at besides its clips."""
        return Outside(self.order.start, self.order.teacher, self.order.shrink)


def _own(published: Training, suite: Suite) -> tuple[str, str]:
    """Suite and task of a row."""
    return published.suite, published.task or suite.tasks[0].name


def resolve(order: Order) -> Plan:
    """Check an order and find what it stands for; no video is looked for.

    Raises:
        UnknownNameError: for a recipe, field, suite or task that there is not.
        SettingError: for a field that does not take its value.
        RequestError: for a recipe of another kind, one that cannot be run, and videos that nobody names.
    """
    published = get_training(order.name)
    if published.kind != order.kind:
        raise RequestError(f"{order.name} is run by zoo {published.kind}, not by zoo {order.kind}")
    if published.obstacle:
        raise RequestError(f"{order.name} cannot be run: {published.obstacle}")
    training = published
    if order.shrink:
        training = shrunk(training, steps=order.steps)
    training = with_values(training, order.values) if order.values else training
    suite, task = _videos(order, training)
    training, notes = _without_flips(training, task)
    training, batch_size, warnings = spread(training, order)
    if order.values:
        _require_buildable(training, order.values)
    return Plan(
        order=order,
        published=published,
        training=training,
        suite=suite,
        task=task,
        batch_size=batch_size,
        warnings=(*notes, *warnings),
    )


def _require_buildable(training: Training, values: tuple[str, ...]) -> None:
    """Send one clip of set sizes through the network, without memory for either; the published sizes fit.

    Raises:
        SettingError: for a network that does not take its options or its clips.
    """
    if get_architecture(training.architecture).tokenizer is not None:
        return
    clip = training.clip
    try:
        with meta_device():
            backbone = create_backbone(training.architecture, **training.options)
            backbone.grid(torch.empty(1, 3, clip.num_frames, clip.img_size, clip.img_size))
    except ValueError as error:
        raise SettingError(f"--set {' '.join(values)} does not fit the recipe: {error}") from None


def _videos(order: Order, training: Training) -> tuple[Suite, Task]:
    """Suite and task of an order."""
    embedded = order.shrink and order.data is None and not order.suite
    name = SUITE if embedded else order.suite or training.suite
    if not name:
        raise RequestError(
            f"{training.name} is trained on {training.data}, which is no suite of the zoo; name videos of yours with "
            "--suite NAME --data DIR"
        )
    suite = get_suite(name)
    # A task of the recipe's suite means nothing to another one.
    task = TASK if embedded and not order.task else order.task or (training.task if name == training.suite else "")
    if task:
        return suite, suite.task(task)
    if len(suite.tasks) > 1 and training.kind != "pretrain":
        raise RequestError(
            f"{suite.name} has several tasks; say which with --task: {', '.join(it.name for it in suite.tasks)}"
        )
    return suite, suite.tasks[0]


def _without_flips(training: Training, task: Task) -> tuple[Training, tuple[str, ...]]:
    """The row without flips where the videos at hand forbid them."""
    if task.flip or not (training.augment.flip or training.clip.flip):
        return training, ()
    told = (f"no flips: left and right are part of the labels of {task.name!r}",) if training.augment.flip else ()
    augment, clip = replace(training.augment, flip=0.0), replace(training.clip, flip=False)
    return replace(training, augment=augment, clip=clip), told


def spread(training: Training, order: Order) -> tuple[Training, int, tuple[str, ...]]:
    """The row with its batch divided over devices and accumulated steps, and what that changes.

    Raises:
        RequestError: for a probe on several devices, and for an adversarial objective on several.
    """
    recipe, on = training.recipe, order.hardware
    processes = on.devices * on.num_nodes
    if not isinstance(recipe, Recipe):
        if processes > 1:
            raise RequestError(f"{training.name} trains heads on features, on one device, not on {processes}")
        return training, order.batch_size or 16, ()
    wanted = recipe.global_batch
    alone = isinstance(training.objective, Reconstruction)
    if alone and processes > 1:
        raise RequestError(f"{training.name} has an adversary, which is trained on one device, not on {processes}")
    original = training.original.clips if not alone else 0
    each = order.batch_size or max(1, min(original or wanted, wanted // processes))
    accumulate = 1 if alone else max(1, round(wanted / (each * processes)))
    found = each * processes * accumulate
    if found == wanted:
        return replace(training, recipe=replace(recipe, accumulate=accumulate)), each, ()
    peak = schedule_of(recipe).peak
    changed = with_values(training, [f"recipe.global_batch={found}"])
    if not isinstance(changed.recipe, Recipe):
        raise RequestError(f"{training.name} has no batch")
    told = (
        f"effective batch {found} (= {each} x {processes} devices x {accumulate} accumulated) instead of {wanted}: the "
        f"peak rate becomes {schedule_of(changed.recipe).peak:.4g} instead of {peak:.4g} by the linear rule, and "
        f"{changed.recipe.steps:,} steps are taken instead of {recipe.steps:,}"
    )
    return replace(changed, recipe=replace(changed.recipe, accumulate=accumulate)), each, (told,)


def told(plan: Plan) -> dict[str, str]:
    """What a run takes from outside and where it leaves things, as words by name."""
    training, order = plan.training, plan.order
    recipe, on = training.recipe, order.hardware
    lines = {"kind": f"zoo {training.kind} {training.name}" + (" (shrunk)" if order.shrink else "")}
    if isinstance(recipe, Recipe):
        lines["batch"] = (
            f"{recipe.global_batch} videos a step = {plan.batch_size} per device x {on.devices * on.num_nodes} devices "
            f"x {recipe.accumulate} accumulated"
            + (f"; each video gives {recipe.repeats} clips" if recipe.repeats > 1 else "")
        )
    if isinstance(recipe, Recipe | SweepRecipe):
        epochs = "" if training.epochs is None else f": {training.epochs} epochs of {training.videos:,} videos"
        lines["steps"] = f"{recipe.steps:,}{epochs}"
    if order.values:
        before = shrunk(plan.published, steps=order.steps) if order.shrink else plan.published
        changed = difference(before, with_values(before, order.values))
        lines["set"] = "\n".join(f"{name}: {one} becomes {other}" for name, (one, other) in changed.items())
    lines["weights"] = start_words(plan)
    lines |= _teacher_words(plan)
    where = f"below {order.data}" if order.data else "rendered on this machine" if not plan.suite.url else "--data DIR"
    lines["videos"] = f"{plan.suite.name}, task {plan.task.name}: {where}" + (
        f"; {plan.suite.url}" if plan.suite.url else ""
    )
    lines["run"] = str(plan.run_dir)
    return lines


def start_words(plan: Plan) -> str:
    """The weights that a run begins with."""
    order, start = plan.order, plan.training.start
    if order.start is not None:
        return f"file {order.start}"
    if start == RANDOM:
        published = plan.published.start
        return "random" + (f" in place of {published}" if published != RANDOM else "")
    return card_words(start)


def card_words(name: str) -> str:
    """Where the weights of a card come from, and whether they are here."""
    if name not in released():
        return f"{name}, which was not released: train it with its recipe and name the file with --start"
    card = get_card(name)
    if found := find(card.weights, card.name):
        return f"{name}, here: {found}"
    return f"{name}, downloaded from {words(card.weights.sources[0])}"


def _teacher_words(plan: Plan) -> dict[str, str]:
    chosen, order = plan.training.objective, plan.order
    if not isinstance(chosen, Alignment | Distillation | Codes):
        return {}
    name = chosen.tokenizer if isinstance(chosen, Codes) else chosen.teacher
    title = "tokenizer" if isinstance(chosen, Codes) else "teacher"
    if order.shrink:
        return {title: f"a small one of the kind of {name}, with random weights"}
    if order.teacher is not None:
        return {title: f"{name}, file {order.teacher}"}
    if isinstance(chosen, Codes):
        return {title: f"{name}, never released: train it (zoo pretrain {name}.k600) and name it with --teacher"}
    return {title: card_words(name)}


def check(plan: Plan) -> None:
    """See whether a run can begin, before anything is read.

    Raises:
        RequestError: for a folder that is not there, and weights that have to be trained first.
        SuiteError: for videos that need a folder when none is named.
        AcceleratorError: for hardware that this machine lacks.
    """
    order = plan.order
    order.hardware.check()
    check_data(plan.suite, order.data)
    for option, path in (("--start", order.start), ("--teacher", order.teacher)):
        if path is not None and not path.exists():
            raise RequestError(f"{option} {path}: there is no such file")
    start = plan.training.start
    if order.start is None and start != RANDOM and start not in released():
        raise RequestError(f"{card_words(start)}")


def refusal(plan: Plan) -> str:
    """Why a run could not begin here and now; "" where it could."""
    try:
        check(plan)
    except (RequestError, SuiteError, AcceleratorError) as error:
        return str(error)
    return ""
