"""Whose class is whose: labels of a data set against the rows of a network's classifier, by name."""

from typing import NamedTuple

from torch import nn

from heads.attentive import AttentiveHead
from heads.linear import LinearHead
from zoo.data.label_check import alarm, index_map, near_chance
from zoo.data.labels import LabelError, LabelOrder, order, rows_of_k710
from zoo.model import VideoModel

K710, K710_PARTS = "k710_opengvlab", ("k400", "k600", "k700")


class ClassMap(NamedTuple):
    """Which rows of a classifier stand for the classes of a data set.

    Attributes:
        rows: row of each class, in the data set's order; None where the labels are taken as they are.
        words: how they were found, for a person.
        names: names of the network's classes; empty where nobody knows them.
    """

    rows: tuple[int, ...] | None
    words: str
    names: tuple[str, ...] = ()


def class_map(
    classes: tuple[str, ...],
    names: tuple[str, ...],
    num_rows: int,
    *,
    suite: str,
    num_classes: int,
    order_name: str = "",
) -> ClassMap:
    """Rows of a network's classifier for the classes of a data set.

    Args:
        classes: names of the data set's classes, in the order of its labels; empty where it has none.
        names: names of the network's; empty where unknown.
        num_rows: rows of the classifier.
        suite: name of the data set.
        num_classes: classes of the data set.
        order_name: name of the network's class order (`zoo.data.labels.ORDERS`); empty where it has none.

    Raises:
        LabelError: when the two do not go together.
    """
    if order_name == K710 and suite in K710_PARTS and classes:
        # By index: names of a few classes were edited when Kinetics-710 was put together.
        part = index_map(order(f"{suite}_opengvlab"), LabelOrder(classes))
        rows = rows_of_k710(suite)
        return ClassMap(
            tuple(rows[place] for place in part), f"rows of Kinetics-710 for {suite}, by its index list", ()
        )
    if classes and names:
        found = index_map(LabelOrder(names), LabelOrder(classes), more_classes=len(names) > len(classes))
        if found == list(range(len(names))):
            return ClassMap(None, f"{len(classes)} classes in the network's order", names)
        moved = sum(place != label for label, place in enumerate(found))
        return ClassMap(tuple(found), f"{moved} of {len(classes)} classes have another number in the network", names)
    if num_rows != num_classes:
        raise LabelError(
            f"the network has {num_rows} classes and {suite} has {num_classes}, and without the names of both nobody "
            f"knows which are which; evaluate it with a protocol that trains a head, such as --protocol linear"
        )
    whose = "the network's" if classes else "the data set's"
    return ClassMap(None, f"{num_rows} classes; {whose} names are not known, so labels are taken as they are", names)


def keep_classes(model: VideoModel, rows: tuple[int, ...]) -> VideoModel:
    """The model with some rows of its classifier, in a new order; it is changed.

    Raises:
        LabelError: for a head that has no single classifier.
    """
    if not isinstance(model.head, LinearHead | AttentiveHead) or not isinstance(model.head.linear, nn.Linear):
        raise LabelError(f"rows of a {type(model.head).__name__} cannot be chosen; it has several classifiers or none")
    whole = model.head.linear
    part = nn.Linear(whole.in_features, len(rows), bias=whole.bias is not None, dtype=whole.weight.dtype)
    part.weight.data = whole.weight.data[list(rows)].clone()
    if whole.bias is not None:
        part.bias.data = whole.bias.data[list(rows)].clone()
    model.head.linear, model.head.num_classes = part, len(rows)
    return model


def chance_alarm(predicted: list[int], labels: list[int], classes: tuple[str, ...], found: ClassMap) -> str:
    """What to say of trained weights whose score is near chance; "" when it is not.

    Args:
        predicted: most probable class of each video, as the data set numbers them.
        labels: the true ones.
        classes: names of the data set's classes; empty where unknown.
        found: how they belong to the network's.
    """
    if not labels:
        return ""
    if classes and found.names:
        as_network = predicted if found.rows is None else [found.rows[label] for label in predicted]
        return alarm(as_network, labels, LabelOrder(classes), LabelOrder(found.names))
    accuracy = sum(a == b for a, b in zip(predicted, labels, strict=True)) / len(labels)
    num_classes = len(classes) or max([*predicted, *labels]) + 1
    if not near_chance(accuracy, num_classes, len(labels)):
        return ""
    return (
        f"{accuracy:.1%} of {len(labels)} videos are right, which is near the chance of {1 / num_classes:.1%} that "
        f"{num_classes} classes have ({found.words}). Look for another class order, weights that were not loaded, "
        f"other frames or another normalisation"
    )
