"""Where the zoo keeps files on this machine."""

import os
from pathlib import Path

from backbones.folders import cache_root

__all__ = ["cache_root", "weights_folder"]


def weights_folder(name: str, cache: str | Path | None = None) -> Path:
    """Folder of the released weights `architecture.tag`: the file, its record and its golden output.

    Args:
        name: of the card.
        cache: in place of `cache_root()`.
    """
    root = Path(os.path.expanduser(cache)) if cache is not None else cache_root()
    return root / "weights" / name
