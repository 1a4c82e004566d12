"""Plots of a table as SVG to put into a page: no fonts, links or colours of their own.

Colours are written as CSS variables, so the page decides between light and dark. Every system keeps its colour, marker
and place in all plots; pretrained rows are filled and solid, random-weights twins hollow and dashed.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.formats import cost_of_clip, percent
from benchmarks.results import RANDOM, Result
from benchmarks.table import Row, Table, Task

# Okabe and Ito's palette for colour-blind readers; the page defines a light and a dark shade of each.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
CONTROL = "#7a7a7a"
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, MUTED, RULE = "#010101", "#020202", "#030303"
PAPER = "#040404"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
    CONTROL: "--control",
    **{color: f"--c{index}" for index, color in enumerate(COLORS)},
}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


# Losses of different objectives do not compare; lines of one style do.
OBJECTIVE_LINES: dict[str, Any] = {
    "mae": "-",
    "lvmae": (0, (6, 1, 1, 1, 1, 1)),
    "umt": "--",
    "vjepa": "-.",
    "self_distillation": ":",
}


class Look(NamedTuple):
    """How a system is drawn everywhere."""

    color: str
    marker: str


def looks_of(names: Sequence[str]) -> dict[str, Look]:
    """Colour and marker of each system, by its place."""
    return {name: Look(COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]) for index, name in enumerate(names)}


def looks(table: Table) -> dict[str, Look]:
    """Colour and marker of each system; controls share one colour."""
    chosen = looks_of(table.systems)
    controls = dict.fromkeys(row.system for row in table.cells if row.control)
    return chosen | {name: Look(CONTROL, marker) for name, marker in zip(controls, ("X", "*", "P"), strict=False)}


@contextmanager
def _styled(name: str) -> Iterator[None]:
    # The salt keeps the ids of one drawing apart from those of the others on the page, and the same in every run.
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with mpl.rc_context(style):
        yield


def drawing(name: str, width: float, height: float, paint: Callable[[Figure], None], *, label: str) -> str:
    """Paint a figure and return its SVG element.

    Args:
        name: unique on the page.
        width: in inches.
        height: in inches.
        paint: draws into an empty figure.
        label: what a screen reader says.
    """
    with _styled(name):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _embeddable(text.getvalue(), label)


def png(width: float, height: float, paint: Callable[[Figure], None]) -> bytes:
    """Paint a figure and return it as a PNG on white, for places that show no SVG.

    Args:
        width: in inches.
        height: in inches.
        paint: draws into an empty figure.
    """
    # What a page would replace by its own shades.
    plain = {"grid.color": "#dddddd", "axes.edgecolor": "#888888", "xtick.color": "#888888", "ytick.color": "#888888"}
    with _styled("png"), mpl.rc_context(plain):  # type: ignore[arg-type]  # matplotlib lists the names of its settings
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=120, facecolor="white", metadata={"Software": None})
    return content.getvalue()


def _embeddable(svg: str, label: str) -> str:
    """Strip what only a file needs: prolog, metadata with its links, fonts, global styles; colours become variables."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'<g id="(?![mp][0-9a-f]{10})[^"]*">', "<g>", svg)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()  # type: ignore[union-attr]
    head = f'<svg class="plot" role="img" aria-label="{label}" style="max-width:{float(width) * 4 / 3:.0f}px"'
    svg = re.sub(r"<svg [^>]*>", f'{head} viewBox="0 0 {width} {height}">', svg, count=1)
    # Newer and older matplotlib write the font differently.
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", svg)
    svg = re.sub(r"font: ([^;\"']*?[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg


def accuracies(table: Table) -> str:
    """Dots with 95 % intervals, one panel per task; a twin stands beside each of its pretrained rows."""
    look, names = looks(table), lines(table)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(table.tasks), sharey=True, squeeze=False)[0]
        for axes, task in zip(panels, table.tasks, strict=True):
            _accuracy_panel(axes, table, task, names, look)
        panels[0].set_yticks(range(len(names)), list(names))
        panels[0].set_ylim(len(names) - 0.5, -0.6)

    height = 1.1 + 0.42 * len(names)
    return drawing("accuracies", 3.5 * len(table.tasks), height, paint, label="Accuracy of each system on each task")


def lines(table: Table) -> dict[str, list[Row]]:
    """Name of a line in a plot -> its rows: a pretrained one with its twin, a twin or a control alone."""
    found: dict[str, list[Row]] = {}
    taught = {row.system for row in table.cells if row.pretrained}
    for row in table.cells:
        if row.pretrained or row.system not in taught:
            twin = Row(row.system, RANDOM, False)
            found[row.name] = [row, twin] if row.pretrained and twin in table.cells else [row]
    return found


def _accuracy_panel(axes: Axes, table: Table, task: Task, names: dict[str, list[Row]], look: dict[str, Look]) -> None:
    axes.set_title(task.name)
    axes.set_xlim(0, 100)
    axes.set_xlabel("accuracy in %")
    axes.axvline(100 * task.chance, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)))
    if task.ceiling is not None and task.ceiling > task.chance:
        axes.axvline(100 * task.ceiling, color=MUTED, linewidth=1.2, linestyle=(0, (1, 2)))
    for line, row in ((line, row) for line, rows in enumerate(names.values()) for row in rows):
        cells = table.cells[row]
        interval = cells[task.name].accuracy if task.name in cells else None
        if interval is None:
            continue
        style, filled = look[row.system], row.pretrained or row.control
        place = line + (0.0 if row.control else -0.13 if row.pretrained else 0.13)
        axes.plot([100 * interval.low, 100 * interval.high], [place, place], color=style.color, linewidth=2)
        face = style.color if filled else PAPER
        axes.plot(100 * interval.value, place, style.marker, color=style.color, markerfacecolor=face, markersize=7)


def gains(table: Table) -> str:
    """Pretrained minus random-weights twin, in points."""
    look = looks(table)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(table.tasks), sharey=True, sharex=True, squeeze=False)[0]
        rows = list(table.gains)
        for axes, task in zip(panels, table.tasks, strict=True):
            axes.set_title(task.name)
            axes.set_xlabel("points")
            axes.axvline(0, color=MUTED, linewidth=1.2)
            for place, row in enumerate(rows):
                if task.name not in table.gains[row]:
                    continue
                gap, style = table.gains[row][task.name].difference, look[row.system]
                axes.plot([100 * gap.low, 100 * gap.high], [place, place], color=style.color, linewidth=2)
                axes.plot(100 * gap.value, place, style.marker, color=style.color, markersize=7)
        panels[0].set_yticks(range(len(rows)), [row.name for row in rows])
        panels[0].set_ylim(len(rows) - 0.5, -0.6)

    height = 1.1 + 0.36 * len(table.gains)
    label = "Accuracy gained by pretraining, in points, with 95 % intervals"
    return drawing("gains", 3.5 * len(table.tasks), height, paint, label=label)


COSTS = (
    ("gflops", "GFLOPs per clip (forward)"),
    ("clips_per_s", "clips per second (forward)"),
    ("inference_mib", "peak memory, forward (MiB)"),
    ("training_mib", "peak memory, training step (MiB)"),
)


def costs(table: Table) -> str:
    """Four costs against the number of frames."""
    return costs_of({name: cost.details["points"] for name, cost in table.costs.items()}, looks(table), COSTS)


def costs_of(
    points: Mapping[str, Sequence[Mapping[str, Any]]], look: Mapping[str, Look], panels: Sequence[tuple[str, str]]
) -> str:
    """Four costs against the number of frames, both axes logarithmic.

    Args:
        points: system -> its points, each with "frames" and the costs.
        look: how systems are drawn.
        panels: costs and the titles of their panels.
    """

    def paint(figure: Figure) -> None:
        drawn = figure.subplots(2, 2, squeeze=False).ravel()
        for axes, (name, title) in zip(drawn, panels, strict=True):
            frames: set[int] = set()
            for system, measured in points.items():
                # Not measured, or less memory than the meter resolves: no place on a logarithmic axis.
                known = [(point["frames"], point[name]) for point in measured if point[name]]
                frames.update(length for length, _ in known)
                style = look[system]
                x, y = zip(*known, strict=True) if known else ((), ())
                axes.plot(x, y, marker=style.marker, color=style.color, label=system)
            axes.set_title(title)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log" if frames else "linear")
            axes.set_xticks(sorted(frames), [str(length) for length in sorted(frames)])
            axes.set_xlabel("frames")
            _plain_numbers(axes)
        _legend(figure, drawn[0])

    return drawing("costs", 10.0, 6.6, paint, label="Costs of each system against the number of frames")


def _plain_numbers(axes: Axes) -> None:
    if axes.get_yscale() == "log":  # otherwise less than a decade would have no number at all
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, max(1, len(labels))))


def trade_off(table: Table) -> str:
    """Mean accuracy over tasks against FLOPs; areas show the number of parameters."""
    look = looks(table)
    entries = []
    for row, cells in table.cells.items():
        values = [cell.accuracy.value for cell in cells.values() if cell.accuracy is not None]
        gflops = cost_of_clip(table, row.system, "gflops")
        if not row.control and gflops is not None and len(values) == len(table.tasks):
            entries.append(
                (row, gflops, 100 * sum(values) / len(values), table.costs[row.system].details["parameters"])
            )

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for row, gflops, accuracy, count in entries:
            style = look[row.system]
            face = style.color if row.pretrained else PAPER
            size = (4 + 9 * (count / max(entry[3] for entry in entries)) ** 0.5) ** 2
            axes.scatter(gflops, accuracy, s=size, marker=style.marker, facecolor=face, edgecolor=style.color)
            if row.pretrained:
                axes.annotate(row.name, (gflops, accuracy), xytext=(9, 5), textcoords="offset points", fontsize=9)
        axes.set_xlabel("GFLOPs per clip")
        axes.set_ylabel("mean accuracy over tasks in %")
        axes.margins(x=0.25, y=0.2)

    return drawing("trade", 6.4, 3.8, paint, label="Mean accuracy against GFLOPs")


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Mean over the last `window` values, fewer at the start."""
    return [sum(values[max(0, at - window + 1) : at + 1]) / min(window, at + 1) for at in range(len(values))]


def learning(table: Table) -> str:
    """Pretraining loss as a share of its start, and training loss on each task."""
    look = looks(table)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 1 + len(table.tasks), squeeze=False)[0]
        panels[0].set_title("pretraining: loss / blank")
        for row, results in table.pretraining.items():
            line = OBJECTIVE_LINES.get(row.init, "-")
            for result in results:
                name = row.name if result is results[0] else None
                _curve(panels[0], result, look[row.system].color, line, name, over="blank_loss")
        for axes, task in zip(panels[1:], table.tasks, strict=True):
            axes.set_title(f"{task.name}: training loss")
            for row, cells in table.cells.items():
                if task.name not in cells:
                    continue
                line = "-" if row.pretrained or row.control else (0, (3, 2))
                for result in cells[task.name].results:
                    _curve(axes, result, look[row.system].color, line, None)
        for axes in panels:
            axes.set_xlabel("step")
        _legend(figure, panels[0])

    return drawing("learning", 3.1 * (1 + len(table.tasks)), 3.3, paint, label="Losses while training")


def _curve(axes: Axes, result: Result, color: str, line: Any, label: str | None, over: str | None = None) -> None:
    """The smoothed loss of a run, divided by another logged value where one is named."""
    needed = {"loss", over} if over else {"loss"}
    points = [
        (entry["step"], entry["loss"] / (entry[over] if over else 1)) for entry in result.curves if needed <= set(entry)
    ]
    if not points:
        return
    steps, losses = zip(*points, strict=True)
    window = max(1, len(losses) // 15)
    axes.plot(steps, smooth(losses, window), color=color, linestyle=line, linewidth=1.5, label=label)


def curve_ends(result: Result) -> str:
    """First and last loss of a run, in words."""
    losses = [entry["loss"] for entry in result.curves if "loss" in entry]
    return f"{losses[0]:.3f} → {sum(losses[-10:]) / len(losses[-10:]):.3f}" if losses else "–"


def confusion_cells(table: Table, row: Row, task: Task) -> list[dict[str, Any]]:
    """Squares of a confusion matrix: place, share of the true class, and what to say about it."""
    cell = table.cells[row][task.name]
    counts = cell.confusion(len(task.classes))
    squares = []
    for true, line in enumerate(counts):
        for predicted, count in enumerate(line):
            if not count:
                continue
            share = count / line.sum()
            said = "right" if true == predicted else f"taken for {task.classes[predicted]}"
            title = f"{task.classes[true]} {said}: {count} of {line.sum()} ({percent(share, 0)} %)"
            squares.append({"x": predicted, "y": true, "share": float(share), "title": title, "hit": true == predicted})
    return squares
