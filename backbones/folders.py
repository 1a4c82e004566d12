"""Where the zoo keeps files on this machine."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Where the zoo keeps what it can make or download again: $ZOO_CACHE, or ~/.cache/video-backbone-zoo."""
    return Path(os.environ.get("ZOO_CACHE") or Path.home() / ".cache" / "video-backbone-zoo")
