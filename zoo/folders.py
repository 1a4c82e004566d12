"""Where the zoo keeps files on this machine."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Where the zoo keeps what it can make or download again: $ZOO_CACHE, or ~/.cache/video-backbone-zoo."""
    return Path(os.environ.get("ZOO_CACHE") or Path.home() / ".cache" / "video-backbone-zoo")


def weights_folder(name: str, cache: str | Path | None = None) -> Path:
    """Folder of the released weights `architecture.tag`: the file, its record and its golden output.

    Args:
        name: of the card.
        cache: in place of `cache_root()`.
    """
    root = Path(os.path.expanduser(cache)) if cache is not None else cache_root()
    return root / "weights" / name
