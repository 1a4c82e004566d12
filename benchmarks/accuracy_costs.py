"""Accuracy against cost: stored results of networks beside what their clips cost.

A result has a place where a point was measured at the length and size of its clips. Its cost is that of a whole video:
all of its views.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from benchmarks.figures import PAPER, Look, drawing
from benchmarks.results import RANDOM, Interval, Result

COSTS = {"gflops": "GFLOPs per video", "ms_per_clip": "milliseconds per video"}


class Spot(NamedTuple):
    """A result with its costs.

    Attributes:
        system: name of the network.
        pretrained: it did not start from random weights.
        accuracy: the headline metric with its interval.
        costs: name of a cost in a point -> cost of a video.
    """

    system: str
    pretrained: bool
    accuracy: Interval
    costs: dict[str, float]


def spots(stored: Mapping[str, Sequence[Result]], found: Sequence[Result]) -> dict[str, list[Spot]]:
    """What can stand in one panel -> its results; only results that were measured alike share a panel.

    Args:
        stored: system -> its points at one resolution.
        found: results of any kind.
    """
    points = {
        (name, result.settings["resolution"], result.settings["frames"]): result.details["point"]
        for name, results in stored.items()
        for result in results
    }
    panels: dict[tuple[str, str], list[Spot]] = {}
    for result in found:
        who, clip = result.identity, result.settings.get("clip", {})
        point = points.get((who.system, clip.get("img_size"), clip.get("num_frames")))
        if who.kind != "evaluate" or result.headline is None or point is None or not point["gflops"]:
            continue
        views = clip["clips"] * clip["crops"]
        costs = {name: views * point[name] for name in COSTS if point[name]}
        title = f"{who.suite} {who.task}".strip() + f", {who.protocol}: {next(iter(result.metrics))}"
        spot = Spot(who.system, who.init != RANDOM, result.headline, costs)
        panels.setdefault((title, result.protocol_hash), []).append(spot)
    titles = [title for title, _ in panels]
    # Two protocols of one name stay apart, and are told apart by their hashes.
    return {
        title if titles.count(title) == 1 else f"{title} ({protocol[:8]})": panel
        for (title, protocol), panel in panels.items()
    }


def drawn(panels: Mapping[str, Sequence[Spot]], look: Mapping[str, Look]) -> str:
    """A row for each panel: the metric against each cost of a video, both sides of its interval drawn."""

    def paint(figure: Figure) -> None:
        rows = figure.subplots(len(panels), len(COSTS), squeeze=False, sharey="row")
        for (title, panel), axes_of_row in zip(panels.items(), rows, strict=True):
            for (cost, words), axes in zip(COSTS.items(), axes_of_row, strict=True):
                for spot in panel:
                    if cost not in spot.costs:
                        continue
                    style, x, value = look[spot.system], spot.costs[cost], spot.accuracy
                    axes.plot([x, x], [value.low, value.high], color=style.color, linewidth=1.2)
                    face = style.color if spot.pretrained else PAPER
                    axes.plot(x, value.value, style.marker, color=style.color, markerfacecolor=face, markersize=8)
                axes.set_title(title)
                axes.set_xlabel(words)
                axes.set_xlim(left=0)

    return drawing("accuracy", 10.0, 0.4 + 3.0 * len(panels), paint, label="Accuracy against the cost of a video")
