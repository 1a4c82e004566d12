"""Behind `zoo reproduce`: rows of a paper's table become evaluations, which are carried out where no result is stored.

A row is measured as it states: its views, and the frames, crops and merge rule of its card. Nothing is averaged over
protocols.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.budgets import budget
from benchmarks.evaluate import evaluate, settings_of
from benchmarks.evaluation import AS_IS, Evaluation, Network, Request, allowed_failures, known, resolve, views_of
from benchmarks.measured import DIFFERS, Measured, beside
from benchmarks.paper_recipes import command_words, recipes_of
from benchmarks.paper_rows import other_size, why_not
from benchmarks.paper_tables import EFFICIENCY, MEASURED, METRICS, Paper, Row, Table, get_paper
from benchmarks.reproduce_training import network_of, plan_of, train, trained_before
from benchmarks.results import Result, Store
from benchmarks.session import RequestError, no_folder
from benchmarks.shrunken_network import shrunken_file, shrunken_network
from benchmarks.suite import Suite, Task
from benchmarks.suites.table import get_suite
from benchmarks.training_plan import Plan, refusal
from zoo.card import ClipSpec
from zoo.checkpoints import Saved, read_saved
from zoo.data.labels import LabelError
from zoo.data.loading import UnreadableVideoError
from zoo.recipes.learned import Distillation
from zoo.recipes.training import Training
from zoo.registry import get_architecture, get_card, released
from zoo.training.fit import Hardware
from zoo.training.probe import FewVideosError
from zoo.weight_files import CheckpointError

SEGMENTS, MOST_SEGMENT_CLIPS = "segments", 2


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a person wants of all rows.

    Attributes:
        data: folder of the suite's official files; None for a suite that is rendered.
        out: folder of the results, also of those that are there already.
        checkpoint: weights in the place of the released ones, for a single row.
        network: architecture of a row without released weights, beside `checkpoint` or `shrink`.
        train: weights that the row's published training makes here, in the place of the released ones.
        shrink: small networks with random weights in the place of the released ones; with `train`, everything small.
        limit: the first videos of the list only.
        tolerate: number or share of videos that may fail.
        batch_size: views per device and step.
        workers: loading processes per device.
        hardware: where to compute.
        decoder: backend that reads videos.
        budget: how much a protocol that trains spends.
        seed: of weights that start fresh and of training.
    """

    data: Path | None = None
    out: Path = Path("runs/eval")
    checkpoint: Path | None = None
    network: str = ""
    train: bool = False
    shrink: bool = False
    limit: int | None = None
    tolerate: str = "0"
    batch_size: int = 16
    workers: int = 0
    hardware: Hardware = field(default_factory=Hardware)
    decoder: str = "pyav"
    budget: str = "full"
    seed: int = 0


class Asked(NamedTuple):
    """A table, and the rows of it that were asked for.

    Attributes:
        paper: the paper.
        table: of it.
        rows: of that.
        single: one row was named.
    """

    paper: Paper
    table: Table
    rows: tuple[Row, ...]
    single: bool

    def name_of(self, row: Row) -> str:
        """PAPER:TABLE:ROW."""
        return f"{self.paper.name}:{self.table.name}:{row.name}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row and how it is measured.

    Attributes:
        name: PAPER:TABLE:ROW.
        table: the row's.
        row: of the paper.
        recipes: trainings that may have made its numbers.
        refusal: why it cannot be measured; "" where it can, and everything below is there then.
        request: the evaluation.
        suite: videos and lists.
        task: of the suite.
        network: what is known of the network.
        clip: clips and views.
        rule: merge rule.
        differs: how this is not the protocol that the row prints; "" where it is.
        shrunken: `network` is a small one with random weights, which `request` does not say yet.
        training: what makes the weights first; None where they are there, or a protocol of ours trains them.
    """

    name: str
    table: Table
    row: Row
    recipes: tuple[Training, ...] = ()
    refusal: str = ""
    request: Request | None = None
    suite: Suite | None = None
    task: Task | None = None
    network: Network | None = None
    clip: ClipSpec | None = None
    rule: str = ""
    differs: str = ""
    shrunken: bool = False
    training: Plan | None = None

    @property
    def trains(self) -> bool:
        """Whether training videos are needed."""
        return self.training is not None or (self.request is not None and self.request.protocol != AS_IS)

    @property
    def network_name(self) -> str:
        """Architecture of what is evaluated."""
        return get_architecture(self.request.name).name if self.request else ""

    @property
    def metrics(self) -> list[str]:
        """The row's numbers that can be measured, the table's headline first."""
        found = [name for name in METRICS if name in MEASURED and self.row.values.get(name) is not None]
        return sorted(found, key=lambda name: name != self.table.headline(self.row))


class Found(NamedTuple):
    """What there is of a row in the end.

    Attributes:
        job: the row.
        request: what was evaluated; None where nothing was.
        result: measured; None where there is none.
        trouble: why there is none; "" where there is one.
    """

    job: Job
    request: Request | None = None
    result: Result | None = None
    trouble: str = ""


def asked_for(words: str) -> Asked:
    """The rows that PAPER:TABLE or PAPER:TABLE:ROW names.

    Raises:
        UnknownNameError: for a name that does not exist, with the closest ones.
        RequestError: for words of another form.
    """
    name, *rest = words.split(":")
    paper = get_paper(name)
    if not rest or len(rest) > 2 or not all(rest):
        known_ones = ", ".join(f"{name}:{table}" for table in paper.tables)
        raise RequestError(f"{words!r} is no PAPER:TABLE and no PAPER:TABLE:ROW; the tables are {known_ones}")
    table = paper.table(rest[0])
    rows = (table.row(rest[1]),) if len(rest) == 2 else table.rows
    return Asked(paper, table, rows, len(rest) == 2)


def plan(asked: Asked, options: Options) -> list[Job]:
    """How every row is measured, or why it cannot be. Reads no data and asks no network.

    Raises:
        RequestError: for options that do not fit, a folder that is not there, and a single row that cannot be measured.
        UnknownNameError: for an unknown architecture.
        CheckpointError: for a file of weights that is none.
    """
    _check(asked, options)
    jobs = [_job(asked, row, options) for row in asked.rows]
    if asked.single and jobs[0].refusal:
        raise RequestError(f"{jobs[0].name} cannot be measured: {jobs[0].refusal}")
    return jobs


def _check(asked: Asked, options: Options) -> None:
    budget(options.budget)
    allowed_failures(options.tolerate, 1)
    if options.data is not None and not options.data.is_dir():
        raise RequestError(f"--data {options.data}: {no_folder(options.data)}")
    own = {"--checkpoint": options.checkpoint is not None, "--network": bool(options.network)}
    if wrong := [option for option, given in own.items() if given and not asked.single]:
        raise RequestError(f"{wrong[0]} is for a single row: {asked.paper.name}:{asked.table.name}:ROW")
    if options.train and (options.checkpoint or options.network):
        given = "--checkpoint" if options.checkpoint else "--network"
        raise RequestError(f"give either --train or {given}, not both")
    if options.checkpoint is not None and options.shrink:
        raise RequestError("give either --checkpoint or --shrink, not both")
    if options.network and not (options.shrink or options.checkpoint):
        raise RequestError("--network says what --checkpoint or --shrink is a network of; give one of them too")
    if options.network and (card := asked.rows[0].card):
        raise RequestError(f"--network is for a row without released weights, and this one has {card}")


def _job(asked: Asked, row: Row, options: Options) -> Job:
    recipes = recipes_of(asked.table, row)
    job = Job(name=asked.name_of(row), table=asked.table, row=row, recipes=recipes)
    name = _network_of(job, options)
    if refusal := _refusal(job, name, options):
        return replace(job, refusal=refusal)
    suite = get_suite(asked.table.suite)
    try:
        return _described(job, suite, name, options)
    except RequestError as error:
        return replace(job, refusal=str(error))


def _network_of(job: Job, options: Options) -> str:
    """Name of the weights or of the architecture that a row is measured with; "" where nothing tells it."""
    row = job.row
    if options.train:
        return job.recipes[0].architecture if job.recipes else ""
    if row.card or options.network:
        return row.card or options.network
    if options.checkpoint is not None:
        return saved.architecture if (saved := _saved(options.checkpoint)) else ""
    if options.shrink and job.recipes:
        return job.recipes[0].architecture
    return row.start if job.table.protocol != AS_IS and _begins(row) else ""


def _begins(row: Row) -> bool:
    """Whether a training can begin with the weights that a row's did, at the length of its clips."""
    card = released().get(row.start)
    return card is not None and not card.missing and row.frames in (0, card.clip.num_frames)


def _saved(checkpoint: Path) -> Saved | None:
    """What a file of weights says of itself.

    Raises:
        RequestError: where there is no such file.
        CheckpointError: for a file that is none.
    """
    if not checkpoint.is_file():
        raise RequestError(f"--checkpoint {checkpoint}: there is no such file")
    return read_saved(checkpoint)


def _refusal(job: Job, name: str, options: Options) -> str:
    """Why a row cannot be measured; "" where it can."""
    row, table = job.row, job.table
    own = options.shrink or options.checkpoint is not None
    if table.reported_only:
        return table.reported_only
    if table.protocol == EFFICIENCY:
        return "costs are measured by `zoo efficiency`; see its --paper"
    if not row.ours and not row.card:
        return why_not(row, table)
    if options.train:
        return _untrainable(job) or ("" if job.metrics else "its number is not available")
    if not job.metrics:
        return "its number is not available" if set(MEASURED) & set(row.values) else "no evaluation gives its numbers"
    if not name:
        advice = "; say with --network ARCHITECTURE what your weights are of" if own else _training(job)
        return f"{why_not(row, table)}{advice}"
    if not row.card:
        return ""
    card = get_card(row.card)
    if table.protocol == AS_IS and not card.weights.num_classes and not own and not card.missing:
        return f"the released file has no classifier{_training(job)}"
    why = why_not(row, table) if options.checkpoint is None else ""
    return card.missing or (f"{why}{_training(job)}" if why else "")


def _untrainable(job: Job) -> str:
    """Why a row's weights cannot be trained by a published recipe; "" where they can."""
    if not job.recipes:
        return "no published training of it is known"
    recipe = job.recipes[0]
    if recipe.kind == "pretrain" and not isinstance(recipe.objective, Distillation):
        return (
            f"`{command_words(job.recipes)}` is published, and how it was fine-tuned for this table is not; "
            "`zoo finetune RECIPE --start FILE` goes on from what it leaves, and --checkpoint FILE measures that"
        )
    return f"{recipe.name} cannot be run: {recipe.obstacle}" if recipe.obstacle else ""


def _training(job: Job) -> str:
    """How its weights come to be, to follow a reason."""
    if not job.recipes:
        return ""
    if obstacle := _untrainable(job):
        return f"; {obstacle}"
    return f"; --train makes its weights with `{command_words(job.recipes)}`, and --checkpoint FILE measures yours"


def _described(job: Job, suite: Suite, name: str, options: Options) -> Job:
    """A job with everything that can be told without the data.

    Raises:
        RequestError: for a row that cannot be evaluated as it states.
    """
    table, row = job.table, job.row
    task = suite.task(table.task_of(row) or suite.tasks[0].name)
    protocol, saved = table.protocol, _saved(options.checkpoint) if options.checkpoint else None
    if saved is not None and saved.num_classes == task.num_classes:
        protocol = AS_IS  # what a training left
    request = Request(
        name=name,
        suite=suite.name,
        data=options.data,
        task=task.name,
        split=table.split,
        share=f"{100 * table.share:g}%" if table.share else "",
        checkpoint=options.checkpoint,
        pretrained=not (options.shrink or options.checkpoint or options.train),
        protocol=AS_IS if options.train else protocol,
        tolerate=options.tolerate,
        batch_size=options.batch_size,
        workers=options.workers,
        hardware=options.hardware,
        seed=options.seed,
        budget=options.budget,
        limit=options.limit,
        out=options.out,
        decoder=options.decoder,
    )
    training = plan_of(job.recipes[0], request, shrink=options.shrink) if options.train else None
    if training is not None:
        network = network_of(training)
    else:
        network = shrunken_network(name, task) if options.shrink else known(request)
    clips, crops, odd = _views(table.views_of(row), task.sampling or network.clip.sampling)
    request = replace(request, clips=clips, crops=crops)
    clip, rule = views_of(request, task, network)
    differs = "; ".join(it for it in (odd, "" if options.shrink else other_size(row, clip)) if it)
    return replace(
        job,
        request=request,
        suite=suite,
        task=task,
        network=network,
        clip=clip,
        rule=rule,
        differs=differs,
        shrunken=options.shrink,
        training=training,
    )


def _views(views: str, sampling: str) -> tuple[int | None, int | None, str]:
    """Clips and crops of a row, and how these are not what it prints."""
    if not views:
        return None, None, ""
    clips, crops = (int(it) for it in views.split("x"))
    if sampling != SEGMENTS or clips <= MOST_SEGMENT_CLIPS:
        return clips, crops, ""
    # The authors' own readers have two clips whatever the tables say (benchmarks.views, umt_ssv2).
    made = f"{MOST_SEGMENT_CLIPS}x{crops}"
    why = f"the row prints {views} views, and sampling by segments has {MOST_SEGMENT_CLIPS} clips: {made} are evaluated"
    return MOST_SEGMENT_CLIPS, crops, why


class Step(NamedTuple):
    """A row whose data is there.

    Attributes:
        job: the row.
        one: its evaluation; None where there is nothing to evaluate.
        result: what was measured of it before; None where that is missing.
        trouble: why there is no evaluation.
    """

    job: Job
    one: Evaluation | None = None
    result: Result | None = None
    trouble: str = ""

    @property
    def needs_training(self) -> bool:
        """Whether its weights are still to be made."""
        return self.one is not None and self.job.training is not None and self.one.request.checkpoint is None


def look_up(jobs: list[Job], options: Options, *, single: bool, progress: bool = False) -> list[Step]:
    """Check the data of all rows, and find what was measured before. Nothing is downloaded.

    Args:
        jobs: rows.
        options: what was asked for.
        single: one row was named, whose trouble is an error.
        progress: show what takes long.

    Raises:
        SuiteError: for files that are not there.
        ListError: for annotation files that cannot be read.
        RequestError: for anything else that cannot be done.
        LabelError: when the classes of a single row's network are not those of the data set.
        FolderError: for a folder of results that cannot be written to.
    """
    steps: list[Step] = []
    for job in jobs:
        if job.request is None or job.task is None:
            steps.append(Step(job))
            continue
        request = job.request
        if job.training is not None:
            request = replace(request, checkpoint=trained_before(job.training, Store(options.out).results()))
        elif job.shrunken:
            file = shrunken_file(request.name, job.task, options.out / "shrunken", seed=options.seed)
            request = replace(request, checkpoint=file)
        try:
            one = resolve(request, progress=progress, writes=True)
        except LabelError as error:
            if single:
                raise
            steps.append(Step(job, trouble=str(error)))
            continue
        words = refusal(job.training) if job.training and not request.checkpoint else ""
        if words and single:
            raise RequestError(words)
        steps.append(Step(job, trouble=words) if words else Step(job, one))
    finished = Store(options.out).results() if any(step.one for step in steps) else []
    return [
        step._replace(result=_stored(step.one, finished)) if step.one and not step.needs_training else step
        for step in steps
    ]


def _stored(one: Evaluation, finished: list[Result]) -> Result | None:
    """The newest result of an evaluation; where a part of the list is asked for, one of the whole list is better.

    A result with more failures than are tolerated now is none: files may have been mended.
    """
    for request in (replace(one.request, limit=None), one.request):
        key = settings_of(replace(one, request=request))[1].key
        for result in sorted(finished, key=lambda it: it.created, reverse=True):
            failed, tolerated = len(result.failed), allowed_failures(request.tolerate, result.n_expected)
            scored = bool(result.metrics) if request.limit is None else result.n_evaluated > 0
            if result.identity.key == key and failed <= tolerated and scored:
                return result
    return None


def refuse_nothing(asked: Asked, jobs: list[Job]) -> None:
    """See whether any row of a table can be measured.

    Raises:
        RequestError: with the reasons where none can.
    """
    if all(job.refusal for job in jobs):
        reasons = "; ".join(dict.fromkeys(job.refusal for job in jobs))
        raise RequestError(f"no row of {asked.paper.name}:{asked.table.name} can be measured: {reasons}")


def carry_out(step: Step, *, progress: bool = False) -> Found:
    """Measure a row, unless that was done before.

    An evaluation that was stopped goes on where it stopped. Weights that cannot be had and trainings that cannot be
    done are told, so that other rows are measured.
    """
    if step.one is None:
        return Found(step.job, trouble=step.trouble)
    if step.result is not None:
        return Found(step.job, step.one.request, step.result)
    try:
        one = step.one
        if step.needs_training and step.job.training is not None:
            file = train(step.job.training, progress=progress)
            one = resolve(replace(one.request, checkpoint=file), progress=progress)
        return Found(step.job, one.request, evaluate(one, progress=progress).result)
    except (CheckpointError, RequestError, FewVideosError, UnreadableVideoError) as error:
        return Found(step.job, step.one.request, trouble=str(error))


def judged(found: Found, metric: str) -> Measured | None:
    """The verdict on a number of a row; None where nothing was measured."""
    if found.request is None or found.result is None:
        return None
    told = beside(found.job.row, found.request, found.result, metric)
    if not found.job.differs:
        return told
    return told._replace(verdict=DIFFERS, why="; ".join(filter(None, (found.job.differs, told.why))))
