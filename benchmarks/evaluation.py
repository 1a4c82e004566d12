"""What one evaluation is: a request for it, checked and resolved to records, clips, classes and a merge rule."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.budgets import BUDGETS, PROTOCOLS
from benchmarks.class_map import ClassMap, class_map
from benchmarks.session import RequestError, check_data
from benchmarks.suite import Suite, Task, Videos
from benchmarks.suites.table import get_suite
from benchmarks.views import get_views
from zoo.card import Card, Classifier, ClipSpec
from zoo.checkpoints import read_saved
from zoo.data.labels import LabelOrder, find_order
from zoo.data.records import Record
from zoo.folders import require_writable
from zoo.foreign import describe, is_foreign
from zoo.registry import PUSHED, get_architecture, get_card, has_tag, pushed
from zoo.suggest import unknown
from zoo.training.fit import Hardware
from zoo.training.predictions import ATTENDED, MEAN, SOFTMAX, as_rule
from zoo.weight_cache import digests

AS_IS, LOW_SHOT = "as_is", "low_shot"
EVALUATIONS = (AS_IS, *PROTOCOLS, LOW_SHOT)
RECONSTRUCTION = "reconstruction"  # of tokenizers, see `benchmarks.tokenizer_eval`
# Protocols whose head looks at all tokens, and those that give classes alone.
ATTENTIVE, FOR_CLASSES = ("attentive", "attentive4", LOW_SHOT), ("knn", LOW_SHOT)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for.

    Attributes:
        name: architecture, or released weights.
        suite: name of the suite.
        data: folder of its official files; None for the suite's own.
        task: name of the task; "" for the only one, or the one whose classes a checkpoint has.
        split: name of the list; "" for the suite's test list.
        checkpoint: file of weights; None for released or random ones.
        pretrained: released weights.
        protocol: one of `EVALUATIONS`.
        views: name of test views; "" for the suite's, and where it has none the network's own.
        clips: temporal clips per video, in their place.
        crops: spatial crops per clip, likewise.
        merge: name of the merge rule; "" for that of the views.
        tolerate: number or share ("2%") of videos that may fail.
        batch_size: views per device and step.
        workers: loading processes per device.
        hardware: where to compute.
        seed: of weights that start fresh and of training.
        budget: how much a protocol that trains spends.
        share: share of the training videos of `low_shot`, such as "5%"; "" for the usual one.
        lrs: learning rates of a probe to choose from, between commas; "" for the budget's.
        weight_decays: likewise.
        features: folder of the features of frozen networks; None for one in `out`.
        limit: score the first videos of the list only; the result is no headline.
        out: folder of the results.
        decoder: backend that reads videos.
    """

    name: str
    suite: str
    data: Path | None = None
    task: str = ""
    split: str = ""
    checkpoint: Path | None = None
    pretrained: bool = False
    protocol: str = AS_IS
    views: str = ""
    clips: int | None = None
    crops: int | None = None
    merge: str = ""
    tolerate: str = "0"
    batch_size: int = 16
    workers: int = 0
    hardware: Hardware = field(default_factory=Hardware)
    seed: int = 0
    budget: str = "quick"
    share: str = ""
    lrs: str = ""
    weight_decays: str = ""
    features: Path | None = None
    limit: int | None = None
    out: Path = Path("runs/eval")
    decoder: str = "pyav"


class Network(NamedTuple):
    """What is known of a network before it is built.

    Attributes:
        clip: its clips.
        form: form of its head.
        num_rows: rows of its classifier; 0 for none.
        names: names of its classes; empty where unknown.
        order_name: name of their order; empty where it has none.
        weights: which weights, in words.
        sha256: of the file; "" for random weights and for files not on this machine yet.
        recipe: published training that made the file, and how it was changed; "" where it does not say.
    """

    clip: ClipSpec
    form: Classifier
    num_rows: int
    names: tuple[str, ...]
    order_name: str
    weights: str
    sha256: str = ""
    recipe: str = ""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A request with everything that it stands for.

    Attributes:
        request: what was asked for.
        suite: the suite's constants.
        task: the task.
        split: name of the list.
        videos: the suite's videos.
        records: the list; its beginning where there is a limit.
        listed: number of videos of the whole list.
        clip: clips and views.
        rule: merge rule.
        network: what is known of the network.
        classes: names of the data set's classes; empty for a regression.
        found: how they belong to the network's; None where a head is trained, and for a regression.
        question: which of a head's questions is asked.
    """

    request: Request
    suite: Suite
    task: Task
    split: str
    videos: Videos
    records: list[Record]
    listed: int
    clip: ClipSpec
    rule: str
    network: Network
    classes: tuple[str, ...]
    found: ClassMap | None
    question: str = ""

    @property
    def num_outputs(self) -> int:
        """Classes of the data set; 1 for a regression."""
        return 1 if self.is_regression else len(self.classes) or self.task.num_classes

    @property
    def is_regression(self) -> bool:
        """Whether values are asked for."""
        return self.task.metric == "mse"

    @property
    def rows(self) -> int:
        """Number of videos to score."""
        return len({record.row for record in self.records})

    @property
    def tolerated(self) -> int:
        """Number of videos that may fail."""
        return allowed_failures(self.request.tolerate, self.rows)


def allowed_failures(text: str, listed: int) -> int:
    """Number of videos that "3" or "2%" allow to fail, rounded down.

    Raises:
        RequestError: for anything else.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text.strip())
    number = float(match.group(1)) if match else -1.0
    if match is None or (match.group(2) and number > 100) or (not match.group(2) and not number.is_integer()):
        raise RequestError(f"--tolerate {text!r} is neither a number of videos, such as 3, nor a share, such as 2%")
    return int(number * listed / 100) if match.group(2) else int(number)


def known(request: Request) -> Network:
    """What can be told of a network without building it.

    Raises:
        UnknownNameError: for an unknown name.
        RequestError: for weights given in two ways.
        ForeignError: for a network of another library that cannot be had.
        CheckpointError: for a file that is none.
    """
    if request.pretrained and request.checkpoint is not None:
        raise RequestError("give either --pretrained or --checkpoint, not both")
    if request.pretrained and is_foreign(request.name):
        found = describe(request.name)
        names, ours = found.label_names, found.architecture
        return Network(ours.clip, ours.classifier, len(names), names, "", f"those of {request.name}")
    architecture = get_architecture(request.name)
    card = get_card(request.name) if request.pretrained or has_tag(request.name) else None
    if request.checkpoint is not None:
        return _of_file(request.checkpoint, architecture.name, card, architecture.classifier, architecture.clip)
    if card is not None and request.pretrained:
        order = find_order(card.labels)
        form = card.classifier or architecture.classifier
        names = order.names if order else ()
        rows = card.weights.num_classes
        return Network(card.clip, form, rows, names, card.labels, f"released: {card.name}", card.weights.sha256 or "")
    clip = card.clip if card else architecture.clip
    return Network(clip, architecture.classifier, 0, (), "", "random")


def _of_file(path: Path, architecture: str, card: Card | None, form: Classifier, clip: ClipSpec) -> Network:
    if not path.is_file():
        raise RequestError(f"--checkpoint {path}: there is no such file")
    saved, words, sha256 = read_saved(path, architecture), f"file {path}", digests(path).sha256
    if saved is not None:
        rows, names = saved.num_classes, saved.label_names
        return Network(saved.clip, saved.classifier, rows, names, "", words, sha256, saved.recipe)
    order = find_order(card.labels) if card else None
    names = order.names if order else ()
    rows = card.weights.num_classes if card else 0
    return Network(
        card.clip if card else clip, card.classifier or form if card else form, rows, names,
        card.labels if card else "", words, sha256,
    )  # fmt: skip


def resolve(request: Request, *, progress: bool = False, writes: bool = False) -> Evaluation:
    """Check a request and find everything that it stands for.

    Args:
        request: what was asked for.
        progress: show what takes long (suites that are rendered).
        writes: also see whether results can be written.

    Raises:
        UnknownNameError: for a suite, task, split, protocol, view or merge rule that does not exist.
        RequestError: for anything else that cannot be done.
        SuiteError: for a suite whose files are not there.
        FolderError: for a folder of results that cannot be written to.
        LabelError: when the network's classes are not those of the data set.
        ListError: for annotation files that cannot be read.
    """
    for what, name, valid in (("protocol", request.protocol, EVALUATIONS), ("budget", request.budget, BUDGETS)):
        if name not in valid:
            raise unknown(what, name, [*valid, *([RECONSTRUCTION] if what == "protocol" else [])])
    if request.share and request.protocol != LOW_SHOT:
        raise RequestError(f"--share is for --protocol {LOW_SHOT}, not for {request.protocol!r}")
    _check_hardware(request)
    request = _pushed(request)
    network, suite = known(request), get_suite(request.suite)
    check_data(suite, request.data)
    task = _task(suite, request.task, network.names)
    split = request.split or suite.test_split
    if split not in suite.splits:
        raise unknown("split", split, suite.splits)
    clip, rule = views_of(request, task, network)
    if writes:
        require_writable("--out", request.out)
    videos = suite.prepare(request.data, progress)
    records = videos.records(task.name, split)
    rows = list(dict.fromkeys(record.row for record in records))
    kept = set(rows[: request.limit] if request.limit is not None else rows)
    classes = () if task.metric == "mse" else videos.classes(task.name)
    return Evaluation(
        request=request,
        suite=suite,
        task=task,
        split=split,
        videos=videos,
        records=[record for record in records if record.row in kept],
        listed=len(rows),
        clip=clip,
        rule=rule,
        network=network,
        classes=tuple(classes),
        found=_found(request, network, tuple(classes), task, suite.name),
        question=_question(network.form, task) if request.protocol == AS_IS else "",
    )


def _check_hardware(request: Request) -> None:
    """Refuse what a probe would silently ignore: features and head are computed by one process, in single precision.

    Raises:
        RequestError: naming the options.
    """
    on, one = request.hardware, Hardware()
    if request.protocol in (AS_IS, "finetune"):
        return
    given = {
        "devices": (on.devices, one.devices),
        "num-nodes": (on.num_nodes, one.num_nodes),
        "strategy": (on.strategy, one.strategy),
        "precision": (on.precision or "32-true", "32-true"),
    }
    if wrong := [f"--{name} {value}" for name, (value, usual) in given.items() if value != usual]:
        raise RequestError(
            f"--protocol {request.protocol} computes on one device in single precision; leave out {' and '.join(wrong)}"
        )


def _pushed(request: Request) -> Request:
    """What `zoo push` wrote, as the architecture and the file of weights that it stands for.

    Raises:
        RequestError: for weights given in two ways.
        PushError: for a folder that holds no model.
    """
    if not request.name.startswith(PUSHED):
        return request
    if request.pretrained or request.checkpoint is not None:
        raise RequestError(f"{request.name} brings its weights; leave out --pretrained and --checkpoint")
    architecture, path = pushed(request.name)
    return replace(request, name=architecture, checkpoint=path)


def _task(suite: Suite, name: str, names: tuple[str, ...]) -> Task:
    """The task asked for, the only one, or the one whose classes the network has."""
    if name:
        return suite.task(name)
    if len(suite.tasks) == 1:
        return suite.tasks[0]
    alike = [task for task in suite.tasks if names and task.classes and set(task.classes) == set(names)]
    if len(alike) == 1:
        return alike[0]
    raise RequestError(
        f"{suite.name} has several tasks; say which with --task: {', '.join(t.name for t in suite.tasks)}"
    )


def _question(form: Classifier, task: Task) -> str:
    """Which question of a head a task asks, such as "verb" for "verb_recognition".

    Raises:
        RequestError: when it asks none of them.
    """
    if not form.questions:
        return ""
    words = set(re.split(r"[^a-z]+", task.name.lower()))
    fitting = [question for question in form.questions if question.lower() in words]
    if len(fitting) != 1:
        raise RequestError(f"the head answers {', '.join(form.questions)}, and task {task.name!r} asks none of them")
    return fitting[0]


def _found(request: Request, network: Network, classes: tuple[str, ...], task: Task, suite: str) -> ClassMap | None:
    """How the network's classes belong to the data set's; None where there is nothing to compare."""
    trained = request.pretrained or request.checkpoint is not None
    if request.protocol != AS_IS or task.metric == "mse" or not trained:
        return None
    if request.pretrained and not network.num_rows:
        raise RequestError(
            f"{request.name} has no classifier to evaluate as it is; choose a protocol that trains one, such as "
            f"--protocol linear"
        )
    num_classes = len(classes) or task.num_classes
    if not network.num_rows:
        # A file of another layout tells the size of its classifier only when it is loaded, which checks it.
        return ClassMap(
            None, f"{num_classes} classes; the file does not say their names, so labels are taken as they are"
        )
    names = network.names if len(network.names) == network.num_rows else ()
    rows = network.num_rows
    if network.form.questions:
        names, rows = (), network.form.questions[_question(network.form, task)]
    return class_map(classes, names, rows, suite=suite, num_classes=num_classes, order_name=network.order_name)


def views_of(request: Request, task: Task, network: Network) -> tuple[ClipSpec, str]:
    """Clips and merge rule of a network on a task.

    Raises:
        UnknownNameError: for unknown views or an unknown rule.
        RequestError: for numbers and rules that cannot be.
    """
    named = get_views(request.views) if request.views else None
    clip = named.of(network.clip) if named else task.clip_spec(network.clip)
    clip = replace(clip, flip=network.clip.flip and task.flip)
    try:
        clip = replace(clip, clips=request.clips or clip.clips, crops=request.crops or clip.crops)
    except ValueError as error:
        raise RequestError(str(error)) from None
    attends = network.form.kind == "attentive" if request.protocol == AS_IS else request.protocol in ATTENTIVE
    usual = ATTENDED if attends else named.rule if named and request.protocol == AS_IS else SOFTMAX
    rule = as_rule(request.merge) if request.merge else MEAN if task.metric == "mse" else usual
    if (rule == MEAN) != (task.metric == "mse"):
        raise RequestError(f"merge rule {rule!r} does not fit the metric {task.metric!r} of task {task.name!r}")
    if rule == ATTENDED and not attends:
        if request.merge:
            raise RequestError(
                f"merge rule {rule!r} needs a head that looks at all tokens, such as --protocol attentive"
            )
        rule = SOFTMAX
    if task.metric == "mse" and request.protocol in FOR_CLASSES:
        raise RequestError(
            f"--protocol {request.protocol} gives classes, and {task.name!r} asks for values; use linear, attentive, "
            "attentive4 or finetune"
        )
    if clip.sampling == "segments" and clip.clips > 2:
        raise RequestError(f"sampling by segments gives 1 or 2 clips, not {clip.clips}; choose other --views")
    return clip, rule


def order_words(classes: tuple[str, ...]) -> str:
    """The order of the labels in a line, with its hash."""
    if not classes:
        return "no names"
    shown = ", ".join(f"{label} {name!r}" for label, name in enumerate(classes[:3]))
    return f"{shown}{', ...' if len(classes) > 3 else ''} ({len(classes)}, sha256 {LabelOrder(classes).sha256[:12]})"
