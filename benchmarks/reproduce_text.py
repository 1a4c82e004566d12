"""What `zoo reproduce` prints: what it would download, run and cost, and the verdicts in the end."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from benchmarks.evaluation import AS_IS, Request
from benchmarks.layout import Plan
from benchmarks.measured import WITHIN, Measured
from benchmarks.paper_recipes import command_words
from benchmarks.paper_tables import METRICS
from benchmarks.paper_text import OURS, VERDICT, told_cells
from benchmarks.reproduce import Asked, Found, Job, Options, judged
from benchmarks.reproduce_costs import cost_words, time_words
from benchmarks.reproduce_training import FILE, train_words
from benchmarks.results import Result
from benchmarks.sheets import Cell, Column, Sheet
from benchmarks.shrunken_network import WORDS
from benchmarks.suite import Suite, Task
from benchmarks.synth import layout_of
from benchmarks.training_plan import start_words
from benchmarks.training_text import hardware_words
from zoo.card import Card
from zoo.catalogue import licence_of
from zoo.fetch import find, words
from zoo.recipes.training import Training
from zoo.registry import architectures, get_card

REPORTED_ONLY, NOT_MEASURED = "reported only", "not measured"
SHAPING = ("card", "frames", "resolution", "views", "task")  # fields of a row that its evaluation depends on
BYTES_PER_VALUE = 4  # of float32, in which all released files but a few are


def data_lines(asked: Asked, jobs: Sequence[Job]) -> dict[str, str]:
    """The table, and what must lie where: one text per label; only what concerns rows that are measured."""
    table = asked.table
    source = asked.paper.sources[table.source]
    able = [job for job in jobs if not job.refusal]
    lines = {
        "table": f"{asked.paper.name}:{table.name}, {table.title} ({source.where})",
        "rows": f"{len(jobs)}, of which {len(able)} can be measured",
        "note": table.note,
    }
    if not able or able[0].suite is None or able[0].task is None or able[0].request is None:
        return lines
    suite, request = able[0].suite, able[0].request
    split = request.split or suite.test_split
    splits = f"{suite.train_split} (training), {split}" if able[0].trains else split
    return lines | {
        "videos": f"{suite.name}, {splits}: {size_words(suite, able[0].task, split)}",
        "needed in ROOT": "\n".join(needed(suite, split, trained=able[0].trains)),
        "from": f"{suite.source}{f'; {suite.url}' if suite.url else ''}",
        "their licence": suite.licence,
    }


def size_words(suite: Suite, task: Task, split: str) -> str:
    """Lengths of a list in public use."""
    sizes = suite.sizes_of(task.name, split)
    return ", ".join(f"{length:,} ({whose})" for whose, length in sizes.items()) or "of a number nobody states"


def needed(suite: Suite, split: str, *, trained: bool) -> list[str]:
    """Files of a suite in its official layout, those of videos as a pattern.

    Args:
        suite: whose.
        split: the list that is scored.
        trained: training videos are needed too.
    """
    if suite.layout is None:
        return ["nothing: the videos are rendered here"]
    layout = layout_of(suite, Plan(classes=2, videos=1))
    names = [split, *([suite.train_split] if trained else [])]
    paths = [PurePosixPath(video.name) for video in layout.videos if trained or video.test]
    # Where splits have folders, those of the others are not needed.
    own = [path for path in paths if any(path.parts[0].startswith(name) for name in names)]
    videos = {f"{_above(path)}/*{path.suffix}" for path in own or paths}
    return [*sorted(layout.files), *sorted(videos), "or the lists and folders of one of the copies named below"]


def _above(path: PurePosixPath) -> str:
    """The folder of a video; of folders with a class each, the one they lie in."""
    return f"{path.parts[0]}/..." if len(path.parts) > 2 else str(path.parent)


def job_lines(job: Job, asked: Asked, finished: Sequence[Result]) -> dict[str, str]:
    """A row that can be measured: one text per label; those without a text have nothing to tell.

    Args:
        job: the row.
        asked: its table.
        finished: stored results, which tell how long an evaluation takes.
    """
    request, clip = job.request, job.clip
    if request is None or clip is None or job.suite is None or job.task is None or job.network is None:
        return {"row": f"{job.name}, {job.row.system}", "cannot be measured": job.refusal}
    stride = f", stride {clip.stride}" if clip.sampling in ("dense", "strided", "vjepa") else ""
    trained = "" if request.protocol == AS_IS else f", trained by the zoo's budget {request.budget}"
    commands = [train_words(job.training)] if job.training else []
    evaluated = replace(request, checkpoint=Path(FILE)) if job.training else request
    exact = job.training or not job.shrunken
    return {
        "row": f"{job.name}, {job.row.system}: {printed_words(job)}",
        "also printed": "\n".join(conflict_lines(job, asked)),
        "note": job.row.note,
        "recipe": command_words(job.recipes),
        "weights": "\n".join(weight_lines(job)),
        "run": f"{job.task.name} ({job.suite.name} {request.split or job.suite.test_split}) by {request.protocol}"
        f"{trained}: {clip.num_frames} frames, {clip.sampling}{stride}, {clip.img_size} px; {clip.clips} clips x "
        f"{clip.crops} crops, {job.rule}",
        "differs": job.differs,
        "training": "" if job.training is None else training_words(job.training.published),
        "cost": cost_words(job),
        "time": time_words(job, finished),
        "the same as": "\n".join([*commands, command(evaluated)]) if exact else "",
    }


def training_words(published: Training) -> str:
    """What a published training cost its authors."""
    told = f"{published.cost}; on {hardware_words(published)}" if published.original.devices else published.cost
    return f"{told} (the authors')"


def printed_words(job: Job) -> str:
    """The printed numbers of a row."""
    return ", ".join(f"{METRICS[it].heading} {_number(job.row.values[it])} {METRICS[it].unit}" for it in job.metrics)


def _number(value: float | None) -> str:
    return "not available" if value is None else f"{value:g}"


def conflict_lines(job: Job, asked: Asked, metric: str = "") -> list[str]:
    """What the authors print otherwise elsewhere.

    Args:
        job: the row.
        asked: its table.
        metric: of this number and of what its evaluation is; "" for everything, trainings too.
    """
    return [
        f"elsewhere {it.subject} {it.value} ({asked.paper.sources[it.source].where}){f': {it.note}' if it.note else ''}"
        for it in asked.table.conflicts_of(job.row)
        if not metric or it.metric in (metric, *SHAPING)
    ]


def weight_lines(job: Job) -> list[str]:
    """Where the weights come from."""
    request, network = job.request, job.network
    if request is None or network is None:
        return []
    if job.training is not None:
        start = start_words(job.training)
        return [f"{network.weights}, which begins with {start}; FILE below is what it leaves"]
    if not request.pretrained:
        return [f"{network.weights}; none of {job.row.card or 'a release'} are downloaded"]
    card = get_card(request.name)
    return [file_words(it) for it in (*([get_card(card.backbone)] if card.backbone else []), card)]


def file_words(card: Card) -> str:
    """A released file: its size, its licence, and where it is or would come from."""
    text, whose = licence_of(card)
    licence = f"{text} (the code's; none is stated for the weights)" if whose == "code" else text
    licence = licence or "no licence stated"
    found = find(card.weights, card.name)
    if found is not None:
        return f"{card.name}: {found.stat().st_size / 1e6:,.1f} MB, here already: {found}; {licence}"
    known = architectures().get(card.architecture)
    size = f"about {known.parameters * BYTES_PER_VALUE / 1e6:,.0f} MB" if known and known.parameters else "size unknown"
    where = " or ".join(words(source) for source in card.weights.sources) or "nowhere"
    if card.backbone:
        size = "size unknown"  # a head alone
    return f"{card.name}: {size}, from {where}; {licence}"


def command(request: Request) -> str:
    """The `zoo eval` that does the same."""
    given: dict[str, object] = {
        "--suite": request.suite,
        "--data": request.data,
        "--task": request.task,
        "--split": request.split,
        "--checkpoint": request.checkpoint,
        "--protocol": request.protocol if request.protocol != AS_IS else "",
        "--budget": request.budget if request.protocol != AS_IS else "",
        "--clips": request.clips,
        "--crops": request.crops,
        "--limit": request.limit,
        "--out": request.out,
    }
    options = [word for name, value in given.items() if value for word in (name, str(value))]
    return shlex.join(["zoo", "eval", request.name, *(["--pretrained"] if request.pretrained else []), *options])


class Line(NamedTuple):
    """A number of a row in the end.

    Attributes:
        row: PAPER:TABLE:ROW.
        system: as printed.
        metric: a key of `METRICS`; "" for a row without a number.
        reported: as printed, in its unit.
        told: what was measured; None for nothing.
        verdict: one of the verdicts of `benchmarks.measured`, REPORTED_ONLY or NOT_MEASURED.
        weights: whose weights were measured, where they are not the released ones.
        notes: what a reader must know.
    """

    row: str
    system: str
    metric: str
    reported: float | None
    told: Measured | None
    verdict: str
    weights: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = self.told
        value = told.value if told else None
        return {
            "row": self.row,
            "system": self.system,
            "metric": self.metric,
            "reported": self.reported,
            "measured": value.value if value else None,
            "difference": told.difference if told else None,
            "low": value.low if value else None,
            "high": value.high if value else None,
            "num_scored": told.n_scored if told else 0,
            "num_expected": told.n_expected if told else None,
            "verdict": self.verdict,
            "weights": self.weights or "released",
            "notes": list(self.notes),
            "result": told.result.identity.key if told else None,
        }


def lines_of(found: Iterable[Found], asked: Asked, options: Options) -> list[Line]:
    """The rows of the table in the end, a line for each number."""
    return [line for one in found for line in _lines(one, asked, options)]


def _lines(one: Found, asked: Asked, options: Options) -> list[Line]:
    job, row = one.job, one.job.row
    if one.result is None:
        first = next(iter(job.metrics), asked.table.headline(row))
        verdict, why = (REPORTED_ONLY, job.refusal) if job.refusal else (NOT_MEASURED, one.trouble)
        return [Line(job.name, row.system, first, row.values.get(first), None, verdict, "", (why,))]
    whose = "own weights" if options.checkpoint is not None else WORDS if options.shrink else ""
    whose = "trained here" if options.train else whose
    lines = []
    for metric in job.metrics:
        told = judged(one, metric)
        verdict = told.verdict if told else NOT_MEASURED
        notes = (told.why if told else "", *_trained(one.request), *conflict_lines(job, asked, metric))
        kept = tuple(it for it in notes if it)
        lines.append(Line(job.name, row.system, metric, row.values[metric], told, verdict, whose, kept))
    return lines


def _trained(request: Request | None) -> list[str]:
    """What is to be said of a number that had a training of ours before it."""
    if request is None or request.protocol == AS_IS:
        return []
    return [f"trained by the zoo's budget {request.budget}, not by the authors' recipe"]


def verdict_sheet(lines: Sequence[Line], title: str) -> Sheet:
    """Reported beside measured, with what is to be said of each number."""
    columns = (Column("row"), Column("metric"), Column("reported", True), *OURS, VERDICT)
    sheet = Sheet(title=title, columns=columns)
    for line in lines:
        marks = tuple(sheet.mark(note) for note in line.notes)
        cells = (Cell(line.row.rpartition(":")[2]), Cell(METRICS[line.metric].title), Cell(_number(line.reported)))
        verdict = f"{line.verdict} ({line.weights})" if line.weights else line.verdict
        sheet.rows.append([*cells, *told_cells(line.told), Cell(verdict, marks)])
    return sheet


def exit_status(lines: Sequence[Line], *, shrink: bool) -> int:
    """0 when all that was measured is within the interval, 1 otherwise; of shrunken networks when all was scored."""
    wanted = [line for line in lines if line.verdict != REPORTED_ONLY]
    if shrink:
        return int(any(line.told is None or line.told.result.failed for line in wanted))
    return int(any(line.told is None or line.told.verdict != WITHIN for line in wanted))
