"""Every printed and every measured number on one page that sorts, filters and draws them: `zoo report --all`.

The page is one HTML file that asks no network for anything. Its rows lie in it as JSON, and `templates/leaderboard.js`
shows them; the address after # holds what was chosen, such as `#suite=ssv2&sort=score`, so that a view can be linked.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from benchmarks import metrics
from benchmarks.comparable import COUNTED, training_of
from benchmarks.figures import COLORS
from benchmarks.measured import DIFFERS, INCOMPLETE, OUTSIDE, WITHIN, Measured, measured
from benchmarks.paper_flops import key_of
from benchmarks.paper_flops import known as counts
from benchmarks.paper_rows import card_of, licence, parameters, total_gflops
from benchmarks.paper_tables import EFFICIENCY, METRICS, Metric, Paper, Row, Table
from benchmarks.report import TEMPLATES
from benchmarks.results import Interval, Result
from benchmarks.side_by_side import Stored
from benchmarks.suites.table import SUITES
from benchmarks.table import start_words
from zoo.card import Card
from zoo.registry import architectures, released

REPORTED, MEASURED = "reported", "measured"
FAMILY_OF_PAPER = {"magvit2": "magvit", "open_magvit2": "magvit"}
QUOTED = "others"
SHRUNK = "a shrunken network, which says nothing about the published one"
HOW = {
    EFFICIENCY: "costs",
    "finetune": "fine-tuned",
    "linear": "frozen, linear probe",
    "attentive": "frozen, attentive probe",
    "attentive4": "frozen, attentive probe of 4 layers",
    "knn": "frozen, nearest neighbours",
    "low_shot": "frozen, attentive probe on few videos",
}
_BEST_FIRST = (WITHIN, OUTSIDE, INCOMPLETE, DIFFERS)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the page.

    Attributes:
        kind: REPORTED or MEASURED.
        key: "paper:table:row" of a printed line, the stem of a result's file of a measured one.
        system: as printed, or the name of a card.
        family: of its network; QUOTED for systems of others.
        suite: with the task, where the suite has several.
        metric: heading and unit of the score.
        score: the headline, in the printed unit.
        interval: ends of the 95 % interval of a measured one; empty otherwise.
        lower: a smaller score is the better one.
        more: further numbers of the line, in words.
        how: how it was trained and evaluated.
        pretraining: as printed; what a measured one started from.
        frames: of a clip; 0 where not said.
        resolution: side of the crop in pixels; 0 where not said.
        views: clips x crops; "" where not said.
        params_m: parameters in millions; None where not known.
        gflops: of all views of a video, one per multiply-add; None where not known.
        licence: of the weights; "" where there are none.
        source: where it is printed, or when and how it was measured.
        source_kind: of a printed one, see `paper_tables.KINDS`; "" otherwise.
        others: other values that the authors print for the score.
        conflicts: where sources disagree, in words.
        remarks: what a reader must know, and what a measurement says of printed lines.
        verdict: of a measured one about the printed line that it fits best; "" where there is none.
        predictions: of a measured one: name of the group of results on the same videos; "" where none were kept.
    """

    kind: str
    key: str
    system: str
    family: str
    suite: str
    metric: str
    score: float
    how: str
    interval: tuple[float, ...] = ()
    lower: bool = False
    more: str = ""
    pretraining: str = ""
    frames: int = 0
    resolution: int = 0
    views: str = ""
    params_m: float | None = None
    gflops: float | None = None
    licence: str = ""
    source: str = ""
    source_kind: str = ""
    others: list[float | str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    verdict: str = ""
    predictions: str = ""


def reported(papers: Iterable[Paper]) -> list[Entry]:
    """A line for every row that has its table's headline."""
    return [
        _reported(paper, table, row)
        for paper in papers
        for table in paper.tables.values()
        for row in table.rows
        if row.values.get(table.headline(row)) is not None
    ]


def _reported(paper: Paper, table: Table, row: Row) -> Entry:
    name = table.headline(row)
    metric, source, card = METRICS[name], paper.sources[table.source_of(row, name)], card_of(row)
    others = [f"{METRICS[it].heading} {_number(value)}" for it, value in row.values.items() if it != name and value]
    differing = [
        f"{it.subject} is {it.value} in {paper.sources[it.source].where}" + (f": {it.note}" if it.note else "")
        for it in table.conflicts_of(row)
    ]
    (count, printed), (gflops, told) = parameters(row, table), total_gflops(row, table)
    ours = [it for it, own in (("parameters", count and not printed), ("GFLOPs", gflops and not told)) if own]
    unavailable = [f"{METRICS[it].heading} not available" for it, value in row.values.items() if value is None]
    return Entry(
        kind=REPORTED,
        key=f"{paper.name}:{table.name}:{row.name}",
        system=row.system,
        family=_family(card, "" if not row.ours else FAMILY_OF_PAPER.get(paper.name, paper.name)),
        suite=_suite(table.suite or table.protocol, table.task_of(row)),
        metric=metric.title,
        score=row.values[name] or 0.0,
        lower=metric.higher_is_better is False,
        more=", ".join(others),
        how=_how(table.protocol, card, table.share),
        pretraining=row.pretraining,
        frames=row.frames,
        resolution=row.resolution,
        views=table.views_of(row),
        params_m=count,
        gflops=gflops,
        licence=licence(row),
        source=source.where,
        source_kind=source.kind,
        others=[it.value for it in table.conflicts_of(row) if it.metric == name],
        conflicts=differing,
        remarks=[
            *([f"{' and '.join(ours)} {COUNTED}"] if ours else []),
            *unavailable,
            *(it for it in (row.note, table.note) if it),
        ],
    )


def found(stored: Sequence[Stored], papers: Iterable[Paper] = ()) -> list[Entry]:
    """A line for every evaluation; of equal runs the first one counts.

    Args:
        stored: results and their stores.
        papers: whose printed lines they are compared with.
    """
    printed: dict[str, list[tuple[str, Table, Row]]] = {}
    for paper in papers:
        for table in paper.tables.values():
            for row in table.rows:
                printed.setdefault(row.card, []).append((f"{paper.name}:{table.name}:{row.name}", table, row))
    points = _points(stored)
    first: dict[str, Stored] = {}
    for one in stored:
        if one.result.identity.kind == "evaluate":
            first.setdefault(one.result.identity.key, one)
    entries = (_measured(one.result, printed.get(one.result.identity.system, []), points) for one in first.values())
    return [entry for entry in entries if entry is not None]


def _measured(
    result: Result, printed: Sequence[tuple[str, Table, Row]], points: Mapping[tuple[str, int, int], float]
) -> Entry | None:
    who, clip = result.identity, result.settings.get("clip", {})
    name, value = _headline(result)
    if value is None:
        return None
    metric = METRICS.get(name, Metric(name, "%", 100.0))
    about = [(key, table, measured(row, table, [result])) for key, table, row in printed if table.suite == who.suite]
    told = sorted(
        ((key, it) for key, _, it in about if it is not None), key=lambda it: _BEST_FIRST.index(it[1].verdict)
    )
    card = released().get(who.system)
    known = architectures().get(who.system.partition(".")[0])
    frames, side = int(clip.get("num_frames", 0)), int(clip.get("img_size", 0))
    views = int(clip.get("clips", 0)) * int(clip.get("crops", 0))
    small = bool(result.details.get("shrunk")) or "(shrunken)" in result.details.get("made_by", "")
    name_of = who.system.partition(".")[0]
    point = points.get((name_of, side, frames)) or (None if small else counts().get(key_of(name_of, frames, side)))
    count = result.details.get("parameters") or (known.parameters if known and not small else None)
    part = result.details.get("no_headline", "")
    return Entry(
        kind=MEASURED,
        key=who.stem,
        system=who.system,
        family=_family(card, known.family if known else ""),
        suite=_suite(who.suite, who.task),
        metric=metric.title,
        score=metric.scale * value.value,
        interval=(metric.scale * value.low, metric.scale * value.high),
        lower=metric.higher_is_better is False,
        how=_how(who.protocol, card, result.settings.get("protocol", {}).get("share") or 0.0),
        pretraining=start_words(who.init),
        frames=frames,
        resolution=side,
        views=f"{clip['clips']}x{clip['crops']}" if views else "",
        params_m=count / 1e6 if count else None,
        gflops=point * views if point and views else None,
        source=", ".join(filter(None, (result.created[:10], result.commit or "outside a checkout", result.device))),
        remarks=[*([SHRUNK] if small else []), *([part] if part else []), *(_against(key, it) for key, it in told)],
        verdict=told[0][1].verdict if told else INCOMPLETE if part else "",
        predictions=_group(result),
    )


def _headline(result: Result) -> tuple[str, Interval | None]:
    """Name and value of what a run is about, also of one that scored a part only."""
    scored = result.metrics or {
        name: Interval(*values) for name, values in result.details.get("metrics_of_the_scored", {}).items()
    }
    name, value = next(iter(scored.items()), ("", None))
    return name.removesuffix("_over_splits"), value


def _against(key: str, told: Measured) -> str:
    """What a measurement says of a printed line."""
    gap = "" if told.difference is None else f", a difference of {told.difference:+.2f}"
    printed = "no number" if told.reported is None else _number(told.reported)
    return f"{told.verdict}: {key} has {printed}{gap}" + (f"; {told.why}" if told.why else "")


def _group(result: Result) -> str:
    """Name of the results whose predictions are of the same videos; "" where it keeps no answers to classes."""
    who = result.identity
    answers = "predictions" in result.arrays and result.settings.get("metric") != "mse"
    return f"{_suite(who.suite, who.task)}, list {who.split_hash[:8]}" if answers else ""


def _points(stored: Sequence[Stored]) -> dict[tuple[str, int, int], float]:
    """(network, side, frames) -> GFLOPs of a clip as papers count them; ours count two per multiply-add."""
    points = {}
    for one in stored:
        said = one.result.details.get("point")
        if one.result.identity.kind == "cost" and said and said["gflops"]:
            settings = one.result.settings
            points[one.result.identity.system, settings["resolution"], settings["frames"]] = said["gflops"] / 2
    return points


def per_class(stored: Sequence[Stored]) -> dict[str, dict[str, Any]]:
    """Group of results on the same videos -> names of classes, videos of each, and right answers of each result.

    Only groups of two or more: one result alone has nothing to differ from.
    """
    groups: dict[str, dict[str, Any]] = {}
    for one in stored:
        result = one.result
        if result.identity.kind != "evaluate" or not (name := _group(result)):
            continue
        arrays = one.store.arrays(result, "predictions")
        labels, probabilities = arrays["labels"].astype(np.int64), arrays["probabilities"]
        size = probabilities.shape[1]
        hits = metrics.correct(probabilities, labels)
        group = groups.setdefault(name, {"classes": _classes(result, labels, size), "systems": {}})
        group["systems"].setdefault(
            result.identity.stem,
            {
                "name": f"{result.identity.system}, {start_words(result.identity.init)}, {result.identity.protocol}, "
                f"seed {result.identity.seed}",
                "hits": np.bincount(labels, weights=hits, minlength=size).astype(int).tolist(),
                "videos": np.bincount(labels, minlength=size).tolist(),
            },
        )
    return {name: group for name, group in groups.items() if len(group["systems"]) > 1}


def _classes(result: Result, labels: np.ndarray, size: int) -> list[str]:
    """Names of classes: those of the suite, or those that the result noted of the classes in its list."""
    who, numbers = result.identity, [str(number) for number in range(size)]
    suite = SUITES.get(who.suite)
    known = next((task.classes for task in suite.tasks if task.name == who.task), ()) if suite else ()
    if len(known) == size:
        return list(known)
    noted, there = list(result.details.get("per_class", {})), np.unique(labels).tolist()
    if len(noted) == len(there):
        for number, name in zip(there, noted, strict=True):
            numbers[number] = name
    return numbers


def page(stored: Sequence[Stored], papers: Sequence[Paper]) -> str:
    """The HTML page of stored results and papers' tables."""
    entries = [*reported(papers), *found(stored, papers)]
    families = sorted({entry.family for entry in entries} - {QUOTED})
    data = {
        "entries": [asdict(entry) for entry in entries],
        "families": [*families, *([QUOTED] if any(entry.family == QUOTED for entry in entries) else [])],
        "colors": len(COLORS),
        "groups": per_class(stored),
    }
    # "</" would end the script that holds it.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("leaderboard.html.j2").render(
        data=Markup(text),  # noqa: S704 - JSON of ours
        papers=papers,
        num_reported=sum(entry.kind == REPORTED for entry in entries),
        num_measured=sum(entry.kind == MEASURED for entry in entries),
    )


def _how(protocol: str, card: Card | None, share: float) -> str:
    """How a line came about, so that lines with the same words were trained alike in kind."""
    training = training_of(protocol, card)
    words = HOW.get(training, training.replace("_", " "))
    return f"{words}: {100 * share:g} %" if share else words


def _family(card: Card | None, otherwise: str) -> str:
    known = architectures().get(card.architecture) if card else None
    return known.family if known else otherwise or QUOTED


def _suite(name: str, task: str) -> str:
    suite = SUITES.get(name)
    several = suite is not None and len(suite.tasks) > 1
    return f"{name} {task or suite.tasks[0].name}" if several and suite is not None else name


def _number(value: float) -> str:
    return f"{value:g}"
