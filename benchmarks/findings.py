"""What a table shows, in plain sentences; backticks mark names, double stars what matters."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchmarks.formats import p_words, percent, signed, spread
from benchmarks.results import Result
from benchmarks.table import Row, Table, Task, start_words

SIGNIFICANT = 0.05
LITTLE_EXPLAINED = 0.05
Tone = Literal["good", "bad", "plain", "alarm"]


class Finding(NamedTuple):
    """One sentence or two, and how a reader should take it."""

    tone: Tone
    title: str
    text: str


def findings(table: Table, *, budget: str) -> list[Finding]:
    """Everything worth saying, the alarming first."""
    return [
        *_leaks(table),
        *_incomplete(table),
        *[finding for task in table.tasks if (finding := _best(table, task))],
        *_gains(table, budget),
        *_explained(table, budget),
        *_teachers(table),
        *_tokenizers(table),
        *_longer(table),
        *_guards(table),
        *_growth(table),
        *_caveats(table),
    ]


def _leaks(table: Table) -> list[Finding]:
    return [
        Finding(
            "alarm",
            "The suite leaks",
            f"`{leak.row.system}` reaches {percent(leak.accuracy.value)} % on {leak.task} "
            f"({spread(leak.accuracy)}), above the {percent(leak.ceiling)} % that a system without any sense of order "
            f"can reach at best. **Accuracies on {leak.task} do not measure what they are meant to.**",
        )
        for leak in table.leaks
    ]


def _incomplete(table: Table) -> list[Finding]:
    return [
        Finding(
            "alarm",
            "Videos without a prediction",
            f"{row.label} on {task}: {len(table.cells[row][task].failed)} test videos could not be scored, so it has "
            f"no accuracy.",
        )
        for row, task in table.incomplete
    ]


def ranking(table: Table, task: Task) -> list[Row]:
    """Systems with an accuracy on a task, the best first."""
    rows = [row for row, cells in table.cells.items() if not row.control and task.name in cells]
    rated = [(row, cell.accuracy.value) for row in rows if (cell := table.cells[row][task.name]).accuracy]
    return [row for row, _ in sorted(rated, key=lambda pair: -pair[1])]


def _best(table: Table, task: Task) -> Finding | None:
    """The best system of a task, and whether it can be told apart from the next of the same start."""
    rows = ranking(table, task)
    if not rows:
        return None
    best = rows[0]
    cell = table.cells[best][task.name]
    if cell.accuracy is None:
        return None
    title = f"Best on {task.name}"
    said = f"**{percent(cell.accuracy.value)} %** ({spread(cell.accuracy)})"
    if cell.accuracy.low <= task.chance:
        text = f"Nobody is above chance ({percent(task.chance)} %) at this budget; {_name(best)} has {said}."
        return Finding("bad", title, text)
    text = f"{_name(best)} is best with {said}; chance is {percent(task.chance)} %."
    text += _lead(table, task, best, [row for row in rows[1:] if row.pretrained == best.pretrained])
    return Finding("plain", title, text + _outdone(table, task, cell.accuracy.value))


def _outdone(table: Table, task: Task, best: float) -> str:
    """Controls that do better than every system."""
    better = [
        f" The control `{row.system}` does better: **{percent(accuracy.value)} %**."
        for row, cells in table.cells.items()
        if row.control and task.name in cells and (accuracy := cells[task.name].accuracy) and accuracy.value > best
    ]
    return "".join(better)


def _lead(table: Table, task: Task, best: Row, rivals: Sequence[Row]) -> str:
    """How far the next system of the same start is behind, and whether the test videos can show it."""
    if not rivals:
        return ""
    pair = table.pairs[task.name]
    comparison = pair.get((best, rivals[0])) or pair.get((rivals[0], best))
    if comparison is None:
        return ""
    behind = percent(abs(comparison.difference.value))
    count = len(table.cells[best][task.name].rows)
    verdict = "which these videos can show" if comparison.p_value < SIGNIFICANT else f"too little for {count} videos"
    return f" `{rivals[0].name}` is {behind} points behind ({p_words(comparison.p_value)}), {verdict}."


def _name(row: Row) -> str:
    return f"`{row.system}` ({start_words(row.init)})"


def _gains(table: Table, budget: str) -> list[Finding]:
    """Where pretraining pays, where it does not, where it costs accuracy."""
    groups: dict[str, dict[str, list[str]]] = {"pays": {}, "open": {}, "costs": {}}
    for row, tasks in table.gains.items():
        for task, gain in tasks.items():
            shown = gain.p_value < SIGNIFICANT
            verdict = "open" if not shown else "pays" if gain.difference.value > 0 else "costs"
            groups[verdict].setdefault(row.name, []).append(f"{task} ({signed(gain.difference.value)})")
    found = []
    if groups["pays"]:
        text = f"More accurate than the random-weights twin after equal training: {_by_system(groups['pays'])}."
        found.append(Finding("good", "Where pretraining pays", text))
    if groups["open"]:
        text = (
            f"At the {budget} budget these videos show no difference to the random-weights twin: "
            f"{_by_system(groups['open'])}."
        )
        found.append(Finding("bad", "Where pretraining does not pay", text))
    if groups["costs"]:
        text = f"At the {budget} budget it **lowers** accuracy: {_by_system(groups['costs'])}."
        found.append(Finding("bad", "Where pretraining costs accuracy", text))
    return found


def _explained(table: Table, budget: str) -> list[Finding]:
    """How much of what they had to predict the networks can predict at the end of pretraining."""
    shares = {
        row.name: sum(result.metrics["explained"].value for result in results) / len(results)
        for row, results in table.pretraining.items()
        if all("explained" in result.metrics for result in results)
    }
    text = "Share of the best constant guess's loss that predictions save at the end: {}. "
    little = {name: share for name, share in shares.items() if share < LITTLE_EXPLAINED}
    enough = {name: share for name, share in shares.items() if name not in little}
    found = []
    if enough:
        words = text.format(_shares(enough)) + "Shares compare within an objective alone."
        found.append(Finding("plain", "How far pretraining came", words))
    if little:
        words = text.format(_shares(little)) + f"The {budget} budget is too short to judge them by."
        found.append(Finding("bad", "Pretraining hardly began", words))
    return found


def _shares(shares: Mapping[str, float]) -> str:
    return _listed(
        [f"`{name}` {percent(share)} %" if share > 0 else f"`{name}` none" for name, share in shares.items()]
    )


def _teachers(table: Table) -> list[Finding]:
    """Who taught, and what labels that brought in."""
    by_role: dict[str, list[Result]] = {}
    for result in table.teachers:
        if result.headline:
            by_role.setdefault(result.details["role"], []).append(result)
    found = []
    for role, results in by_role.items():
        reached = _listed([f"`{it.identity.system}` {percent(it.headline.value)} %" for it in results if it.headline])
        chance = percent(1 / results[0].details["classes"])
        text = (
            f"{results[0].details['words']} Accuracy on test videos: {reached} (chance {chance} %). "
            f"All seeds share one teacher."
        )
        found.append(Finding("plain", f"Teacher of {role}", text))
    return found


def _tokenizers(table: Table) -> list[Finding]:
    """How well the codes that were predicted describe a clip, tokenizer by tokenizer, over its seeds."""
    by_kind: dict[tuple[str, str, str], list[Result]] = {}
    for it in table.tokenizers:
        key = (it.details["role"], it.identity.system, it.identity.settings_hash)
        by_kind.setdefault(key, []).append(it)
    found = []
    for (role, name, _), results in by_kind.items():
        clip, means = results[0].settings["clip"], _means(results)
        text = (
            f"`{name}` was trained without labels on the training clips of all tasks, {clip['num_frames']} frames at a "
            f"time, then frozen. On test clips: PSNR {means['psnr']:.1f} dB (the mean frame: {means['blank_psnr']:.1f} "
            f"dB), SSIM {means['ssim']:.2f}, {means['bits_per_pixel']:.3f} bits per pixel, "
            f"{percent(means['codebook_usage'])} % of {results[0].details['codebook_size']:,} codes used, "
            f"{means['entropy_bits']:.1f} of {means['bits_per_code']:.0f} bits of entropy. Weights: "
            + _listed([f"`{it.details['hash'].split()[-1]}`" for it in results])
            + "."
        )
        found.append(Finding("plain", f"Tokenizer of {role}", text))
    return found


def _means(results: Sequence[Result]) -> dict[str, float]:
    """Each metric's mean over results."""
    return {name: sum(it.metrics[name].value for it in results) / len(results) for name in results[0].metrics}


def _longer(table: Table) -> list[Finding]:
    """Systems whose pretraining saw longer clips than the others'."""
    lengths = {
        row: (results[0].settings["clip"]["num_frames"], table.clip_frames.get(row.system))
        for row, results in table.pretraining.items()
    }
    entries = [
        f"`{row.name}` was pretrained on clips of {seen} frames and is evaluated on {own}"
        for row, (seen, own) in lengths.items()
        if own is not None and seen != own
    ]
    if not entries:
        return []
    text = (
        f"{'; '.join(entries)}, as its random-weights twin. Videos with fewer frames than a clip repeat some; learned "
        f"positions in time are interpolated."
    )
    return [Finding("plain", "Longer clips in pretraining", text)]


def _by_system(entries: dict[str, list[str]]) -> str:
    return "; ".join(f"`{system}` on {_listed(tasks)}" for system, tasks in entries.items())


def _listed(entries: Sequence[str]) -> str:
    return ", ".join(entries[:-1]) + " and " + entries[-1] if len(entries) > 1 else "".join(entries)


def _guards(table: Table) -> list[Finding]:
    """That the controls stay where they must; said only when they do."""
    if table.leaks:
        return []
    entries = [
        f"`{guard.row.system}` {percent(guard.accuracy.value)} % on {guard.task} (limit {percent(guard.ceiling)} %)"
        for guard in table.guards
    ]
    if not entries:
        return []
    text = f"Systems without any sense of order stay within what such systems can reach: {_listed(entries)}."
    return [Finding("good", "Order is needed", text)]


def exponent(points: Sequence[dict], name: str) -> float | None:
    """Growth of a cost with the number of frames over the longer half of the sweep: 1 is linear, 2 quadratic.

    The slope of the least-squares line through the logarithms.
    """
    known = [(point["frames"], point[name]) for point in points if point.get(name)]
    half = known[(len(known) - 1) // 2 :]
    if len(half) < 2:
        return None
    frames, costs = np.log(np.array(half, dtype=float)).T
    return float(np.polyfit(frames, costs, deg=1)[0])


def _growth(table: Table) -> list[Finding]:
    """How costs grow with the length of the clip."""
    costs = {system: table.costs[system] for system in table.systems if system in table.costs}
    if not costs:
        return []
    frames = max(point["frames"] for cost in costs.values() for point in cost.details["points"])
    text = f"At {frames} frames: " + "; ".join(
        sentence
        for name, unit, words, least in (
            ("gflops", "GFLOP", "fewest operations", True),
            ("clips_per_s", "clips/s", "highest throughput", False),
            ("training_mib", "MiB", "least training memory", True),
        )
        if (sentence := _extremes(costs, frames, name, unit, words, least))
    )
    grown = [
        f"`{system}` {rate:.2f}"
        for system, cost in costs.items()
        if (rate := exponent(cost.details["points"], "gflops"))
    ]
    text += f". Operations grow with the number of frames to the power of {_listed(grown)}." if grown else "."
    return [Finding("plain", "Longer clips", text)]


def _extremes(costs: dict[str, Result], frames: int, name: str, unit: str, words: str, least: bool) -> str:
    values = {
        system: point[name]
        for system, cost in costs.items()
        for point in cost.details["points"]
        if point["frames"] == frames and point[name] is not None
    }
    if not values:
        return ""
    order = sorted(values, key=lambda system: values[system], reverse=not least)
    text = f"{words} `{order[0]}` ({values[order[0]]:.3g} {unit})"
    return text + (f", against {values[order[-1]]:.3g} of `{order[-1]}`" if len(order) > 1 else "")


def _caveats(table: Table) -> list[Finding]:
    found = []
    if len(table.seeds) == 1:
        text = (
            "Intervals and tests cover the choice of test videos only. Another seed can move small networks by more; "
            "run with `--seeds 3` before drawing conclusions."
        )
        found.append(Finding("plain", "One training seed", text))
    scored = [result for cells in table.cells.values() for cell in cells.values() for result in cell.results]
    commits = sorted({result.commit for result in scored})
    if len(commits) > 1:
        text = f"Results of several versions of the code stand side by side: {', '.join(commits)}."
        found.append(Finding("bad", "Mixed versions", text))
    devices = sorted({result.device for result in scored})
    if len(devices) > 1:
        found.append(Finding("bad", "Mixed machines", f"Results come from {'; '.join(devices)}."))
    return found
