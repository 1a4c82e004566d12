"""What a comparison runs: which runs there are, what each needs, and what makes each the run it is."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from backbones.meta import meta_device
from benchmarks.budgets import Budget
from benchmarks.execute import Run
from benchmarks.lessons import Lessons
from benchmarks.objectives import EVERYTHING, STILLS, Teacher
from benchmarks.protocols.control import BAG_OF_FRAMES, FIRST_FRAME
from benchmarks.results import RANDOM, Identity, Kind, digest
from benchmarks.suite import Suite, Task, Videos
from benchmarks.systems import System
from benchmarks.tokenizer_training import Lesson
from zoo.card import ClipSpec
from zoo.objectives.matrix import TITLES

# Efforts in steps of fine-tuning, for the order of runs and the time left; nothing else depends on them.
PRETRAIN_STEP = {"mae": 0.6, "lvmae": 2.5, "umt": 0.7, "vjepa": 1.3, "self_distillation": 1.3}
TEACHER_STEP = {STILLS: 0.3, EVERYTHING: 0.7}
TOKENIZER_STEP = 0.7
TEACHER_SEED = 0  # students of every seed have one teacher
BAG_STEP = 0.3
PROBE_WORK = 20.0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that a plan is made from.

    Attributes:
        systems: what takes part.
        suite: the videos' constants.
        videos: the videos.
        protocol: name of the evaluation protocol.
        budget: what is spent.
        seeds: training seeds.
    """

    systems: Sequence[System]
    suite: Suite
    videos: Videos
    protocol: str
    budget: Budget
    seeds: Sequence[int]


def plan(comparison: Comparison) -> list[Run]:
    """Every run, those first that others wait for and that take longest.

    Each system is pretrained once per seed; each task is evaluated from these weights and, once per architecture, from
    random ones. Teachers are trained once, tokenizers once per seed, for all systems that take the same one. The
    controls run on every task, for the first seed alone.
    """
    coded = {
        (one, seed): run
        for one in comparison.systems
        for seed in comparison.seeds
        if (run := _tokenize(comparison, one, seed)) is not None
    }
    taught = {one: run for one in comparison.systems if (run := _teach(comparison, one)) is not None}
    pretraining = {
        (one, seed): _pretrain(comparison, one, seed, coded.get((one, seed)) or taught.get(one))
        for one in comparison.systems
        if one.pretrained
        for seed in comparison.seeds
    }
    evaluations = [
        _evaluate(comparison, one, task, seed, start)
        for seed in comparison.seeds
        for one in comparison.systems
        for start in _starts(comparison, one, pretraining.get((one, seed)))
        for task in comparison.suite.tasks
    ]
    controls = [
        make(comparison, task, comparison.seeds[0])
        for task in comparison.suite.tasks
        for make in (_bag_of_frames, _first_frame)
    ]
    teachers = {run.key: run for run in (*coded.values(), *taught.values())}
    return [*teachers.values(), *pretraining.values(), *evaluations, *controls]


def _leads(comparison: Comparison, one: System) -> bool:
    """Whether a system is the first of its architecture, which speaks for the others where objectives play no part."""
    return one == next(other for other in comparison.systems if other.name == one.name)


def _starts(comparison: Comparison, one: System, pretraining: Run | None) -> list[Run | None]:
    """What a system is evaluated from: its pretraining, and random weights once per architecture."""
    starts: list[Run | None] = [pretraining] if pretraining else []
    return [*starts, None] if _leads(comparison, one) else starts


def cost_runs(comparison: Comparison) -> list[Run]:
    """One result per system, measured together: timings of systems that did not take turns do not compare."""
    protocol = {
        **asdict(comparison.budget.costs),
        "img_size": comparison.systems[0].clip.img_size,
        "systems_in_turns": sorted({one.name for one in comparison.systems}),
    }
    return [
        _run(
            comparison,
            _identity("cost", one.name, protocol="costs"),
            {"protocol": protocol, "architecture": one.overrides},
            label=f"costs of {one.name}",
        )
        for one in comparison.systems
        if _leads(comparison, one)
    ]


def plain(value: Any) -> Any:
    """A value as it comes back from JSON, so that its hash is the same before and after."""
    return json.loads(json.dumps(value))


def split_hash(comparison: Comparison, task: Task) -> str:
    """Hash of what a task trains and tests on."""
    suite, videos = comparison.suite, comparison.videos
    return digest({split: videos.split_hash(task.name, split) for split in (suite.train_split, suite.test_split)})


def _left_out(comparison: Comparison) -> dict[str, Any]:
    """What the training of a run that serves all tasks leaves out, because it is tested on."""
    suite, videos = comparison.suite, comparison.videos
    if not (left_out := Lessons(suite, videos).left_out):
        return {}
    tested = digest({task.name: videos.split_hash(task.name, suite.test_split) for task in suite.tasks})
    return {"left_out": {"videos": len(left_out), "tested": tested}}


def _teach(comparison: Comparison, one: System) -> Run | None:
    """The training of a system's teacher, if its objective has one."""
    chosen = comparison.budget.pretrain[one.objective].teacher if one.pretrained else None
    if chosen is None:
        return None
    settings = {
        "protocol": {**asdict(chosen), "augment": comparison.budget.augment.to_dict()},
        "clip": teacher_clip(comparison.suite, one, chosen).to_dict(),
        "architecture": chosen.overrides(one.clip),
        "objective": one.objective,
        **_left_out(comparison),
    }
    lists = digest({task.name: split_hash(comparison, task) for task in comparison.suite.tasks})
    name = chosen.name(one.name)
    identity = _identity("teacher", name, protocol=chosen.lessons, split_hash=lists, seed=TEACHER_SEED)
    work = TEACHER_STEP[chosen.lessons] * chosen.recipe.steps
    return _run(comparison, identity, settings, work=work, label=f"{name}, teacher for {TITLES[one.objective]}")


def teacher_clip(suite: Suite, one: System, teacher: Teacher) -> ClipSpec:
    """The clips that a teacher is trained on: the student's, or single frames of them."""
    clip = suite.tasks[0].clip_spec(one.clip)
    return replace(clip, num_frames=1, stride=1) if teacher.lessons == STILLS else clip


def _tokenize(comparison: Comparison, one: System, seed: int) -> Run | None:
    """The training of the tokenizer whose codes a system predicts, if its objective has one."""
    chosen = comparison.budget.pretrain[one.objective].tokenizer if one.pretrained else None
    if chosen is None:
        return None
    clip = tokenizer_clip(comparison.suite, one, chosen)
    with meta_device():
        tubelet = one.backbone().tubelet
    fitted = chosen.fitted(tubelet, clip)
    settings = {
        "protocol": asdict(fitted),
        "clip": clip.to_dict(),
        "tubelet": tubelet,
        "objective": one.objective,
        **_left_out(comparison),
    }
    lists = digest({task.name: split_hash(comparison, task) for task in comparison.suite.tasks})
    identity = _identity("tokenizer", chosen.name, protocol="reconstruction", split_hash=lists, seed=seed)
    work = TOKENIZER_STEP * chosen.recipe.steps
    return _run(
        comparison, identity, settings, work=work, label=f"{chosen.name}, tokenizer for {TITLES[one.objective]}"
    )


def tokenizer_clip(suite: Suite, one: System, lesson: Lesson) -> ClipSpec:
    """The clips that a tokenizer is trained on: as long and large as the evaluated ones, in its normalisation."""
    own = replace(
        lesson.clip, num_frames=one.clip.num_frames, img_size=one.clip.img_size, short_side=one.clip.short_side
    )
    return suite.tasks[0].clip_spec(own)


def _pretrain(comparison: Comparison, one: System, seed: int, source: Run | None) -> Run:
    """The pretraining of a system, which learns from a teacher, from a tokenizer or from clips alone."""
    budget, suite = comparison.budget, comparison.suite
    chosen = budget.pretrain[one.objective]
    clip = chosen.clip(suite.tasks[0].clip_spec(one.clip))
    lists = digest({task.name: comparison.videos.split_hash(task.name, suite.train_split) for task in suite.tasks})
    told: dict[str, Any] = {source.identity.kind: source.key} if source else {}
    settings = {
        "protocol": {
            "recipe": asdict(chosen.recipe),
            one.objective: asdict(chosen.options),
            "augment": budget.pretrain_augment.to_dict(),
        },
        "clip": clip.to_dict(),
        "architecture": {**one.overrides, "num_frames": clip.num_frames},
        **told,
        **_left_out(comparison),
    }
    identity = _identity("pretrain", one.name, protocol=one.objective, init=one.objective, split_hash=lists, seed=seed)
    return _run(
        comparison,
        identity,
        settings,
        work=PRETRAIN_STEP[one.objective] * chosen.recipe.steps,
        label=f"{one.name}, {TITLES[one.objective]} pretraining",
        needs=(source.key,) if source else (),
    )


def _evaluate(comparison: Comparison, one: System, task: Task, seed: int, start: Run | None) -> Run:
    budget, trained = comparison.budget, comparison.protocol == "finetune"
    chosen = asdict(budget.evaluate[comparison.protocol])
    settings = {
        "protocol": {**chosen, **({"augment": budget.augment.to_dict()} if trained else {})},
        "clip": task.clip_spec(one.clip).to_dict(),
        "architecture": one.overrides,
        "start": start.key if start else RANDOM,
    }
    init = one.objective if start else RANDOM
    hashed = split_hash(comparison, task)
    identity = _identity(
        "evaluate", one.name, protocol=comparison.protocol, init=init, task=task.name, split_hash=hashed, seed=seed
    )
    label = f"{one.name} on {task.name}, from {TITLES.get(init, init)}"
    work = float(chosen["recipe"]["steps"]) if trained else PROBE_WORK
    return _run(comparison, identity, settings, work=work, label=label, needs=(start.key,) if start else ())


def _bag_of_frames(comparison: Comparison, task: Task, seed: int) -> Run:
    budget = comparison.budget
    settings = {
        "protocol": {"recipe": asdict(budget.control), "augment": budget.augment.to_dict()},
        "clip": task.clip_spec(comparison.systems[0].clip).to_dict(),
    }
    hashed = split_hash(comparison, task)
    identity = _identity("control", BAG_OF_FRAMES, protocol="finetune", task=task.name, split_hash=hashed, seed=seed)
    label = f"control: {BAG_OF_FRAMES} on {task.name}"
    return _run(comparison, identity, settings, work=BAG_STEP * budget.control.steps, label=label)


def _first_frame(comparison: Comparison, task: Task, seed: int) -> Run:
    settings = {
        "protocol": {"input": "pixels of the first frame"},
        "clip": task.clip_spec(comparison.systems[0].clip).to_dict(),
    }
    hashed = split_hash(comparison, task)
    identity = _identity("control", FIRST_FRAME, protocol="linear", task=task.name, split_hash=hashed, seed=seed)
    return _run(comparison, identity, settings, work=PROBE_WORK, label=f"control: {FIRST_FRAME} on {task.name}")


def _identity(
    kind: Kind, system: str, *, protocol: str, init: str = RANDOM, task: str = "", split_hash: str = "", seed: int = 0
) -> Identity:
    """An identity that lacks only the suite and the settings."""
    return Identity(
        kind=kind,
        system=system,
        init=init,
        suite="",
        task=task,
        split_hash=split_hash,
        protocol=protocol,
        settings_hash="",
        seed=seed,
    )


def _run(
    comparison: Comparison,
    identity: Identity,
    settings: dict[str, Any],
    *,
    label: str,
    work: float = 1.0,
    needs: tuple[str, ...] = (),
) -> Run:
    settings = plain(settings)
    identity = replace(identity, suite=comparison.suite.name, settings_hash=digest(settings))
    seeds = f", seed {identity.seed}" if len(comparison.seeds) > 1 else ""
    return Run(identity=identity, settings=settings, needs=needs, work=work, label=label + seeds)
