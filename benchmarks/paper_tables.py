"""Tables of papers as data: every printed number with its source, and what the zoo would run to measure it.

One file `benchmarks/papers/<paper>.toml` per paper, of which this is an example::

    title = "VideoMamba: State Space Model for Efficient Video Understanding"
    reference = "arXiv 2403.06977v2"
    code = "OpenGVLab/VideoMamba"

    [sources.table3]                        # what a `source` below may name
    kind = "paper"                          # see KINDS
    where = "arXiv 2403.06977v2, Table 3"

    [tables.k400]                           # the table videomamba:k400
    title = "Kinetics-400"
    suite = "k400"                          # of the zoo, or of REPORTED_ONLY
    protocol = "as_is"                      # likewise
    metric = "top1"                         # the headline
    source = "table3"                       # of every cell that names none
    views = "4x3"                           # clips x crops of every row that names none

    [[tables.k400.rows]]                    # the row videomamba:k400:tiny_f8
    name = "tiny_f8"
    system = "VideoMamba-Ti"                # as printed
    card = "videomamba_tiny.k400_f8_res224"
    pretraining = "in1k"
    frames = 8
    resolution = 224
    values = { top1 = 76.9, top5 = 92.9, params_m = 7, gflops_per_view = 9 }
    sources = { top5 = "zoo" }              # of single cells
    conflicts = [{ metric = "top1", value = 77.0, source = "zoo", note = "rounded in the model zoo" }]

A conflict is about a number of the row, or about a field of it (`views`, `recipe`, ...) whose other value stands as
text; what holds for all rows is a conflict of the table, `[[tables.k400.conflicts]]`.

TOML has no null: a number that could not be recovered is the word "not available". A number that somebody remembers and
nobody can point to is left out.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from zoo.suggest import closest, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).with_name("papers")
NOT_AVAILABLE = "not available"
KINDS = ("paper", "model zoo", "script", "issue", "second-hand")


class Metric(NamedTuple):
    """What a column of numbers is.

    Attributes:
        heading: of the column.
        unit: as printed.
        scale: a printed number over the same number in our results, which are shares of one: 100 for per cent.
        higher_is_better: None for what describes a system and is no result.
    """

    heading: str
    unit: str = ""
    scale: float = 1.0
    higher_is_better: bool | None = True

    @property
    def title(self) -> str:
        """The heading with its unit."""
        return f"{self.heading}, {self.unit}" if self.unit else self.heading


METRICS: dict[str, Metric] = {
    "top1": Metric("top-1", "%", 100.0),
    "top5": Metric("top-5", "%", 100.0),
    "mean_class": Metric("class mean", "%", 100.0),
    "recall5": Metric("class-mean recall at 5", "%", 100.0),
    "mse": Metric("MSE", higher_is_better=False),
    "map": Metric("mAP", "%", 100.0),
    "answers": Metric("accuracy of answers", "%", 100.0),
    "t2v_r1": Metric("text-to-video R@1", "%", 100.0),
    "t2v_r5": Metric("text-to-video R@5", "%", 100.0),
    "t2v_r10": Metric("text-to-video R@10", "%", 100.0),
    "v2t_r1": Metric("video-to-text R@1", "%", 100.0),
    "v2t_r5": Metric("video-to-text R@5", "%", 100.0),
    "v2t_r10": Metric("video-to-text R@10", "%", 100.0),
    "times_faster": Metric("times as fast"),
    "times_less_memory": Metric("times less memory"),
    # Of several data sets, of frozen networks, and of tokenizers.
    "average": Metric("mean of data sets", "%", 100.0),
    "codebook_usage": Metric("codes in use", "%", 100.0),
    "fid": Metric("FID", higher_is_better=False),
    "fvd": Metric("FVD", higher_is_better=False),
    "gain": Metric("gain", "points", 100.0),
    "inception": Metric("Inception score"),
    "lpips": Metric("LPIPS", higher_is_better=False),
    "psnr": Metric("PSNR", "dB"),
    "rfid": Metric("FID of reconstructions", higher_is_better=False),
    "rfvd": Metric("FVD of reconstructions", higher_is_better=False),
    "ssim": Metric("SSIM"),
    "success": Metric("success", "%", 100.0),
    "std": Metric("±", higher_is_better=None),
    "hours": Metric("hours", "h", higher_is_better=None),
    "iterations_k": Metric("iterations", "thousand", higher_is_better=None),
    "samples_m": Metric("samples seen", "M", higher_is_better=None),
    "params_m": Metric("parameters", "M", 1e-6, None),
    "gflops_per_view": Metric("GFLOPs per view", "", 1e-9, None),
}
MEASURED = ("top1", "top5", "mean_class", "recall5", "mse")  # what `zoo eval` writes under the same name
EFFICIENCY = "efficiency"  # the protocol of tables that `zoo efficiency --paper` measures; their suite is ""
# Suites and protocols that papers report and the zoo cannot run, with the reason that `zoo reproduce` gives.
_TEXT = "the zoo has no text encoder, and so can neither find videos by captions nor answer questions about them"
_NO_SUITE = "the zoo has no suite of {}"
REPORTED_ONLY: dict[str, str] = {
    "ava22": "AVA asks where persons are and what each does; the zoo has no detector head and no boxes",
    "msrvtt": _TEXT,
    "didemo": _TEXT,
    "activitynet": _TEXT,
    "lsmdc": _TEXT,
    "msvd": _TEXT,
    "ssv2-label": _TEXT,
    "ssv2-template": _TEXT,
    "activitynet-qa": _TEXT,
    "msrvtt-qa": _TEXT,
    "msrvtt-mc": _TEXT,
    "msvd-qa": _TEXT,
    "detection": "the zoo does not evaluate detection: it has no detector head and no matching of boxes",
    "zero_shot_retrieval": _TEXT,
    "fine_tuned_retrieval": _TEXT,
    "question_answering": _TEXT,
    "average": "it is the mean of several tables, which are to be measured one by one",
    "coco": _NO_SUITE.format("COCO"),
    "howto100m": _NO_SUITE.format("HowTo100M"),
    "inat21": _NO_SUITE.format("iNaturalist 2021"),
    "jester": _NO_SUITE.format("Jester"),
    "mcl_jcv": _NO_SUITE.format("MCL-JCV"),
    "mvp": _TEXT,
    "places205": _NO_SUITE.format("Places205"),
    "pretraining_cost": "it says what a training of the authors took, which is no score",
    "robot_arm": "the zoo moves no robots, and lacks the action-conditioned predictor of V-JEPA 2-AC",
    "tempcompass": _TEXT,
    "anticipation_probe": "the zoo evaluates the released anticipation probes but trains none: its probes see the clip "
    "and no predicted tokens",
    "compression": "bits and distortions of codecs are drawn by `benchmarks.protocols.reconstruction`, but LPIPS needs "
    "the weights of another network",
    "cost": "it says what a training of the authors took, which is no score",
    "generation": "the zoo has tokenizers and no network that generates their codes",
    "planning": "the zoo lacks the action-conditioned predictor of V-JEPA 2-AC",
    "reconstruction": "FID and FVD need the weights of Inception and I3D, which the zoo does not have; `zoo tokenize` "
    "tells the PSNR of single videos",
    "token_inputs": "the zoo trains no classifier on decoded tokens",
    "token_targets": "the zoo has no pretraining like BEVT's",
}


VIEWS = re.compile("[1-9][0-9]*x[1-9][0-9]*")


class PaperError(ValueError):
    """A file of tables that does not say what it must; the message names file, table and row."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a number is printed.

    Attributes:
        kind: one of KINDS.
        where: table, page or file.
    """

    kind: str
    where: str


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Another value that the authors print for the same cell.

    Attributes:
        metric: the cell, or a field of the row such as "views" or "recipe".
        value: as printed there.
        source: where, a name of the paper's sources.
        note: why they may differ, in a sentence; or "".
    """

    metric: str
    value: float | str
    source: str
    note: str = ""

    @property
    def subject(self) -> str:
        """The cell's heading, or the name of the field."""
        return METRICS[self.metric].heading if self.metric in METRICS else self.metric


@dataclass(frozen=True, kw_only=True)
class Row:
    """A system's line in a table.

    Attributes:
        name: within the table.
        system: as printed.
        values: metric -> printed number; None for one that could not be recovered.
        sources: metric -> name of the source, for cells with another one than the table's.
        conflicts: other printed values of these cells.
        card: released weights that the row is about; "" where none were released.
        start: released weights that its last training began from; "" where they are the card, or none were.
        recipe: the training behind it, by name; "" where its card's is meant or none is known.
        pretraining: data and method before the last training, as printed.
        frames: of a clip; 0 where not said.
        resolution: side of the crop in pixels; 0 where not said.
        views: "clips x crops" such as "4x3"; "" for the table's.
        task: the suite's task; "" for the table's.
        ours: whether the system is one of the paper's own; false for a row it quotes.
        note: what a reader must know, in a sentence.
    """

    name: str
    system: str
    values: Mapping[str, float | None]
    sources: Mapping[str, str]
    conflicts: tuple[Conflict, ...]
    card: str = ""
    start: str = ""
    recipe: str = ""
    pretraining: str = ""
    frames: int = 0
    resolution: int = 0
    views: str = ""
    task: str = ""
    ours: bool = True
    note: str = ""


# Fields of a row that sources may disagree about.
FIELDS = ("card", "start", "recipe", "pretraining", "frames", "resolution", "views", "task")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A results table.

    Attributes:
        name: within the paper.
        paper: name of that.
        title: what it shows.
        suite: of the zoo, or one of REPORTED_ONLY; "" for EFFICIENCY.
        protocol: of the zoo, or one of REPORTED_ONLY, or EFFICIENCY.
        metric: its headline, a key of METRICS.
        source: of every cell whose row names no other.
        rows: in the printed order.
        task: the suite's task, for rows that name none; "" for its first.
        split: the suite's list that was scored; "" for its test list.
        share: of the training videos that a head sees, for the protocol "low_shot"; 0 for all.
        views: for rows that name none.
        conflicts: what the authors say otherwise elsewhere of all rows; each is about a field.
        note: what a reader must know.
    """

    name: str
    paper: str
    title: str
    suite: str
    protocol: str
    metric: str
    source: str
    rows: tuple[Row, ...]
    task: str = ""
    split: str = ""
    share: float = 0.0
    views: str = ""
    conflicts: tuple[Conflict, ...] = ()
    note: str = ""

    @property
    def reported_only(self) -> str:
        """Why the zoo cannot measure it; "" when it can."""
        return REPORTED_ONLY.get(self.suite) or REPORTED_ONLY.get(self.protocol) or ""

    @property
    def metrics(self) -> list[str]:
        """Columns that some row has, in the order of METRICS."""
        return [name for name in METRICS if any(name in row.values for row in self.rows)]

    def row(self, name: str) -> Row:
        """The row of a name.

        Raises:
            UnknownNameError: naming the closest ones.
        """
        found = {row.name: row for row in self.rows}
        if name not in found:
            raise unknown(f"row of table {self.name}", name, list(found))
        return found[name]

    def headline(self, row: Row) -> str:
        """Metric that a row is about: the table's, or the row's first where it lacks that."""
        return self.metric if self.metric in row.values else next(iter(row.values), self.metric)

    def source_of(self, row: Row, metric: str) -> str:
        """Name of the source of a cell."""
        return row.sources.get(metric, self.source)

    def task_of(self, row: Row) -> str:
        """The suite's task that a row is about; "" for its first."""
        return row.task or self.task

    def views_of(self, row: Row) -> str:
        """Clips and crops of a row, such as "4x3"; "" where not said."""
        return row.views or self.views

    def conflicts_of(self, row: Row) -> tuple[Conflict, ...]:
        """What the authors say otherwise elsewhere, of the row and then of all of them."""
        return (*row.conflicts, *self.conflicts)


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper's tables.

    Attributes:
        name: of its file, such as "videomamba".
        title: the paper's.
        reference: how it is cited.
        code: the authors' repository.
        sources: name -> where numbers stand.
        tables: name -> table, in the order of the file.
        note: what holds for all of it.
    """

    name: str
    title: str
    reference: str
    code: str
    sources: Mapping[str, Source]
    tables: Mapping[str, Table]
    note: str = ""

    def table(self, name: str) -> Table:
        """The table of a name.

        Raises:
            UnknownNameError: naming the closest ones.
        """
        if name not in self.tables:
            raise unknown(f"table of {self.name}", name, list(self.tables))
        return self.tables[name]


@cache
def papers() -> dict[str, Paper]:
    """Every paper by name."""
    return {file.stem: read_paper(file) for file in sorted(FOLDER.glob("*.toml"))}


def get_paper(name: str) -> Paper:
    """The paper of a name.

    Raises:
        UnknownNameError: naming the closest ones.
    """
    if name not in papers():
        raise unknown("paper", name, list(papers()))
    return papers()[name]


def read_paper(file: Path) -> Paper:
    """The tables of a file.

    Raises:
        PaperError: naming file, table, row and field, and what would be right.
    """
    try:
        said = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PaperError(f"{file}: {error}") from None
    sources = {
        name: _made(Source, it, f"{file}: source {name!r}") for name, it in _section(said, "sources", file).items()
    }
    for name, source in sources.items():
        if source.kind not in KINDS:
            raise PaperError(f"{file}: source {name!r}: kind {source.kind!r} is none of {', '.join(KINDS)}")
    tables = {
        name: _table(name, {**it, "paper": file.stem}, sources, f"{file}: table {name!r}")
        for name, it in _section(said, "tables", file).items()
    }
    rest = {name: it for name, it in said.items() if name not in ("sources", "tables")}
    return _made(Paper, {**rest, "name": file.stem, "sources": sources, "tables": tables}, str(file))


def _section(said: Mapping[str, Any], name: str, file: Path) -> Mapping[str, Any]:
    found = said.get(name)
    if not isinstance(found, dict) or not all(isinstance(it, dict) for it in found.values()):
        raise PaperError(f"{file}: [{name}.NAME] sections are missing")
    return found


def _table(name: str, said: Mapping[str, Any], sources: Mapping[str, Source], place: str) -> Table:
    rows = said.get("rows")
    if not isinstance(rows, list) or not rows:
        raise PaperError(f"{place} has no [[tables.{name}.rows]]")
    made = tuple(_row(it, sources, f"{place}, row {it.get('name', index + 1)!r}") for index, it in enumerate(rows))
    names = [row.name for row in made]
    if double := [it for it in names if names.count(it) > 1]:
        raise PaperError(f"{place} has two rows {double[0]!r}")
    conflicts = _conflicts(said, sources, place)
    table: Table = _made(Table, {**said, "name": name, "rows": made, "conflicts": conflicts}, place)
    for conflict in table.conflicts:
        if conflict.metric not in FIELDS:
            raise _astray(place, "field of a conflict", conflict.metric, FIELDS)
    if table.source not in sources:
        raise _astray(place, "source", table.source, sources)
    if table.metric not in METRICS:
        raise _astray(place, "metric", table.metric, METRICS)
    _check_views(table.views, place)
    return table


def _check_views(views: str, place: str) -> None:
    if views and not VIEWS.fullmatch(views):
        raise PaperError(f"{place}: views {views!r} must be clips x crops, such as '4x3'")


def _row(said: Mapping[str, Any], sources: Mapping[str, Source], place: str) -> Row:
    values = {metric: _value(it, f"{place}, {metric}") for metric, it in said.get("values", {}).items()}
    conflicts = _conflicts(said, sources, place)
    row: Row = _made(Row, {**said, "values": values, "sources": said.get("sources", {}), "conflicts": conflicts}, place)
    for metric in (*row.values, *row.sources):
        if metric not in METRICS:
            raise _astray(place, "metric", metric, METRICS)
    for metric in (*row.sources, *(it.metric for it in conflicts if it.metric not in FIELDS)):
        if metric not in METRICS:
            raise _astray(place, "metric", metric, (*METRICS, *FIELDS))
        if metric not in row.values:
            raise PaperError(f"{place}: {metric} has a source or a conflict and no value")
    for source in row.sources.values():
        if source not in sources:
            raise _astray(place, "source", source, sources)
    _check_views(row.views, place)
    return row


def _conflicts(said: Mapping[str, Any], sources: Mapping[str, Source], place: str) -> tuple[Conflict, ...]:
    found = tuple(_made(Conflict, it, f"{place}, conflict") for it in said.get("conflicts", ()))
    for conflict in found:
        if conflict.source not in sources:
            raise _astray(place, "source", conflict.source, sources)
    return found


def _value(said: object, place: str) -> float | None:
    if said == NOT_AVAILABLE:
        return None
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise PaperError(f"{place}: {said!r} is neither a number nor {NOT_AVAILABLE!r}")
    return said


def _made(kind: type, said: Mapping[str, Any], place: str) -> Any:
    """A dataclass from a section, whose fields must be its own and of their types."""
    known = {it.name: it.type for it in fields(kind)}
    for name, value in said.items():
        if name not in known:
            raise _astray(place, "field", name, known)
        right = known[name]
        if isinstance(right, type) and right in (str, int, bool) and type(value) is not right:
            raise PaperError(f"{place}: {name} must be of type {right.__name__}, not {value!r}")
    try:
        return kind(**said)
    except TypeError as error:
        raise PaperError(f"{place}: {error}") from None


def _astray(place: str, what: str, name: str, valid: Iterable[str]) -> PaperError:
    return PaperError(f"{place}: unknown {what} {name!r}; closest: {', '.join(closest(name, valid)) or 'none'}")
