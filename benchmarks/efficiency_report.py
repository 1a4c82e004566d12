"""The report of `zoo efficiency`: markdown for people, JSON for programs, and one HTML page with plots."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from benchmarks.accuracy_costs import drawn, spots
from benchmarks.efficiency_runs import Plan
from benchmarks.figures import COLORS, costs_of, looks_of
from benchmarks.findings import exponent
from benchmarks.report import TEMPLATES, number, replace_file, rich_text
from benchmarks.results import Result

PANELS = (
    ("gflops", "GFLOPs per clip (forward)"),
    ("ms_per_clip", "milliseconds per clip"),
    ("clips_per_s", "clips per second"),
    ("peak_mib_per_clip", "peak memory per clip (MiB)"),
)
GROWTH = {"gflops": "GFLOPs", "ms_per_clip": "time per clip", "peak_mib_per_clip": "peak memory per clip"}
GROWTH_WORDS = "exponents over the longer half of the lengths; 1 is linear, 2 quadratic."
COLUMNS = {
    "frames": "Frames",
    "batch": "Batch",
    "gflops": "GFLOPs",
    "gmacs": "GMACs",
    "latency_ms_p50": "Latency p50 (ms)",
    "latency_ms_p95": "p95 (ms)",
    "clips_per_s": "Clips per s",
    "peak_mib": "Peak (MiB)",
    "held_mib": "Weights and clips (MiB)",
}
CALLS = {"infer": "forward passes", "train": "forward and backward passes"}


def write(plan: Plan, folder: Path, found: Sequence[Result] = ()) -> list[Path]:
    """Write the report of everything that is stored under a plan's settings.

    A report has its settings in its name, and is made from results: one of the same settings is replaced.

    Args:
        plan: what was measured.
        folder: where the report goes.
        found: results of evaluations; those of the plan's networks, at lengths and the size that were measured, are
            drawn against costs.

    Returns:
        The files: markdown, JSON, HTML.
    """
    stored = plan.stored()
    texts = {
        f"{plan.stem}.md": markdown(plan, stored),
        f"{plan.stem}.json": json.dumps(as_json(plan, stored), indent=1, allow_nan=False) + "\n",
        f"{plan.stem}.html": html(plan, stored, found),
    }
    for name, text in texts.items():
        replace_file(folder / name, text)
    return [folder / name for name in texts]


def points_of(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The points of a system."""
    return [result.details["point"] for result in results]


def growth(points: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Exponents of growth with the number of frames, over the longer half of the lengths."""
    return {name: exponent([dict(point) for point in points], name) for name in GROWTH}


def parameters_of(results: Sequence[Result]) -> int | None:
    """Trainable weights of a system at its shortest clip, as far as it could be built."""
    return next((result.details["parameters"] for result in results if result.details["parameters"]), None)


def note_of(point: Mapping[str, Any]) -> str:
    """Why numbers of a point are missing, or are not the whole."""
    left_out = f"GFLOPs leave out {', '.join(point['uncounted'])}" if point["uncounted"] else ""
    return "; ".join(filter(None, (point["note"], left_out)))


def convention(plan: Plan) -> list[str]:
    """What the numbers are, a sentence or two each."""
    asked, setup = plan.request, plan.setup
    precision = "float32" if setup.dtype == "float32" else f"{setup.dtype} by autocast over float32 weights"
    batch = f"{asked.batch or 1}"
    if asked.batches:
        batch = "those of the table"
    if plan.budget_mib is not None:
        batch = f"per point the largest power of two of clips within {plan.budget_mib:,.0f} MiB, weights and clips too"
    each = f", each the mean over {asked.timed_s:g} s of calls" if asked.timed_s else ""
    over = f"over {asked.warm_up_s:g} s of calls" if asked.warm_up_s else "of one such call"
    kernel = {"sdpa": "the kernel that PyTorch chooses", "math": "PyTorch's math kernel, which holds the whole map"}
    return [
        f"Backbones without heads, random weights, clips of {asked.resolution} x {asked.resolution} px, {precision}; "
        f"attention by {kernel[setup.attention]}, selective scan by `{plan.settings['scan']}`, "
        f"{'through' if setup.compiled else 'without'} torch.compile.",
        "GFLOPs: forward pass of one clip by closed forms of every operator, 2 per multiply-add; the selective scan "
        "counts 9 per token, channel, state and direction; elementwise work counts nothing. GMACs: half of it, the "
        "convention of most papers, whose counters often leave out attention's products and scans besides. Operators "
        "without a closed form are named in the notes.",
        f"Latency: {CALLS[asked.mode]} of a batch, {asked.rounds} of each point{each}, the systems in turns; p50 is "
        f"the median, from which clips per second follow. Clips per call: {batch}. Times are {plan.clock}.",
        f"Peak memory: {over} above weights and clips, which have a column of their own; each point in a fresh "
        "process.",
    ]


def circumstances(stored: Mapping[str, Sequence[Result]]) -> dict[str, list[str]]:
    """Where the numbers come from: each kind of circumstance with its different values."""
    results = [result for one in stored.values() for result in one]
    return {
        "Device": sorted({result.device for result in results}),
        "Clock": sorted({result.details["clock"] for result in results}),
        "Versions": sorted({", ".join(f"{key} {it}" for key, it in result.versions.items()) for result in results}),
        "Commit": sorted({result.commit or "outside a checkout" for result in results}),
        "Measured": sorted({min(result.created for result in results), max(result.created for result in results)}),
        "Command": sorted({result.command for result in results}),
    }


def rows(stored: Mapping[str, Sequence[Result]]) -> list[list[str]]:
    """The table as text: system, parameters, the columns, note."""
    found = []
    for name, results in stored.items():
        count = parameters_of(results)
        for point in points_of(results):
            numbers = [number(point[column]) if point[column] else "–" for column in COLUMNS]
            found.append([name, f"{count:,}" if count else "–", *numbers, note_of(point)])
    return found


def growth_rows(stored: Mapping[str, Sequence[Result]]) -> list[list[str]]:
    """System and its exponents."""
    grown = {name: growth(points_of(results)) for name, results in stored.items()}
    return [
        [name, *("–" if it is None else f"{round(it, 2) + 0.0:.2f}" for it in found.values())]
        for name, found in grown.items()
        if any(it is not None for it in found.values())
    ]


def markdown(plan: Plan, stored: Mapping[str, Sequence[Result]]) -> str:
    """The report in markdown."""
    lines = [f"# Efficiency: {', '.join(stored)}", ""]
    lines += _table(["Network", "Parameters", *COLUMNS.values(), "Note"], rows(stored))
    if grown := growth_rows(stored):
        lines += [f"Growth with the number of frames: {GROWTH_WORDS}", ""]
        lines += _table(["Network", *GROWTH.values()], grown)
    for sentence in convention(plan):
        lines += [sentence, ""]
    lines += [f"- {name}: {'; '.join(values)}" for name, values in circumstances(stored).items()]
    return "\n".join([*lines, ""])


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body), ""]


def as_json(plan: Plan, stored: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    """The report for programs."""
    return {
        "settings": {key: value for key, value in plan.settings.items() if key != "frames"},
        "convention": convention(plan),
        "circumstances": circumstances(stored),
        "networks": {
            name: {
                "parameters": parameters_of(results),
                "growth": growth(points_of(results)),
                "points": points_of(results),
            }
            for name, results in stored.items()
        },
    }


def html(plan: Plan, stored: Mapping[str, Sequence[Result]], found: Sequence[Result] = ()) -> str:
    """The page, without any external resource."""
    look = looks_of(list(stored))
    points = {name: points_of(results) for name, results in stored.items()}
    panels = spots(stored, found)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["rich"] = rich_text
    return environment.get_template("efficiency.html.j2").render(
        names=list(stored),
        colors={name: COLORS.index(one.color) for name, one in look.items()},
        plot=Markup(costs_of(points, look, PANELS)),  # noqa: S704 - our own drawing
        accuracy=Markup(drawn(panels, look)) if panels else "",  # noqa: S704 - our own drawing
        head=["Network", "Parameters", *COLUMNS.values(), "Note"],
        rows=rows(stored),
        growth_head=["Network", *GROWTH.values()],
        growth_words=GROWTH_WORDS.capitalize(),
        growth_rows=growth_rows(stored),
        convention=convention(plan),
        circumstances=circumstances(stored),
    )
