"""The table as text: markdown for people, CSV for programs, LaTeX (booktabs) for papers."""

import csv
import io
from collections.abc import Sequence

from benchmarks.results import Interval
from benchmarks.sheets import latex_text
from benchmarks.table import Row, Table, Task, start_words

CSV_COLUMNS = (
    "suite", "task", "system", "init", "control", "protocol", "metric", "accuracy", "low", "high", "chance", "seeds",
    "n_expected", "n_evaluated", "n_failed", "parameters", "seconds", "commit", "file",
)  # fmt: skip

TOLERATED = "†"


def percent(value: float, digits: int = 1) -> str:
    """A share as a percentage without its sign, such as 0.937 -> "93.7"."""
    return f"{100 * value:.{digits}f}"


def spread(interval: Interval) -> str:
    """The ends of an interval in percent."""
    return f"{percent(interval.low)} to {percent(interval.high)}"


def metric_words(task: Task) -> str:
    """What a task's numbers are, where they are not the usual top-1 accuracy."""
    return {"mean_class": "mean of classes, ", "recall5": "recall at 5, "}.get(task.metric, "")


UNITS = {
    "psnr": "dB",
    "blank_psnr": "dB",
    "ssim": "",
    "bits_per_pixel": "",
    "entropy_bits": "bits per code",
    "bits_per_code": "",
    "lpips": "",
    "rfvd": "",
}  # of numbers that are no shares and have no interval


def number_words(name: str, interval: Interval) -> str:
    """A metric with the ends of its interval: a share in percent, anything else as it is."""
    if name in UNITS:
        return f"{interval.value:.4g} {UNITS[name]}".rstrip()
    if name == "mse":
        return f"{interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g})"
    return f"{percent(interval.value, 2)} % ({percent(interval.low, 2)} to {percent(interval.high, 2)})"


def signed(value: float) -> str:
    """A difference in percentage points with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def p_words(p_value: float) -> str:
    """A p-value as papers print it."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def parameters(table: Table, row: Row) -> int | None:
    """Trainable weights of a row's network, as far as known."""
    for cell in table.cells[row].values():
        for result in cell.results:
            if "parameters" in result.details:
                return int(result.details["parameters"])
    return None


def cost_of_clip(table: Table, system: str, name: str) -> float | None:
    """A cost of a system for a clip of its own length, as far as measured."""
    cost, frames = table.costs.get(system), table.clip_frames.get(system)
    points = cost.details["points"] if cost else []
    return next((point[name] for point in points if point["frames"] == frames), None)


def markdown(table: Table) -> str:
    """The table in markdown; FLOPs are those of a clip of the system's own length."""
    head = ["System", "Start", "Parameters", "Frames", "GFLOPs"]
    head += [f"{task.name} ({metric_words(task)}chance {percent(task.chance, 0)})" for task in table.tasks]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(head) - 2)]
    for row, cells in table.cells.items():
        number = parameters(table, row)
        gflops = cost_of_clip(table, row.system, "gflops")
        entry = [
            row.system,
            "control" if row.control else start_words(row.init),
            f"{number:,}" if number is not None else "",
            str(table.clip_frames.get(row.system, "")),
            f"{gflops:.3f}" if gflops is not None else "",
        ]
        entry += [_markdown_cell(table, row, task) if task.name in cells else "" for task in table.tasks]
        lines.append("| " + " | ".join(entry) + " |")
    return "\n".join([*lines, "", footnote(table), ""])


def _markdown_cell(table: Table, row: Row, task: Task) -> str:
    interval = table.cells[row][task.name].accuracy
    if interval is None:
        return f"incomplete: {len(table.cells[row][task.name].failed)} failed"
    mark = TOLERATED if table.cells[row][task.name].failed else ""
    text = f"{percent(interval.value)} ({spread(interval)}){mark}"
    return f"**{text}**" if rank(table, row, task.name) == 1 else text


def footnote(table: Table) -> str:
    """What the numbers are, in one paragraph."""
    seeds = ", ".join(str(seed) for seed in table.seeds)
    scope = (
        "over test videos and training seeds"
        if len(table.seeds) > 1
        else "over test videos; one training seed, so they say nothing about another training run"
    )
    return (
        f"Accuracy in percent, with 95 % bootstrap intervals {scope} (seeds: {seeds}). "
        f"1 multiply-add = 2 FLOP, one clip of the system's own length, backbone only. "
        f"Bold: the most accurate of a task, where that is above chance.{_tolerated(table)}"
    )


def _tolerated(table: Table) -> str:
    """What the numbers leave out that carry a mark; "" where none does."""
    counts = [
        f"{row.label} on {name} {len(cell.failed)} of {cell.results[0].n_expected}"
        for row, cells in table.cells.items()
        for name, cell in cells.items()
        if cell.accuracy is not None and cell.failed
    ]
    words = "without test videos that could not be scored, as many as the run was told to tolerate"
    return f" {TOLERATED} {words}: {'; '.join(counts)}." if counts else ""


def rank(table: Table, row: Row, task: str) -> int | None:
    """Place of a system on a task, from 1; None for controls, incomplete cells and who is not above chance."""
    chance = table.task(task).chance
    values = {
        other: accuracy.value
        for other, cells in table.cells.items()
        if not other.control and task in cells and (accuracy := cells[task].accuracy) and accuracy.low > chance
    }
    if row not in values:
        return None
    return 1 + sum(value > values[row] for value in values.values())


def comma_separated(table: Table) -> str:
    """One line per system, start and task; files of several seeds are joined by spaces."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row, cells in table.cells.items():
        for task in table.tasks:
            if task.name in cells:
                writer.writerow(_csv_values(table, row, task))
    return text.getvalue()


def _csv_values(table: Table, row: Row, task: Task) -> Sequence[object]:
    cell = table.cells[row][task.name]
    interval: Sequence[object] = cell.accuracy or ("", "", "")
    results = cell.results
    return (
        table.suite,
        task.name,
        row.system,
        row.init,
        int(row.control),
        results[0].identity.protocol,
        task.metric,
        *interval,
        task.chance,
        " ".join(str(seed) for seed in cell.per_seed),
        results[0].n_expected,
        min(result.n_evaluated for result in results),
        len(cell.failed),
        parameters(table, row) or "",
        round(sum(result.seconds for result in results), 2),
        " ".join(sorted({result.commit for result in results})),
        " ".join(result.identity.stem + ".json" for result in results),
    )


def latex(table: Table) -> str:
    """A booktabs table: best system of a task bold, second underlined."""
    columns = "ll" + "r" * len(table.tasks)
    head = " & ".join(["System", "Start", *(latex_text(task.name) for task in table.tasks)])
    chance = " & ".join(["\\textit{chance}", "", *(percent(task.chance) for task in table.tasks)])
    lines = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
    rows = list(table.cells)
    for index, row in enumerate(rows):
        if row.control and index and not rows[index - 1].control:
            lines.append("\\midrule")
        start = "control" if row.control else start_words(row.init)
        entry = [latex_text(row.system), start, *(_latex_cell(table, row, task) for task in table.tasks)]
        lines.append(" & ".join(entry) + " \\\\")
    lines += [f"{chance} \\\\", "\\bottomrule", "\\end{tabular}"]
    return "\n".join([f"% {latex_text(footnote(table))}", *lines, ""])


def _latex_cell(table: Table, row: Row, task: Task) -> str:
    cell = table.cells[row].get(task.name)
    if cell is None:
        return "--"
    if cell.accuracy is None:
        return "incomplete"
    low, high = percent(cell.accuracy.low), percent(cell.accuracy.high)
    value = percent(cell.accuracy.value)
    mark = {1: "\\textbf{%s}", 2: "\\underline{%s}"}.get(rank(table, row, task.name) or 0, "%s")
    tolerated = "$^\\dagger$" if cell.failed else ""
    return f"{mark % value}{tolerated} {{\\scriptsize [{low}, {high}]}}"
