"""Rows of a paper that nobody wrote, and what `zoo eval` would leave for them."""

from dataclasses import asdict

from benchmarks.budgets import budget
from benchmarks.evaluation import known, views_of
from benchmarks.measured import request_of
from benchmarks.paper_tables import Row, Table
from benchmarks.plan import plain
from benchmarks.results import Identity, Interval, Result, digest
from benchmarks.suites.table import get_suite

CARD = "videomamba_tiny.k400_f8_res224"
VIDEOS = 19907  # K400's official validation list


def row(**changes):
    facts = {"name": "tiny", "system": "T", "values": {"top1": 76.9, "top5": None}, "card": CARD}
    return Row(**{**facts, "sources": {}, "conflicts": (), **changes})


def table(*rows, **changes):
    facts = {"name": "k400", "title": "K400", "suite": "k400", "protocol": "as_is", "metric": "top1", "source": "one"}
    return Table(**{"paper": "made_up", **facts, "views": "4x3", "rows": rows, **changes})


def result(line, page, *, top1=(0.769, 0.763, 0.775), listed=VIDEOS, scored=None, created="1", **changes):
    """What `zoo eval` leaves for a row; `changes` are settings, clip fields and fields of the identity."""
    asked = request_of(line, page)
    clip, rule = views_of(asked, get_suite(asked.suite).task(asked.task), known(asked))
    settings = {
        "protocol": plain(asdict(budget("full").evaluate[asked.protocol])) if asked.protocol != "as_is" else {},
        "clip": plain(clip.to_dict()),
        "merge": rule,
        "split": "val",
        "weights": f"released: {asked.name}",
        "metric": "top1",
    }
    for name in list(changes):
        if name in settings["clip"]:
            settings["clip"][name] = changes.pop(name)
        elif name in settings:
            settings[name] = changes.pop(name)
    scored = listed if scored is None else scored
    who = {"kind": "evaluate", "system": asked.name, "init": "weights-released", "suite": asked.suite}
    who |= {"task": asked.task, "split_hash": "s", "protocol": asked.protocol, "seed": 0, **changes}
    return Result(
        identity=Identity(**who, settings_hash=digest(settings)),
        settings=settings,
        metrics={"top1": Interval(*top1)} if scored == listed else {},
        n_expected=scored,
        n_evaluated=scored,
        details={"listed": listed, "metrics_of_the_scored": {"top1": list(top1)}},
        created=created,
    )
