"""The report: one HTML page without any external resource, and the table as markdown, CSV and LaTeX."""

import csv
import io
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from markupsafe import Markup, escape

from benchmarks import cross, figures, formats
from benchmarks.findings import Finding, exponent, findings, ranking
from benchmarks.pictures import Disagreement, FramesOf, Strip, disagreements, strip
from benchmarks.results import Problem, Result, Store
from benchmarks.table import Row, Table, Task, start_words
from zoo.objectives.matrix import TITLES

KIND_WORDS = {
    "teacher": "Teacher",
    "tokenizer": "Tokenizer",
    "evaluate": "Evaluation",
    "pretrain": "Pretraining",
    "control": "Control",
    "cost": "Costs",
}
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, kw_only=True)
class Story:
    """What a report tells.

    Attributes:
        table: accuracies, tests, costs.
        results: every result behind the table.
        store: where their arrays lie.
        budget: name of the budget.
        protocol: name of the evaluation protocol.
        again: command line that makes the same report.
        suite_note: what the suite is, in a sentence or two.
        quirks: what one must know of the suite to read its numbers.
        split_hashes: list -> hash of it and its files.
        failures: label of a run that failed -> last line of its error.
        problems: files in the store that are no results.
        frames_of: reads a test video; None leaves the clips out.
    """

    table: Table
    results: Sequence[Result]
    store: Store
    budget: str
    protocol: str
    again: str
    suite_note: str = ""
    quirks: Sequence[str] = ()
    split_hashes: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    frames_of: FramesOf | None = None


class Line(NamedTuple):
    """One film strip and what it shows."""

    label: str
    system: str
    strip: Strip


def write_report(folder: Path, story: Story) -> list[Path]:
    """Write report.html, table.md, table.csv, table.tex and costs.csv into a folder, replacing older ones.

    Where a backbone was trained under several objectives, also cross.md.

    Reports are made from results and can be made again, so unlike these they are overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.html": render(story),
        "table.md": formats.markdown(story.table),
        "table.csv": formats.comma_separated(story.table),
        "table.tex": formats.latex(story.table),
        "costs.csv": costs_csv(story.table),
        **({"cross.md": cross.markdown(story.table)} if cross.is_worthwhile(story.table) else {}),
    }
    for name, text in texts.items():
        replace_file(folder / name, text)
    return [folder / name for name in texts]


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step, so that nobody opens half a report."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)  # mkstemp's files are for the owner alone
    os.replace(name, path)


def costs_csv(table: Table) -> str:
    """Every cost point, one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [
        "frames", "gflops", "clips_per_s", "clips_per_s_low", "clips_per_s_high", "inference_mib", "training_mib",
        "note",
    ]  # fmt: skip
    writer.writerow(["system", "parameters", *names])
    for system, cost in table.costs.items():
        for point in cost.details["points"]:
            values = ["" if point[name] is None else point[name] for name in names]
            writer.writerow([system, cost.details["parameters"], *values])
    return text.getvalue()


def render(story: Story) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        percent=formats.percent,
        signed=formats.signed,
        p=formats.p_words,
        metric=formats.metric_words,
        rich=rich_text,
        number=number,
        seconds=seconds,
        slug=slug,
    )
    return environment.get_template("report.html.j2").render(context(story))


def context(story: Story) -> dict[str, Any]:
    """Everything that the template prints."""
    table = story.table
    said = findings(table, budget=story.budget)
    said += [Finding("alarm", "A run failed", f"`{label}`: {error}") for label, error in story.failures.items()]
    return {
        "story": story,
        "table": table,
        "findings": said,
        "alarms": [finding for finding in said if finding.tone == "alarm"],
        "winners": {task.name: _winner(table, task) for task in table.tasks},
        "look": figures.looks(table),
        "colors": figures.COLORS,
        "plots": plots(story),
        "rank": lambda row, task: formats.rank(table, row, task),
        "parameters": lambda row: formats.parameters(table, row),
        "cost_of_clip": lambda system, name: formats.cost_of_clip(table, system, name),
        "exponent": exponent,
        "curve_ends": figures.curve_ends,
        "confusion": lambda row, task: figures.confusion_cells(table, row, task),
        "start_words": start_words,
        "titles": TITLES,
        "pair_rows": pair_rows(table),
        "masks_shown": masks_shown(story),
        "mask_notes": mask_notes(table),
        "feature_maps": feature_maps(story),
        "crossed": {task.name: cross.cross(table, task) for task in table.tasks} if cross.is_worthwhile(table) else {},
        "cross_columns": cross.columns(table),
        "cross_note": cross.NOTE,
        "clips": clips(story),
        "commands": sorted({result.command for result in story.results}),
        "settings": settings(story.results),
        "versions": sorted({tuple(sorted(result.versions.items())) for result in story.results}),
        "devices": sorted({result.device for result in story.results}),
        "decoders": sorted({result.decoder for result in story.results if result.decoder}),
        "commits": sorted({result.commit or "outside a checkout" for result in story.results}),
        "texts": {
            "Markdown": formats.markdown(table),
            "CSV": formats.comma_separated(table),
            "LaTeX": formats.latex(table),
        },
        "footnote": formats.footnote(table),
        "tests": tests_used(table),
        "cost_note": cost_note(table),
        "results_folder": story.store.folder,
        "total_seconds": sum(result.seconds for result in story.results),
    }


def _winner(table: Table, task: Task) -> Row | None:
    """The best system of a task; None when nobody is above chance."""
    best = next(iter(ranking(table, task)), None)
    return best if best is not None and formats.rank(table, best, task.name) == 1 else None


def tests_used(table: Table) -> list[str]:
    """Names of the tests behind the p-values."""
    comparisons = [one for pairs in table.pairs.values() for one in pairs.values()]
    comparisons += [one for gains in table.gains.values() for one in gains.values()]
    return sorted({one.test for one in comparisons}) or ["no test"]


def cost_note(table: Table) -> str:
    """How costs were measured."""
    if not table.costs:
        return ""
    protocol = next(iter(table.costs.values())).settings["protocol"]
    return (
        f"FLOPs: forward pass of one clip of {protocol['img_size']} x {protocol['img_size']} px, backbone only, 2 per "
        f"multiply-add (GMACs are half of it), elementwise work not counted. Throughput: median of "
        f"{protocol['rounds']} rounds in which the systems take turns, batches of {protocol['batch_size']}, one "
        f"thread, CPU time where it runs on a CPU. Peak memory: above weights and clips, same batch, a fresh process "
        f"for each point."
    )


def plots(story: Story) -> dict[str, Markup]:
    """All drawings that the results allow."""
    table = story.table
    drawn = {"accuracies": figures.accuracies(table), "learning": figures.learning(table)}
    if table.gains:
        drawn["gains"] = figures.gains(table)
    if table.costs:
        drawn |= {"costs": figures.costs(table), "trade": figures.trade_off(table)}
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 - our own drawings


def pair_rows(table: Table) -> dict[str, dict[str, list[Row]]]:
    """Task -> words for the start -> rows that are tested against each other."""
    found: dict[str, dict[str, list[Row]]] = {}
    for task, pairs in table.pairs.items():
        for first, second in pairs:
            start = "pretrained" if first.pretrained else start_words(first.init)
            rows = found.setdefault(task, {}).setdefault(start, [])
            rows += [row for row in (first, second) if row not in rows]
    return found


def masks_shown(story: Story) -> list[list[Line]]:
    """For each clip: as it is, then what the student of every pretraining was shown, and what it made of it."""
    found: list[list[Line]] = []
    common: tuple[int, ...] = ()
    for row, results in story.table.pretraining.items():
        if "picture" not in results[0].arrays:
            continue
        clip, *panels = story.store.arrays(results[0], "picture").items()
        if not found:
            found, common = [[Line(clip[0], "", strip(frames))] for frames in clip[1]], clip[1].shape
        if clip[1].shape != common:
            panels = [(f"0 clip of {clip[1].shape[1]} frames", clip[1]), *panels]
        for name, clips_of_panel in panels:
            for lines, frames in zip(found, clips_of_panel, strict=True):
                lines.append(Line(f"{row.name}: {name.partition(' ')[2]}", row.system, strip(frames)))
    return found


def mask_notes(table: Table) -> list[str]:
    """What the panels of each objective are, by its own statement."""
    notes = [result.details.get("picture_note", "") for results in table.pretraining.values() for result in results]
    return sorted({str(note) for note in notes if note})


def feature_maps(story: Story) -> dict[str, list[Line]]:
    """Task -> a test clip, and the features of its tokens in every system that was evaluated, as colours."""
    found: dict[str, list[Line]] = {}
    for task in story.table.tasks:
        lines: list[Line] = []
        for row, cells in story.table.cells.items():
            result = cells[task.name].results[0] if task.name in cells else None
            if result is None or "features" not in result.arrays:
                continue
            arrays = story.store.arrays(result, "features")
            if not lines:
                lines.append(Line("clip", "", strip(arrays["clip"])))
            label = row.name if row.pretrained else f"{row.system}, from random weights"
            lines.append(Line(label, row.system, strip(arrays["features"])))
        if lines:
            found[task.name] = lines
    return found


def clips(story: Story) -> dict[str, list[Disagreement]]:
    """Task -> clips that one of its two best systems of one start gets and the other misses."""
    if story.frames_of is None:
        return {}
    found = {}
    for task in story.table.tasks:
        rows = ranking(story.table, task)
        rivals = [row for row in rows[1:] if row.pretrained == rows[0].pretrained]
        if rivals:
            found[task.name] = disagreements(story.table, task, rows[0], rivals[0], story.frames_of)
    return found


def settings(results: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """Heading -> settings, each distinct set once; headings name what the set was for."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        identity = result.identity
        where = f" · {identity.task}" if identity.task else ""
        subject = identity.system if identity.kind == "control" else identity.protocol
        heading = f"{KIND_WORDS[identity.kind]} · {subject}{where}"
        shared = result.settings.get("protocol", result.settings)
        found.setdefault(heading, flat(shared))
    merged: dict[str, dict[str, Any]] = {}
    for heading, values in found.items():
        same = next((other for other, seen in merged.items() if seen == values and _kin(other, heading)), None)
        if same is None:
            merged[heading] = values
        else:
            merged[f"{same}, {heading.rsplit(' · ', 1)[1]}"] = merged.pop(same)
    return merged


def _kin(first: str, second: str) -> bool:
    """Headings that differ in the task alone."""
    return first.split(" · ")[:2] == second.split(" · ")[:2]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def rich_text(text: str) -> Markup:
    """Backticks to code, double stars to strong."""
    safe = (
        str(escape(text))
        .replace(" %", "\u00a0%")
        .replace("p = ", "p\u00a0=\u00a0")
        .replace("p &lt; ", "p\u00a0&lt;\u00a0")
    )
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe))  # noqa: S704 - escaped above


def number(value: float | int | None) -> str:
    """Three significant digits, thousands with separators, a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def seconds(value: float) -> str:
    """A duration as a person says it."""
    if value < 100:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min"


def slug(text: str) -> str:
    """A text as part of an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
