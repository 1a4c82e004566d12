"""Rows of papers' tables beside what the zoo knows of their weights: whether one can be run, and what it is."""

from benchmarks.paper_flops import PER_VIEW, gflops_of, network_of
from benchmarks.paper_tables import EFFICIENCY, Row, Table
from zoo.card import Card, ClipSpec
from zoo.catalogue import licence_of
from zoo.registry import architectures, released


def card_of(row: Row) -> Card | None:
    """The card of a row's weights; None where none were released."""
    return released()[row.card] if row.card else None


def why_not(row: Row, table: Table) -> str:
    """Why the zoo cannot measure a row, in a sentence; "" when it can."""
    if table.reported_only:
        return table.reported_only
    if table.protocol == EFFICIENCY:
        return ""
    card = card_of(row)
    if card is not None:
        return card.missing or _other_clips(row, card)
    if not row.ours:
        return "it is quoted from elsewhere, without weights that the zoo knows"
    return "no weights of it were released"


def _other_clips(row: Row, card: Card) -> str:
    """What the clips of a row have that those of its weights have not; "" where they agree."""
    frames, side = card.clip.num_frames, card.clip.img_size
    if (row.frames or frames, row.resolution or side) == (frames, side):
        return ""
    asked = f"{row.frames or frames} frames of {row.resolution or side} px"
    return f"it was evaluated on clips of {asked}, and `zoo eval` takes those of its weights, {frames} of {side} px"


def other_size(row: Row, clip: ClipSpec) -> str:
    """How a network's clips are not those that a row prints."""
    pairs = {"frames": (row.frames, clip.num_frames), "px": (row.resolution, clip.img_size)}
    odd = [
        f"{printed} {unit}, and its clips have {own}"
        for unit, (printed, own) in pairs.items()
        if printed not in (0, own)
    ]
    return f"the row prints {'; '.join(odd)}" if odd else ""


def num_views(row: Row, table: Table) -> int | None:
    """Views of a video, clips x crops; None where not said."""
    views = table.views_of(row)
    if not views:
        return None
    clips, crops = views.split("x")
    return int(clips) * int(crops)


def total_gflops(row: Row, table: Table) -> tuple[float | None, bool]:
    """GFLOPs of a view times its views, and whether they are printed; otherwise the zoo counts them in the backbone."""
    one, views, network = row.values.get(PER_VIEW), num_views(row, table), network_of(row, table)
    if views is None or (one is None and network is None):
        return None, False
    if one is not None or network is None:
        return (one or 0.0) * views, True
    return gflops_of(*network) * views, False


def parameters(row: Row, table: Table) -> tuple[float | None, bool]:
    """Parameters in millions, and whether they are printed; otherwise those that the zoo counts in the backbone."""
    if (printed := row.values.get("params_m")) is not None:
        return printed, True
    network = network_of(row, table)
    known = architectures().get(network[0]) if network else None
    return (known.parameters / 1e6, False) if known and known.parameters else (None, False)


def licence(row: Row) -> str:
    """Licence of a row's weights, or of the code where none is stated; "" where there are none."""
    card = card_of(row)
    return licence_of(card)[0] if card else ""
