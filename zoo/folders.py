"""Where the zoo keeps files on this machine."""

import os
from pathlib import Path

from backbones.folders import cache_root

__all__ = ["FolderError", "cache_root", "require_writable", "weights_folder"]


class FolderError(OSError):
    """A folder that cannot be written to; the message names the option and the folder."""


def weights_folder(name: str, cache: str | Path | None = None) -> Path:
    """Folder of the released weights `architecture.tag`: the file, its record and its golden output.

    Args:
        name: of the card.
        cache: in place of `cache_root()`.
    """
    root = Path(os.path.expanduser(cache)) if cache is not None else cache_root()
    return root / "weights" / name


def require_writable(option: str, folder: Path) -> None:
    """Make a folder, or say which option to change.

    Args:
        option: that named the folder, such as "--out".
        folder: the folder.

    Raises:
        FolderError: when it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        allowed, reason = os.access(folder, os.W_OK), "writing is not allowed there"
    except OSError as error:
        allowed, reason = False, str(error.strerror)
    if not allowed:
        raise FolderError(f"{option} {folder}: {reason}; give a folder that can be written to")
