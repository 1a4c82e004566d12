"""Which backbone trains under which objective, and why not where it does not."""

from backbones.contract import Backbone

TITLES = {"mae": "MAE", "lvmae": "LVMAE", "umt": "UMT", "vjepa": "V-JEPA", "self_distillation": "self-distillation"}
OBJECTIVES = tuple(TITLES)
# What each of them leaves out, in the words of a reason why a backbone that computes every token cannot take part.
_DROPPED = {
    "mae": "predicts what the backbone has not seen",
    "lvmae": "predicts codes of what the backbone has not seen",
    "umt": "teaches visible tokens alone",
    "vjepa": "predicts features of what the backbone has not seen",
}


def obstacle(backbone: Backbone, objective: str) -> str:
    """Why a backbone cannot be trained under an objective, in one sentence; "" when it can.

    Raises:
        ValueError: for an unknown objective.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; choose from {', '.join(OBJECTIVES)}")
    if objective in _DROPPED and not backbone.drops_tokens:
        return f"{TITLES[objective]} {_DROPPED[objective]}, and this backbone computes every token of a clip"
    if objective == "lvmae" and not _halves(backbone.tubelet):
        tubelet = " x ".join(map(str, backbone.tubelet))
        return f"LVMAE's tokenizer halves frames and sides, and tokens of {tubelet} pixels are no power of two"
    return ""


def _halves(tubelet: tuple[int, int, int]) -> bool:
    """Whether a tokenizer whose steps halve the sides, some of them also the frames, has codes of this size."""
    frames, height, width = tubelet
    return height == width >= frames and not any(size & (size - 1) for size in tubelet)


def mask_for(backbone: Backbone, preferred: str) -> str:
    """The preferred kind of mask (or truncation of V-JEPA's), or "tube" for who must keep one set in every frame."""
    return "tube" if backbone.needs_tube_masks else preferred


def statement(backbone: Backbone, objective: str) -> str:
    """A cell of the table of backbones and objectives: "trains", how, or why not."""
    reason = obstacle(backbone, objective)
    if reason:
        return f"no: {reason}"
    if backbone.needs_tube_masks and objective in ("umt", "vjepa"):
        return "trains, with tube masks: divided attention needs the same positions in every frame"
    return "trains"
