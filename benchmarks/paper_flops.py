"""GFLOPs that papers do not print, counted by the zoo: kept in `papers/counted.json`, so that nobody waits for them.

    python -m benchmarks.paper_flops      # counts again what rows of the papers need, in half a minute

One per multiply-add, as papers count, of one view through the backbone at its published size. VideoMamba's
authors do not count the scan (issues 18, 22 and 89 of OpenGVLab/VideoMamba) and the zoo does, so a counted VideoMamba
looks dearer beside the printed ones: 12.4 and not 9 for the tiny one at 8 frames.
"""

import json
from collections.abc import Iterable
from functools import cache

from backbones.contract import Backbone
from benchmarks.paper_recipes import recipes_of
from benchmarks.paper_tables import FOLDER, Row, Table, papers
from zoo.registry import create_backbone, get_architecture, released

FILE = FOLDER / "counted.json"
PER_VIEW = "gflops_per_view"
MULTIPLY_ADD = 2e9  # FLOPs of a billion


def network_of(row: Row, table: Table) -> tuple[str, int, int] | None:
    """Architecture, frames and side of a row's clips, from its weights or its training; None where neither says."""
    if (card := released().get(row.card)) and not card.missing:
        return card.architecture, row.frames or card.clip.num_frames, row.resolution or card.clip.img_size
    trained = [it for it in recipes_of(table, row) if not row.card]
    if not trained:
        return None
    clip = trained[0].clip
    return trained[0].architecture, row.frames or clip.num_frames, row.resolution or clip.img_size


@cache
def known() -> dict[str, float]:
    """What the file holds: "architecture frames x side" -> GFLOPs of a view."""
    return {name: float(it) for name, it in json.loads(FILE.read_text(encoding="utf-8")).items()}


def key_of(name: str, frames: int, side_px: int) -> str:
    """Name of a count in the file."""
    return f"{name} {frames}x{side_px}"


def gflops_of(name: str, frames: int, side_px: int) -> float:
    """GFLOPs of a view, from the file or counted now."""
    kept = known().get(key_of(name, frames, side_px))
    return kept if kept is not None else counted(name, frames, side_px) / MULTIPLY_ADD


@cache
def counted(name: str, frames: int, side_px: int, shrunken: bool = False) -> int:
    """FLOPs of a clip, a multiply-add being two."""
    # A table that shows what is kept has no need of what measures costs.
    from benchmarks.efficiency import count_flops, one_clip
    from benchmarks.efficiency_runs import Network

    def small(_: int) -> Backbone:
        return create_backbone(name, **get_architecture(name).shrink)

    return count_flops(one_clip(small if shrunken else Network(name, side_px), frames, side_px)).flops


def needed() -> Iterable[tuple[str, int, int]]:
    """The counts that rows of the papers need because nobody prints them."""
    rows = ((row, table) for paper in papers().values() for table in paper.tables.values() for row in table.rows)
    found = {network_of(row, table) for row, table in rows if row.values.get(PER_VIEW) is None}
    return sorted(it for it in found if it is not None)


def main() -> None:
    """Write the file anew."""
    found = {key_of(*one): round(counted(*one) / MULTIPLY_ADD, 3) for one in needed()}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
