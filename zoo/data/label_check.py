"""Scores against class names: whether the classes of a network and of a data set go together, and whether they did.

A network whose classes stand in another order than the evaluator believes scores near chance without any error. The
names are therefore compared before scoring (`index_map`), and a score near chance afterwards (`alarm`) is held against
every order of these classes that is in public use. Nothing here knows networks: answers and truths are whole numbers.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from zoo.data.labels import ORDERS, LabelError, LabelOrder, known_part

# At most this accuracy is "near chance" where classes are many: UniFormer's users saw 3 % of Kinetics-400 where 81 %
# were due (Sense-X/UniFormer issue 38), twelve times chance.
NEAR = 0.05
# An order explains the answers when they are this much better under it than they were.
EXPLAINS = 3.0


class OrderFit(NamedTuple):
    """How well answers agree with the truth if the network's classes stand in a known order.

    Attributes:
        name: of the order, one of `ORDERS`.
        accuracy: share of right answers, 0 to 1.
        videos: how many could be judged; fewer than all where only a part of the order is known.
    """

    name: str
    accuracy: float
    videos: int


def index_map(model: LabelOrder, dataset: LabelOrder, *, more_classes: bool = False) -> list[int]:
    """Label in the network's order of each class of a data set, by name: `truth = index_map[label]`.

    Args:
        model: the network's classes.
        dataset: the data set's classes.
        more_classes: the network may have classes that the data set lacks (Kinetics-710 on Kinetics-400).

    Raises:
        LabelError: one message that names the classes without a partner.
    """
    try:
        return dataset.places_in(model) if more_classes else dataset.mapping_to(model)
    except LabelError as error:
        raise LabelError(f"the data set's classes are not the network's: {error}") from None


def near_chance(accuracy: float, num_classes: int, num_videos: int) -> bool:
    """Whether a trained network should have scored better than this.

    The bound is one and a half times chance and three standard errors of guessing, and where classes are many 5 %; but
    never closer to 1 than to chance.

    Args:
        accuracy: share of right answers, 0 to 1.
        num_classes: number of classes.
        num_videos: number of videos that were scored.

    Raises:
        ValueError: for numbers that no evaluation gives.
    """
    if not 0 <= accuracy <= 1 or num_classes < 1 or num_videos < 1:
        raise ValueError(f"no accuracy of {num_videos} videos of {num_classes} classes: {accuracy}")
    if num_classes == 1:
        return False
    chance = 1 / num_classes
    noise = 3 * math.sqrt(chance * (1 - chance) / num_videos)
    bound = max(1.5 * chance + noise, min(NEAR, 20 * chance))
    # With few classes and few videos the bound would lie above anything that can be scored.
    return accuracy <= min(bound, (1 + chance) / 2)


def fits(predictions: Sequence[int], truth: Sequence[int], dataset: LabelOrder) -> list[OrderFit]:
    """Accuracy of the same answers under every known order of the data set's classes, best first.

    Args:
        predictions: most probable class of each video, as the network numbers them.
        truth: label of each video, as the data set numbers them.
        dataset: the data set's classes.

    Raises:
        ValueError: when there are not as many answers as labels, and for a label that does not exist.
    """
    if len(predictions) != len(truth):
        raise ValueError(f"{len(predictions)} answers for {len(truth)} labels")
    if wrong := [label for label in truth if not 0 <= label < len(dataset.names)]:
        raise ValueError(f"there is no label {wrong[0]} in a data set of {len(dataset.names)} classes")
    found = []
    for name, fact in ORDERS.items():
        known = known_part(name)
        if known is None or not _alike(known, dataset, whole=len(known.names) == fact.num_classes):
            continue
        place = [known.find(it) for it in dataset.names]
        judged = [
            place[label] == answer for answer, label in zip(predictions, truth, strict=True) if place[label] is not None
        ]
        if judged:
            found.append(OrderFit(name, sum(judged) / len(judged), len(judged)))
    return sorted(found, key=lambda it: -it.accuracy)


def _alike(known: LabelOrder, dataset: LabelOrder, *, whole: bool) -> bool:
    """Whether an order is one of the data set's classes; of a part of an order, whether they could be its rest."""
    smaller, larger = (dataset, known) if whole else (known, dataset)
    return all(larger.find(name) is not None for name in smaller.names)


def alarm(predictions: Sequence[int], truth: Sequence[int], dataset: LabelOrder, model: LabelOrder) -> str:
    """What to say of a trained network whose score is near chance; empty when the score is not.

    Args:
        predictions: most probable class of each video, as the network numbers them.
        truth: label of each video, as the data set numbers them.
        dataset: the data set's classes.
        model: the order that the network's classes are believed to have.

    Raises:
        LabelError: when the network lacks some of the classes.
        ValueError: as `fits`, and when there are no videos.
    """
    place = index_map(model, dataset, more_classes=True)
    if not truth:
        raise ValueError("no video was scored, so there is nothing to judge")
    tried = fits(predictions, truth, dataset)
    accuracy = sum(place[label] == answer for answer, label in zip(predictions, truth, strict=True)) / len(truth)
    classes = len(dataset.names)
    if not near_chance(accuracy, classes, len(truth)):
        return ""
    text = f"{accuracy:.1%} of {len(truth)} videos are right, which is near the chance of {1 / classes:.1%} that "
    text += f"{classes} classes have"
    if not tried:
        return f"{text}. No class order of this data set is known to compare with"
    best = tried[0]
    score = f"{best.accuracy:.1%} of {best.videos} videos"
    if near_chance(best.accuracy, classes, best.videos) or best.accuracy < EXPLAINS * accuracy:
        text += f". It is not the class order: the best known one, {best.name!r}, gives {score}. Look for weights that"
        return text + " were not loaded, other frames or another normalisation"
    text += f". With the class order {best.name!r} the same answers are right for {score}: the network's classes stand "
    return f"{text}in that order, which comes from {ORDERS[best.name].source}"
