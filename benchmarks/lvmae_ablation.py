"""What decoder mask and target of LVMAE are worth on the embedded suite: equal budgets, several seeds.

    python -m benchmarks.lvmae_ablation [--seeds 3] [--out runs/lvmae-ablation] [--results benchmarks/results]

Every variation is a row `vit_pico:lvmae` of `zoo compare --budget quick` with other options, so that runs are stored
one by one, and a stopped command goes on where it was. All variations of a seed share the tokenizer, the student's
first weights, the clips and what the encoder sees; the row with a frozen scorer has a tokenizer of its own. Accuracies
are those of the fine-tuned networks.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks import runners
from benchmarks.budgets import Budget, budget
from benchmarks.execute import execute
from benchmarks.formats import p_words, percent, signed
from benchmarks.metrics import Comparison as Test
from benchmarks.metrics import compare, corrected
from benchmarks.objectives import Lvmae
from benchmarks.plan import Comparison, plan
from benchmarks.processes import prepare_workers
from benchmarks.progress import progress_for
from benchmarks.provenance import Provenance, now, provenance
from benchmarks.report import flat, replace_file
from benchmarks.results import Result, Store
from benchmarks.suite import Suite, Videos
from benchmarks.suites.table import get_suite
from benchmarks.systems import systems
from benchmarks.table import Cell, Row, tabulate
from zoo.data.cache import FrameCache

RESULTS = Path(__file__).parent / "results"
NAME, SYSTEM, OBJECTIVE, PROTOCOL = "lvmae-ablation", "vit_pico", "lvmae", "finetune"
RANDOM_ROW, PRETRAINED_ROW = Row(SYSTEM, "random", False), Row(SYSTEM, OBJECTIVE, False)
TASKS = ("motion", "order")
CODES = "fsq_code"


class Variation(NamedTuple):
    """What a row of the table stands for.

    Attributes:
        strategy: how the decoded tokens are chosen.
        target: what is predicted of them.
        frozen: the tokenizer's scorer stays at its random start.
    """

    strategy: str
    target: str
    frozen: bool = False

    @property
    def cells(self) -> tuple[str, str]:
        """Its first cells in a table."""
        start = ", scorer frozen at its start" if self.frozen else ""
        return self.strategy + start, "codes" if self.target == CODES else self.target

    @property
    def words(self) -> str:
        """As a sentence calls it."""
        return ", ".join(self.cells)


VARIATIONS = (
    *(Variation(strategy, CODES) for strategy in ("random", "uniform_frame", "flow", "learned")),
    *(Variation(strategy, "pixels") for strategy in ("random", "learned")),
    Variation("learned", CODES, frozen=True),
)
# What each is tested against: what is decoded against any tokens, what was not learned against what was, what is
# predicted against codes.
RIVALS = {
    **{Variation(name, CODES): Variation("random", CODES) for name in ("uniform_frame", "flow", "learned")},
    Variation("learned", CODES, frozen=True): Variation("learned", CODES),
    **{Variation(name, "pixels"): Variation(name, CODES) for name in ("random", "learned")},
}


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What is run, where and on what.

    Attributes:
        folder: of the runs.
        suite: the videos' constants, with the tasks that are learned.
        videos: the videos.
        cache: decoded videos.
        spent: the budget whose LVMAE is varied.
        seeds: training seeds.
        told: circumstances to record.
        tasks: of the suite, those that are fine-tuned on; pretraining sees the clips of all.
    """

    folder: Path
    suite: Suite
    videos: Videos
    cache: FrameCache | None
    spent: Budget
    seeds: Sequence[int]
    told: Provenance
    tasks: tuple[str, ...] = TASKS

    def comparison(self, variation: Variation) -> Comparison:
        """A variation as a comparison of one system."""
        return Comparison(
            systems=systems([f"{SYSTEM}:{OBJECTIVE}"], side_px=self.suite.side_px, suite=self.suite.name),
            suite=self.suite,
            videos=self.videos,
            protocol=PROTOCOL,
            budget=varied(self.spent, variation),
            seeds=self.seeds,
        )

    def runs(self, variation: Variation) -> list[Any]:
        """Its runs; the controls guard the suite in `zoo compare`."""
        planned = [run for run in plan(self.comparison(variation)) if run.identity.kind != "control"]
        return [run for run in planned if run.identity.task in ("", *self.tasks)]


def varied(spent: Budget, variation: Variation) -> Budget:
    """A budget whose LVMAE chooses and predicts as a variation does."""
    chosen = spent.pretrain[OBJECTIVE]
    options = lvmae_of(spent)
    lesson = replace(options.tokenizer, frozen_scorer=variation.frozen)
    options = replace(options, strategy=variation.strategy, target=variation.target, tokenizer=lesson)
    return replace(spent, pretrain={**spent.pretrain, OBJECTIVE: replace(chosen, options=options)})


def lvmae_of(spent: Budget) -> Lvmae:
    """Options of LVMAE in a budget.

    Raises:
        TypeError: when they are another objective's.
    """
    options = spent.pretrain[OBJECTIVE].options
    if not isinstance(options, Lvmae):
        raise TypeError(f"the budget's {OBJECTIVE} has options of {type(options).__name__}")
    return options


def carry_out(ablation: Ablation, console: Console, *, jobs: int = 1) -> bool:
    """Run what is missing, variation by variation; False when stopped or a run failed."""
    return all(_vary(ablation, variation, console, jobs) for variation in VARIATIONS)


def _vary(ablation: Ablation, variation: Variation, console: Console, jobs: int) -> bool:
    """The runs of one variation."""
    runs, finished = ablation.runs(variation), Store(ablation.folder / "results").finished()
    if not (todo := [run for run in runs if run.key not in finished]):
        return True
    console.print(f"{variation.words}: {len(todo)} of {len(runs)} runs to do", highlight=False)
    context = runners.Context(
        folder=ablation.folder,
        suite=ablation.suite,
        videos=ablation.videos,
        cache=ablation.cache,
        budget=varied(ablation.spent, variation),
        provenance=ablation.told,
    )
    with progress_for(todo, jobs, console) as listener:
        summary = execute(runs, finished, runners.make_runner, context, jobs=jobs, listener=listener)
    for error in summary.failed.values():
        console.print(error.strip().splitlines()[-1], style="red", highlight=False, markup=False)
    if summary.interrupted:
        console.print("Interrupted. Finished runs are kept; the same command goes on.")
    return not (summary.interrupted or summary.failed)


class Found(NamedTuple):
    """A variation's results.

    Attributes:
        cells: task -> accuracies.
        pretraining: one result per seed; none for random weights.
    """

    cells: Mapping[str, Cell]
    pretraining: Sequence[Result]

    @property
    def explained(self) -> float:
        """Share of the best constant guess's loss that predictions save at the end, mean over seeds."""
        return statistics.mean(it.metrics["explained"].value for it in self.pretraining)


def collect(ablation: Ablation) -> dict[Variation | None, Found]:
    """What each variation reached; under None, random weights. Variations that were not begun are left out.

    Raises:
        ValueError: naming the first run that is missing.
    """
    store = Store(ablation.folder / "results")
    finished, found = store.finished(), dict[Variation | None, Found]()
    for variation in VARIATIONS:
        runs = ablation.runs(variation)
        begun = any(run.key in finished for run in runs if run.identity.init == OBJECTIVE)
        if found and not begun:
            continue
        if missing := [run.label for run in runs if run.key not in finished]:
            raise ValueError(f"{variation.words} is not finished: {missing[0]} is missing; run it again")
        results = [finished[run.key] for run in runs]
        tasks = [ablation.suite.task(name) for name in ablation.tasks]
        table = tabulate(results, store, suite=ablation.suite.name, tasks=tasks)
        found.setdefault(None, Found(table.cells[RANDOM_ROW], ()))
        found[variation] = Found(table.cells[PRETRAINED_ROW], table.pretraining[PRETRAINED_ROW])
    return found


def tests(found: Mapping[Variation | None, Found], tasks: Sequence[str]) -> dict[tuple[Variation, str], Test]:
    """Each variation against its rival, all p-values corrected together."""
    raw: dict[tuple[Variation, str], Test] = {}
    for variation, rival in RIVALS.items():
        for task in tasks if variation in found and rival in found else ():
            mine, theirs = found[variation].cells[task], found[rival].cells[task]
            raw[variation, task] = compare(mine.hits, theirs.hits, scenes=mine.scenes)
    return corrected(raw)


def differences(found: Mapping[Variation | None, Found], variation: Variation, task: str) -> list[float]:
    """Accuracy above the rival's, seed by seed."""
    mine, theirs = (found[it].cells[task].per_seed for it in (variation, RIVALS[variation]))
    return [value - theirs[seed] for seed, value in mine.items()]


def _below(found: Mapping[Variation | None, Found], task: str) -> str:
    """What to say of a task on which every pretraining is worse than none; "" otherwise."""
    means = {it: statistics.mean(row.cells[task].per_seed.values()) for it, row in found.items()}
    blank = means.pop(None)
    if max(means.values()) >= blank:
        return ""
    return f"On {task} **every pretrained row is below random weights** ({percent(blank)} %)."


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation in percent."""
    deviation = f" ± {percent(statistics.stdev(values))}" if len(values) > 1 else ""
    return percent(statistics.mean(values)) + deviation


def markdown(ablation: Ablation, found: Mapping[Variation | None, Found], when: str) -> str:
    """The table, the tests, what they do not show, and the settings."""
    names, seeds = ablation.tasks, len(ablation.seeds)
    lines = [
        "# LVMAE: which tokens are decoded, and what is predicted of them",
        "",
        f"`{SYSTEM}` on the suite `{ablation.suite.name}`, pretrained and then fine-tuned; accuracy in percent, "
        f"mean ± standard deviation over {seeds} seeds (per seed in brackets). Explained: share of the best constant "
        "guess's loss that predictions save in the last steps; it compares within a target alone, and below zero they "
        "are worse than that guess, which knows the batch.",
        "",
        "| decoded tokens | target | " + " | ".join(names) + " | explained |",
        "|---|---|" + "--:|" * (len(names) + 1),
    ]
    for variation, row in found.items():
        cells = [_words(row.cells[name]) for name in names]
        head = ("random weights", "–") if variation is None else variation.cells
        explained = f"{percent(row.explained, 2)} %" if row.pretraining else "–"
        lines.append("| " + " | ".join([*head, *cells, explained]) + " |")
    lines += ["", "Against their rivals, on the same videos, in points (per seed in brackets):", ""]
    steady, compared = 0, tests(found, names)
    for (variation, task), test in compared.items():
        each = differences(found, variation, task)
        said = f"{signed(test.difference.value)} on {task} ({', '.join(map(signed, each))}), {p_words(test.p_value)}"
        lines.append(f"- {variation.words} against {RIVALS[variation].words}: {said}.")
        steady += min(each) > 0 or max(each) < 0
    lines += [
        "",
        "The p-values (sign-flip tests by scene, Holm over all) are about the choice of videos alone, for these "
        f"{seeds} seeds; another seed may move a row by more. {steady} of {len(compared)} differences have one sign "
        f"under all seeds, and by chance {len(compared) / 2 ** (seeds - 1):g} would.",
        *[sentence for name in names if (sentence := _below(found, name))],
        *[f"Not run: {it.words}." for it in VARIATIONS if it not in found],
    ]
    return "\n".join([*lines, "", *notes(ablation, found), "", *_settings(ablation, found, when), ""])


def _words(cell: Cell) -> str:
    values = list(cell.per_seed.values())
    return f"{spread(values)} ({', '.join(percent(value) for value in values)})"


def notes(ablation: Ablation, found: Mapping[Variation | None, Found]) -> list[str]:
    """How to read the numbers."""
    options = lvmae_of(ablation.spent)
    tasks = [ablation.suite.task(name) for name in ablation.tasks]
    videos = {task.name: len(found[None].cells[task.name].rows) for task in tasks}
    psnr = [it.metrics["psnr"].value for it in tokenizers(ablation)]
    chance = ", ".join(f"{percent(task.chance)} % on {task.name}" for task in tasks)
    return [
        f"Chance is {chance}; test videos: {', '.join(f'{count} of {name}' for name, count in videos.items())}. The "
        f"tests look at these videos and {len(ablation.seeds)} seeds; they say nothing about other videos or longer "
        "training.",
        "",
        f"All variations decode {percent(options.share, 0)} % of the tokens. `learned` and `flow` take two thirds of "
        "them by score and one at random; `flow` is the difference of frames, because no weights of RAFT are here; "
        "`uniform_frame` is filled or trimmed to the budget at random. The tokenizers, one per seed (and one more "
        "where the scorer is frozen), reach "
        f"{', '.join(f'{value:.1f}' for value in psnr)} dB on test clips.",
        "",
        "**Too small to conclude:** networks are tiny, tokenizers blurred, clips have nine tokens per slot, and "
        "pretraining stops long before it has converged. For scale: a table of mean codes by place saved 15 to 17 % of "
        "the best constant's loss in a trial (seed 0), and such a table of pixels 3 to 7 %. LVMAE trained ViT-B for "
        "1,600 epochs. Differences below about two standard deviations over seeds are noise, and none here says how "
        "strategies rank on natural video.",
    ]


def tokenizers(ablation: Ablation) -> list[Result]:
    """The tokenizers that all variations share, one per seed."""
    finished = Store(ablation.folder / "results").finished()
    runs = [run for run in ablation.runs(VARIATIONS[0]) if run.identity.kind == "tokenizer"]
    return [finished[run.key] for run in runs if run.key in finished]


def commits(ablation: Ablation, found: Mapping[Variation | None, Found]) -> list[str]:
    """Versions of the code that made the numbers; a run that was stopped may go on under a later one."""
    results = [it for row in found.values() for cell in row.cells.values() for it in cell.results]
    results += [it for row in found.values() for it in row.pretraining] + tokenizers(ablation)
    return sorted({it.commit or "outside a checkout" for it in results})


def _settings(ablation: Ablation, found: Mapping[Variation | None, Found], when: str) -> list[str]:
    """Where the numbers come from."""
    told, chosen = ablation.told, ablation.spent.pretrain[OBJECTIVE]
    recipe, lesson = chosen.recipe, lvmae_of(ablation.spent).tokenizer.recipe
    versions = ", ".join(f"{name} {version}" for name, version in told.versions.items())
    longer = lvmae_of(ablation.spent).longer
    return [
        f"Pretraining: {recipe.steps} steps of {recipe.global_batch} clips of {longer} times the evaluated length; "
        f"tokenizers: {lesson.steps} steps of {lesson.global_batch}. Every setting is in the JSON.",
        f"{when}; {told.device}; {versions}; written at commit {told.commit}, runs at "
        f"{', '.join(commits(ablation, found))}. `{told.command}`",
    ]


def plain(ablation: Ablation, found: Mapping[Variation | None, Found], when: str) -> dict[str, Any]:
    """Everything as plain values."""
    names = ablation.tasks
    return {
        "name": NAME,
        "when": when,
        **asdict(ablation.told),
        "commits_of_runs": commits(ablation, found),
        "suite": ablation.suite.name,
        "protocol": PROTOCOL,
        "seeds": list(ablation.seeds),
        "rows": [
            {
                "strategy": variation.strategy if variation else None,
                "target": variation.target if variation else None,
                "frozen_scorer": variation.frozen if variation else None,
                "accuracy": {name: row.cells[name].per_seed for name in names},
                "test_videos": {name: len(row.cells[name].rows) for name in names},
                "explained": {it.identity.seed: it.metrics["explained"].value for it in row.pretraining},
                "seconds": [it.seconds for it in row.pretraining],
            }
            for variation, row in found.items()
        ],
        "tests": [
            {"row": list(variation), "against": list(RIVALS[variation]), "task": task, **test._asdict()}
            for (variation, task), test in tests(found, names).items()
        ],
        "tokenizers": [
            {
                "seed": it.identity.seed,
                "metrics": {name: value.value for name, value in it.metrics.items()},
                **it.details,
            }
            for it in tokenizers(ablation)
        ],
        "settings": {
            "pretrain": flat(asdict(ablation.spent.pretrain[OBJECTIVE])),
            "finetune": flat(asdict(ablation.spent.evaluate[PROTOCOL])),
        },
    }


def write(ablation: Ablation, folder: Path) -> list[Path]:
    """Write the table as markdown and JSON, from whatever is finished; made anew each time."""
    found, when = collect(ablation), now()
    texts = {
        f"{NAME}.md": markdown(ablation, found, when),
        f"{NAME}.json": json.dumps(plain(ablation, found, when), indent=1) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        replace_file(folder / name, text)
    return [folder / name for name in texts]


def main() -> int:
    """Run what is missing and write the table; 1 when a run failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds (3)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="fine-tuned on (all)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs side by side (all cores)")
    parser.add_argument("--table", action="store_true", help="run nothing, write the table of what is finished")
    parser.add_argument("--out", type=Path, default=Path("runs") / NAME, help="where runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the table is written")
    options = parser.parse_args()
    console = Console(stderr=True)
    prepare_workers()
    suite = get_suite("digits")
    suite = replace(suite, tasks=tuple(suite.task(name) for name in TASKS))
    videos = suite.prepare(None, console.is_terminal)
    ablation = Ablation(
        folder=options.out,
        suite=suite,
        videos=videos,
        cache=videos.cache(progress=console.is_terminal),
        spent=budget("quick"),
        seeds=range(options.seeds),
        told=provenance(threads=1, command=["python", "-m", f"benchmarks.{Path(__file__).stem}", *sys.argv[1:]]),
        tasks=tuple(options.tasks),
    )
    if not options.table and not carry_out(ablation, console, jobs=options.jobs):
        return 1
    for path in write(ablation, options.results):
        console.print(path, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
