"""The published trainings behind the rows of papers' tables."""

from benchmarks.evaluation import AS_IS
from benchmarks.paper_tables import Row, Table
from benchmarks.suites.table import SUITES
from zoo.recipes.catalogue import TRAININGS, get_training, recipe_for
from zoo.recipes.training import Training

# Protocol of a table -> kind of the training that ends in its numbers; nobody published how their linear probes and
# those of few videos were trained.
KINDS = {AS_IS: ("finetune", "probe"), "finetune": ("finetune",), "attentive": ("probe",), "attentive4": ("probe",)}


def recipes_of(table: Table, row: Row) -> tuple[Training, ...]:
    """The trainings that may have made a row's numbers; several where the sources contradict each other.

    It is the one that the row names, or that made its card; otherwise those of the paper's family on this suite and
    task, from the same weights, on clips of as many frames. Without weights or frames nothing can be told.

    Raises:
        UnknownNameError: for a row with the name of a training that does not exist.
    """
    if row.recipe:
        return (get_training(row.recipe),)
    if table.protocol == AS_IS and row.card:
        made = recipe_for(row.card)
        return (made,) if made else ()
    start, kinds = row.card or row.start, KINDS.get(table.protocol, ())
    if not row.ours or not row.frames or table.suite not in SUITES:
        return ()
    task = table.task_of(row) or SUITES[table.suite].tasks[0].name
    found = [
        it
        for it in TRAININGS.values()
        if (it.family, it.suite, it.clip.num_frames) == (table.paper, table.suite, row.frames)
        and it.kind in kinds
        and _depth(table.protocol, it)
        and it.task in ("", task)
        and (not start or it.start == start)
    ]
    # Networks of several kinds are several systems, of which the row is one.
    return tuple(found) if len({it.architecture for it in found}) == 1 else ()


def _depth(protocol: str, training: Training) -> bool:
    """Whether a probe has one block where the protocol has one, and several where it has four."""
    form = training.classifier
    if form is None or form.kind != "attentive" or protocol == AS_IS:
        return True
    return (form.depth > 1) == (protocol == "attentive4")


def command_words(trainings: tuple[Training, ...]) -> str:
    """The commands that train so; "" for none."""
    return " or ".join(f"zoo {it.kind} {it.name}" for it in trainings)
