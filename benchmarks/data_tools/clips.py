"""The clips of a network, by its name."""

from zoo.card import ClipSpec


def clip_of(name: str) -> ClipSpec:
    """How videos become clips for an architecture, or for released weights.

    Raises:
        UnknownNameError: for a name that nothing has.
    """
    from zoo.registry import get_architecture, get_card, has_tag

    return get_card(name).clip if has_tag(name) else get_architecture(name).clip


def frames_needed(spec: ClipSpec) -> int:
    """Fewest frames of a video in which a clip repeats none.

    Shorter videos are read all the same, with frames repeated (`zoo.data.sampling`).
    """
    if spec.sampling in ("dense", "strided", "vjepa"):
        return (spec.num_frames - 1) * spec.stride + 1
    return spec.num_frames
