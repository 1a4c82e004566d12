"""What a worker does for each kind of run: teach, train a tokenizer, pretrain, evaluate, control."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file

from backbones.contract import Backbone
from backbones.tokenizer import Tokenizer
from benchmarks import metrics
from benchmarks.budgets import PROTOCOLS, Budget
from benchmarks.efficiency import count_parameters
from benchmarks.execute import Report, Run, Runner
from benchmarks.gallery import Gallery, in_unit_range
from benchmarks.lessons import Lessons
from benchmarks.objectives import EVERYTHING, Setting, Teacher, build
from benchmarks.protocols import finetune, knn
from benchmarks.protocols.common import begun, keep_weights
from benchmarks.protocols.control import BAG_OF_FRAMES, FrameBag, first_frame_probe, first_frames
from benchmarks.protocols.outcome import Outcome, each_row_once
from benchmarks.protocols.reconstruction import reconstruct
from benchmarks.provenance import Provenance
from benchmarks.results import RANDOM, Interval, Result, Store
from benchmarks.suite import Suite, Task, Videos
from benchmarks.systems import NO_OBJECTIVE, System
from benchmarks.tokenizer_training import FILE, train_tokenizer
from heads.linear import LinearHead
from zoo.card import ClipSpec
from zoo.checkpoints import load_checkpoint
from zoo.data.cache import FrameCache
from zoo.data.datamodule import FailurePolicy, VideoDataModule
from zoo.data.records import Record
from zoo.data.transforms import Augment
from zoo.model import VideoModel
from zoo.objectives.matrix import TITLES
from zoo.registry import create_model, get_architecture
from zoo.tokenizers import load_tokenizer
from zoo.training.fit import Hardware, fit
from zoo.training.log import OnStep, Row
from zoo.training.parts import pretrainer
from zoo.training.pretrain import fingerprint

CHECKPOINT_EVERY = 500  # steps; shorter runs start again when they were killed
EVAL_BATCH = 64
LAST_STEPS = 10
LOSSES = ("loss", "blank_loss")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What workers know besides the run.

    Attributes:
        folder: of the comparison: results/, weights/ and work/ lie in it.
        suite: the videos' constants.
        videos: the videos.
        cache: decoded videos.
        budget: what is spent.
        provenance: circumstances to record.
    """

    folder: Path
    suite: Suite
    videos: Videos
    cache: FrameCache | None
    budget: Budget
    provenance: Provenance

    @property
    def results(self) -> Path:
        """Folder of the result files."""
        return self.folder / "results"

    @property
    def weights(self) -> Path:
        """Folder of trained weights."""
        return self.folder / "weights"


def make_runner(context: Context) -> Runner:
    """What a worker calls for each run; one thread, so that results do not depend on the number of workers."""
    torch.set_num_threads(1)
    return Worker(context)


class Worker:
    """Carries out runs and stores their results.

    Args:
        context: see `Context`.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.store = Store(context.results)
        self.gallery = Gallery(context.suite, context.videos, context.cache)
        context.weights.mkdir(parents=True, exist_ok=True)

    def __call__(self, run: Run, results: Mapping[str, Result], report: Report) -> Result:
        """Carry out one run and store its result."""
        kinds = {
            "teacher": self.teach,
            "tokenizer": self.tokenize,
            "pretrain": self.pretrain,
            "evaluate": self.evaluate,
            "control": self.control,
        }
        made = kinds[run.identity.kind](run, results, report)
        path = self.store.add(made.result, made.arrays)
        shutil.rmtree(self.work_dir(run), ignore_errors=True)
        return Result.from_json(path.read_text(encoding="utf-8"))

    def teach(self, run: Run, _: Mapping[str, Result], report: Report) -> "Made":
        """Train the teacher of an objective with labels."""
        suite, objective = self.context.suite, run.settings["objective"]
        teacher = self.teacher_of(objective)
        lessons = Lessons(suite, self.context.videos)
        train, test = lessons.of(suite.train_split, teacher.lessons), lessons.of(suite.test_split, teacher.lessons)
        data = self.data(run, train, test, augment=self.context.budget.augment)
        told = finetune.run(
            lambda: create_model(
                run.identity.system, num_classes=teacher.num_classes(suite), **run.settings["architecture"]
            ),
            data,
            finetune.Settings(recipe=teacher.recipe, checkpoint_every=CHECKPOINT_EVERY),
            seed=run.identity.seed,
            run_dir=self.work_dir(run),
            on_step=reporter(report, teacher.recipe.steps),
            accelerator="cpu",
        )
        details = {
            "role": TITLES[objective],
            "words": teacher.words(suite),
            "classes": teacher.num_classes(suite),
        }
        return self.scored(run, told, data, details, weights=self.kept(run))

    def tokenize(self, run: Run, _: Mapping[str, Result], report: Report) -> "Made":
        """Train a tokenizer on the training clips of all tasks, and measure it on test clips."""
        context, spec, objective = self.context, self.clip(run), run.settings["objective"]
        chosen = context.budget.pretrain[objective].tokenizer
        if chosen is None:
            raise ValueError(f"{objective} has no tokenizer")
        lesson = chosen.fitted(tuple(run.settings["tubelet"]), spec)
        tokenizer, told = train_tokenizer(
            Lessons(context.suite, context.videos).unlabelled(),
            self.work_dir(run),
            lesson,
            seed=run.identity.seed,
            clip=spec,
            cache=context.cache,
            on_step=reporter(report, lesson.recipe.steps),
            checkpoint_every=CHECKPOINT_EVERY,
        )
        seen, failed = self.gallery.some(spec)
        found = reconstruct(tokenizer, [in_unit_range(seen, spec)], name=lesson.name, against=())
        weights = context.weights / f"{run.identity.stem}.safetensors"
        os.replace(self.work_dir(run) / FILE, weights)
        result = replace(
            self.begun(run),
            metrics={name: Interval(it, it, it) for name, it in found.numbers().items()},
            n_expected=len(seen) + len(failed),
            n_evaluated=len(seen),
            failed=failed,
            curves=told.curves,
            details={
                "role": TITLES[objective],
                "parameters": count_parameters(tokenizer),
                "hash": fingerprint(tokenizer),
                "codebook_size": tokenizer.codebook_size,
                "notes": list(found.notes),
                "clips_seen": lesson.recipe.steps * lesson.recipe.global_batch,
            },
            weights=weights.relative_to(context.folder).as_posix(),
            seconds=told.seconds,
        )
        return Made(result, {})

    def pretrain(self, run: Run, results: Mapping[str, Result], report: Report) -> "Made":
        """Pretrain a system on the training clips of all tasks."""
        context, seed = self.context, run.identity.seed
        chosen, spec, one = context.budget.pretrain[run.identity.init], self.clip(run), self.system(run)
        sources = {results[key].identity.kind: results[key] for key in run.needs}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            setting = Setting(
                student=one(spec.num_frames),
                clip=spec,
                pretraining=chosen,
                num_classes=sum(task.num_classes for task in context.suite.tasks),
                teacher=self.teacher(run, sources["teacher"]) if "teacher" in sources else None,
                tokenizer=self.tokenizer(sources["tokenizer"]) if "tokenizer" in sources else None,
            )
            objective = build(setting)
        suite, videos = context.suite, context.videos
        lessons = Lessons(suite, videos)
        labelled = lessons.of(suite.train_split, EVERYTHING) if chosen.needs_labels else None
        clips = lessons.unlabelled() if labelled is None else labelled
        data = self.data(run, clips, (), augment=context.budget.pretrain_augment)
        module = pretrainer(objective, chosen.recipe, seed=seed)
        told = fit(
            module,
            data,
            run_dir=self.work_dir(run),
            checkpoint_every=CHECKPOINT_EVERY,
            progress=reporter(report, chosen.recipe.steps),
            hardware=Hardware(accelerator="cpu"),
        )
        weights = context.weights / f"{run.identity.stem}.safetensors"
        save_weights(objective.student, weights)
        shown = self.gallery.picture(objective, spec)
        trained = sum(parameter.numel() for parameter in objective.parameters() if parameter.requires_grad)
        details = {
            "parameters": count_parameters(objective.student),
            "parameters_trained": trained,
            "clips_seen": chosen.recipe.steps * chosen.recipe.global_batch,
            "clips_listed": len(data.train_records),
            "picture_note": shown.note,
            **({"outside": module.outside} if module.outside else {}),
        }
        loss, blank = (float(np.mean([row[name] for row in told.curves[-LAST_STEPS:]])) for name in LOSSES)
        result = replace(
            self.begun(run),
            metrics={"explained": Interval(1 - loss / blank, 1 - loss / blank, 1 - loss / blank)},
            curves=told.curves,
            details=details,
            weights=weights.relative_to(context.folder).as_posix(),
            seconds=told.seconds,
        )
        return Made(result, {"picture": shown.arrays})

    def teacher_of(self, objective: str) -> Teacher:
        """Settings of the teacher of an objective."""
        teacher = self.context.budget.pretrain[objective].teacher
        if teacher is None:
            raise ValueError(f"{objective} has no teacher")
        return teacher

    def teacher(self, run: Run, result: Result) -> VideoModel:
        """The trained teacher of a pretraining."""
        teacher = self.teacher_of(run.identity.init)
        model = teacher.model(run.identity.system, self.clip(run), self.context.suite)
        load_checkpoint(model, self.context.folder / result.weights)
        return model

    def tokenizer(self, result: Result) -> Tokenizer:
        """The trained tokenizer of a pretraining."""
        return load_tokenizer(self.context.folder / result.weights)

    def evaluate(self, run: Run, results: Mapping[str, Result], report: Report) -> "Made":
        """Train and test a system on one task, from pretrained or from random weights."""
        context, identity = self.context, run.identity
        task, one = context.suite.task(identity.task), self.system(run)
        start = next((self.context.folder / results[key].weights for key in run.needs), None)

        def model() -> VideoModel:
            made = one.model(task)
            if start is not None:
                # Clips of a pretraining may be longer than those of the evaluation.
                load_checkpoint(made, start, resize_positions=True)
            return made

        settings = context.budget.evaluate[identity.protocol]
        steps = settings.recipe.steps if not isinstance(settings, knn.Settings) else 1
        data = self.task_data(run, task, augment=context.budget.augment)
        told = PROTOCOLS[identity.protocol].run(
            model,
            data,
            settings,
            seed=identity.seed,
            run_dir=self.work_dir(run),
            on_step=reporter(report, steps),
            accelerator="cpu",
        )
        details = {"parameters": count_parameters(one.backbone())}
        weights = self.kept(run)
        made = self.scored(run, told, data, details, weights=weights)
        trained = model()
        if weights and identity.protocol == "finetune":
            load_checkpoint(trained, context.folder / weights)
        return made._replace(
            arrays={**made.arrays, "features": self.gallery.features(trained.backbone, task, self.clip(run))}
        )

    def control(self, run: Run, _: Mapping[str, Result], report: Report) -> "Made":
        """Train and test what knows nothing of order."""
        task = self.context.suite.task(run.identity.task)
        if run.identity.system == BAG_OF_FRAMES:
            return self.bag_of_frames(run, task, report)
        data = self.task_data(run, task, augment=None)
        start = time.perf_counter()
        train = first_frames(data.train_records, data.spec, data.reader)
        test = first_frames(data.test_records, data.spec, data.reader)
        probe = first_frame_probe(
            train.pixels, train.labels, test.pixels, num_classes=task.num_classes, seed=run.identity.seed
        )
        told = Outcome(
            probabilities=probe.probabilities,
            labels=test.labels,
            rows=test.rows,
            expected=len(data.test_windows),
            unread=test.unread,
            curves=[],
            seconds=time.perf_counter() - start,
            details={"penalty": probe.penalty},
        )
        return self.scored(run, told, data, {"parameters": (train.pixels.shape[1] + 1) * task.num_classes})

    def bag_of_frames(self, run: Run, task: Task, report: Report) -> "Made":
        """Fine-tune the bag of frames as systems are fine-tuned."""
        recipe, spec = self.context.budget.control, self.clip(run)

        def model() -> VideoModel:
            bag = FrameBag(img_size=spec.img_size)
            return VideoModel(bag, LinearHead(bag.embed_dim, task.num_classes, pool=bag.pool))

        data = self.task_data(run, task, augment=self.context.budget.augment)
        told = finetune.run(
            model,
            data,
            finetune.Settings(recipe=recipe, checkpoint_every=CHECKPOINT_EVERY),
            seed=run.identity.seed,
            run_dir=self.work_dir(run),
            on_step=reporter(report, recipe.steps),
            accelerator="cpu",
        )
        return self.scored(run, told, data, {"parameters": count_parameters(FrameBag(img_size=spec.img_size))})

    def scored(
        self, run: Run, told: Outcome, data: VideoDataModule, details: dict[str, Any], *, weights: str = ""
    ) -> "Made":
        """A result with predictions beside it."""
        probabilities, labels = told.probabilities.numpy(), told.labels.numpy()
        # A teacher is tested on videos of several tasks, each of which stands for itself.
        task = self.context.suite.task(run.identity.task) if run.identity.task else None
        rows = told.rows.numpy()
        result = replace(
            self.begun(run),
            metrics=metrics.of_classes(
                probabilities,
                labels,
                headline=task.metric if task else "top1",
                scenes=rows // (task.videos_per_scene if task else 1),
            ),
            n_expected=told.expected,
            n_evaluated=len(rows),
            failed=[f"{failure.path}: {failure.reason}" for failure in each_row_once(told.unread)],
            curves=told.curves,
            details={**details, **told.details},
            weights=weights,
            seconds=told.seconds,
        )
        predictions: dict[str, np.ndarray] = {
            "rows": rows.astype(np.int32),
            "labels": labels.astype(np.int16),
            "probabilities": probabilities.astype(np.float32),
        }
        return Made(result, {"predictions": predictions})

    def begun(self, run: Run) -> Result:
        """A result with the circumstances of this run and nothing measured yet."""
        return begun(run.identity, run.settings, self.context.provenance, decoder="pyav")

    def clip(self, run: Run) -> ClipSpec:
        """The clips of a run."""
        return ClipSpec.from_dict(run.settings["clip"])

    def system(self, run: Run) -> System:
        """The system of a run."""
        name, init = run.identity.system, run.identity.init
        return System(name=name, clip=get_architecture(name).clip, objective=NO_OBJECTIVE if init == RANDOM else init)

    def work_dir(self, run: Run) -> Path:
        """Folder for what an unfinished run leaves, from which it goes on."""
        return self.context.folder / "work" / run.identity.stem

    def kept(self, run: Run) -> str:
        """The trained model, moved beside the results; "" where the protocol leaves none."""
        return keep_weights(self.work_dir(run), self.context.folder, run.identity.stem)

    def task_data(self, run: Run, task: Task, *, augment: Augment | None) -> VideoDataModule:
        """Training and test list of a task."""
        videos, suite = self.context.videos, self.context.suite
        train, test = videos.records(task.name, suite.train_split), videos.records(task.name, suite.test_split)
        return self.data(run, train, test, augment=augment)

    def data(
        self, run: Run, train: Sequence[Record], test: Sequence[Record], *, augment: Augment | None
    ) -> VideoDataModule:
        """Clips of a run. Unreadable test videos are listed, not replaced, and cost the run its headline number."""
        recipe = run.settings["protocol"].get("recipe", {})
        return VideoDataModule(
            spec=self.clip(run),
            train=train,
            test=test,
            augment=augment,
            batch_size=int(recipe.get("global_batch", EVAL_BATCH)),
            seed=run.identity.seed,
            cache=self.context.cache,
            failures=FailurePolicy(in_evaluation="report"),
        )


class Made(NamedTuple):
    """A result and the arrays to store beside it."""

    result: Result
    arrays: dict[str, dict[str, np.ndarray]]


def reporter(report: Report, steps: int) -> OnStep:
    """Turns logged steps into progress."""

    def on_step(step: int, row: Row) -> None:
        report(step, steps, f"loss {row['loss']:.3f}" if "loss" in row else "")

    return on_step


def save_weights(student: Backbone, path: Path) -> None:
    """Write a backbone's weights in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({name: tensor.contiguous().clone() for name, tensor in student.state_dict().items()}, beside)
    os.replace(beside, path)
