"""Our measured numbers beside the printed ones: which result belongs to a cell of a paper's table, and what it says.

    results = Store(Path("runs/eval")).results()
    told = measured(row, table, results)      # None: nobody has measured it
    told.verdict                              # one of VERDICTS
    told.value, told.difference               # in the table's own unit, such as per cent

A result is about a row when it evaluates, on the table's suite and task, the row's card or what one of the published
trainings behind it left here. It is its measurement only if it was made as the row was: protocol, list, frames, views,
sampling, merge rule and the released weights or the training all agree; otherwise the verdict is DIFFERS and `why` says
in what. Results are never averaged or mixed: the best fitting one
counts, of several the newest. `request_of` is the evaluation that makes such a result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from benchmarks.budgets import budget
from benchmarks.evaluation import AS_IS, LOW_SHOT, Network, Request, known, views_of
from benchmarks.paper_recipes import recipes_of
from benchmarks.paper_rows import other_size, why_not
from benchmarks.paper_tables import EFFICIENCY, METRICS, Row, Table
from benchmarks.plan import plain
from benchmarks.results import RANDOM, Interval, Result
from benchmarks.session import RequestError
from benchmarks.suites.table import get_suite
from zoo.registry import get_architecture, get_card

WITHIN, OUTSIDE, INCOMPLETE, DIFFERS = "within interval", "outside", "incomplete", "protocol differs"
VERDICTS = (WITHIN, OUTSIDE, INCOMPLETE, DIFFERS)
FULL = "full"  # the budget that a protocol with training is compared under
# Recorded with the settings of a protocol, and no part of how a system is trained or scored.
_CIRCUMSTANCES = ("precision", "max_bytes", "checkpoint_every", "across_segments", "rule", "question", "augment")


class Measured(NamedTuple):
    """A result beside a printed number.

    Attributes:
        verdict: one of VERDICTS; the first two say whether the printed number lies in the 95 % interval.
        metric: which number, a key of `METRICS`.
        reported: as printed; None where not available.
        value: ours with its 95 % interval, in the printed unit; None where nothing could be scored.
        difference: ours minus the printed one; None where either is missing.
        n_scored: number of videos with a prediction.
        n_expected: number of videos of the list that the paper scored, as far as known.
        why: what is incomplete or differs, or which list was scored; "" for nothing to say.
        result: where it comes from.
    """

    verdict: str
    metric: str
    reported: float | None
    value: Interval | None
    difference: float | None
    n_scored: int
    n_expected: int
    why: str
    result: Result


def request_of(row: Row, table: Table) -> Request:
    """The evaluation that measures a row, without the folder of its videos.

    Raises:
        RequestError: for a row that cannot be measured by one, with the reason.
    """
    if reason := why_not(row, table):
        raise RequestError(f"{row.name}: {reason}")
    if table.protocol == EFFICIENCY:
        raise RequestError(f"{row.name}: costs are measured by `zoo efficiency`")
    return replace(_request(row, table, row.card, table.protocol), pretrained=True)


def _task(row: Row, table: Table) -> str:
    return table.task_of(row) or get_suite(table.suite).tasks[0].name


def _request(row: Row, table: Table, name: str, protocol: str) -> Request:
    """The evaluation of a network as a row has it."""
    views = table.views_of(row)
    clips, crops = (int(it) for it in views.split("x")) if views else (None, None)
    return Request(
        name=name,
        suite=table.suite,
        task=_task(row, table),
        split=table.split,
        protocol=protocol,
        clips=clips,
        crops=crops,
        share=f"{100 * table.share:g}%" if table.share else "",
        budget=FULL,
    )


def measured(row: Row, table: Table, results: Sequence[Result], metric: str = "") -> Measured | None:
    """What we measured for a cell; None for a row that cannot be measured and for one that nobody measured.

    Args:
        row: a row of `table`.
        table: the table.
        results: of one or several stores.
        metric: a number of the row; "" for its headline.
    """
    if table.reported_only or table.protocol == EFFICIENCY:
        return None
    task, name = _task(row, table), metric or table.headline(row)
    about = [
        it
        for it in results
        if it.identity.kind == "evaluate" and (it.identity.suite, it.identity.task) == (table.suite, task)
    ]
    found = [_by_recipe(row, table, it, name) for it in about if it.details.get("made_by")]
    if not why_not(row, table):
        asked = request_of(row, table)
        found += [beside(row, asked, it, name) for it in about if it.identity.system == asked.name]
    return _best([it for it in found if it is not None])


def _best(found: Sequence[Measured]) -> Measured | None:
    order = {WITHIN: 0, OUTSIDE: 0, INCOMPLETE: 1, DIFFERS: 2}
    newest = sorted(found, key=lambda it: it.result.created, reverse=True)
    return min(newest, key=lambda it: order[it.verdict], default=None)


def _by_recipe(row: Row, table: Table, result: Result, metric: str) -> Measured | None:
    """A result of what a training behind a row left; None where it is of another training."""
    made_by = str(result.details["made_by"])
    training = next((it for it in recipes_of(table, row) if made_by.split(" ")[0] == it.name), None)
    if training is None or result.identity.protocol != AS_IS:
        return None
    asked = _request(row, table, training.architecture, AS_IS)
    form = training.classifier or get_architecture(training.architecture).classifier
    network = Network(training.clip, form, 0, (), "", made_by, result.settings.get("weights") or "", training.name)
    told = beside(row, asked, result, metric, network)
    if odd := other_size(row, training.clip):
        told = told._replace(verdict=DIFFERS, why=f"{odd}; {told.why}")
    whose = f"trained by {made_by}"
    return told if whose in told.why else told._replace(why="; ".join(filter(None, (told.why, whose))))


def beside(row: Row, asked: Request, result: Result, metric: str, network: Network | None = None) -> Measured:
    """A result beside a printed number.

    Args:
        row: whose number it is.
        asked: the evaluation that would measure it: `request_of`, or one of weights of one's own.
        result: what was measured.
        metric: a number of the row.
        network: what was to be evaluated; None for what `asked` names.
    """
    reported, unit = row.values.get(metric), METRICS[metric].scale
    # Over the splits of a low-shot evaluation, as papers print it; beside it stands the first split alone.
    over_splits = result.metrics.get(f"{metric}_over_splits")
    shares = over_splits or result.metrics.get(metric) or result.details.get("metrics_of_the_scored", {}).get(metric)
    value = Interval(*(unit * it for it in shares)) if shares else None
    expected, lacks, remark = _extent(asked, result)
    if differences := _differences(asked, result, network):
        verdict, why = DIFFERS, "; ".join(differences)
    elif lacks or value is None:
        verdict, why = INCOMPLETE, lacks or f"the result has no {METRICS[metric].heading}"
    elif reported is None:
        verdict, why = INCOMPLETE, "the printed number is not available"
    else:
        verdict, why = WITHIN if value.low <= reported <= value.high else OUTSIDE, remark
    return Measured(
        verdict=verdict,
        metric=metric,
        reported=reported,
        value=value,
        difference=None if value is None or reported is None else value.value - reported,
        n_scored=result.n_evaluated,
        n_expected=expected,
        why=why,
        result=result,
    )


def _extent(asked: Request, result: Result) -> tuple[int, str, str]:
    """Number of videos that the list should have, what is missing of them, and a remark about the list."""
    suite = get_suite(asked.suite)
    split = asked.split or suite.test_split
    listed = int(result.details.get("listed", result.n_expected))
    sizes = suite.sizes_of(asked.task, split)
    known_as = [whose for whose, length in sizes.items() if length == listed]
    expected = listed if known_as or not sizes else max(sizes.values())
    in_use = ", ".join(f"{length} ({whose})" for whose, length in sizes.items())
    if sizes and listed < min(sizes.values()):
        return expected, f"the list has {listed} videos; lists in use have {in_use}", ""
    if result.n_evaluated < listed:
        words = f"{result.n_evaluated} of {listed} videos were scored"
        # A result with metrics has no more failures than its --tolerate allowed.
        return (expected, "", f"{words}; the others were tolerated") if result.metrics else (expected, words, "")
    if sizes and not known_as:
        return listed, "", f"the list has {listed} videos, as none in use: {in_use}"
    return expected, "", f"list of {', '.join(known_as)}" if len(sizes) > 1 else ""


def _differences(asked: Request, result: Result, network: Network | None) -> list[str]:
    """What a result was made with otherwise than the row, in words."""
    network = network or known(asked)
    suite, settings = get_suite(asked.suite), result.settings
    split, protocol = asked.split or suite.test_split, result.identity.protocol
    found = [*_weights(asked, result, network)]
    if protocol != asked.protocol:
        return [*found, f"protocol {protocol}, not {asked.protocol}"]
    clip, rule = views_of(asked, suite.task(asked.task), network)
    found += _unlike(
        {"split": split, "merge rule": rule}, {"split": settings.get("split"), "merge rule": settings.get("merge")}
    )
    # Flips belong to training.
    wanted = {name: it for name, it in plain(clip.to_dict()).items() if name != "flip"}
    found += _unlike(wanted, settings.get("clip", {}))
    if asked.share:
        used = settings.get("protocol", {}).get("share")
        found += _unlike({"share": asked.share}, {"share": f"{100 * used:g}%" if used else None})
    if protocol not in (AS_IS, LOW_SHOT):
        usual = plain(asdict(budget(FULL).evaluate[protocol]))
        trained = {name: it for name, it in usual.items() if name not in _CIRCUMSTANCES}
        if _unlike(trained, settings.get("protocol", {})):
            found.append(f"trained otherwise than by --budget {FULL}")
    return found


def _unlike(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return [f"{name} {there.get(name)}, not {it}" for name, it in wanted.items() if there.get(name) != it]


def _weights(asked: Request, result: Result, network: Network) -> list[str]:
    if not asked.pretrained:
        if result.settings.get("weights") != network.sha256:
            return ["weights of another file"]
        made_by = result.details.get("made_by", "")
        return [f"trained by {made_by}"] if network.recipe and made_by != network.recipe.split(" ")[0] else []
    card, used = get_card(asked.name), result.settings.get("weights")
    if used in (f"released: {card.name}", card.weights.sha256) and used:
        return []
    return [
        "random weights" if result.identity.init == RANDOM else "weights that are not known to be the released ones"
    ]
