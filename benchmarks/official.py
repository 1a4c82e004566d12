"""Finding the files of an official release below a folder of the user's."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.suite import SuiteError

VIDEO_ENDINGS = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"}


def data_folder(root: Path | None, suite: str) -> Path:
    """The folder that the user named.

    Raises:
        SuiteError: when none was named, or it is not there.
    """
    if root is None:
        raise SuiteError(f"{suite} cannot be downloaded: name the folder that holds its annotations and videos")
    if not root.is_dir():
        raise SuiteError(f"{suite}: there is no folder {str(root)!r}")
    return root


def find(root: Path, places: Sequence[str], *, what: str, source: str) -> Path:
    """The first of several places below a folder that is there.

    Args:
        root: the user's folder.
        places: paths below it, best first; "." for the folder itself.
        what: what is looked for.
        source: where it can be had.

    Raises:
        SuiteError: when none is there, with all of them.
    """
    for place in places:
        if (root / place).exists():
            return root / place
    looked = ", ".join(places)
    raise SuiteError(f"{what} not found below {str(root)!r} (looked for {looked}); they can be had from {source}")


def folder_of(root: Path, places: Sequence[str], names: Iterable[str]) -> Path | None:
    """The first of several folders that holds at least one of some files; None when none does."""
    wanted = list(names)
    return next((root / place for place in places if any((root / place / name).exists() for name in wanted)), None)


def videos_below(folder: Path) -> dict[str, Path]:
    """Video files by name without ending, in a folder and those in it.

    Raises:
        SuiteError: for two files of one name: nothing says which is meant.
    """
    found: dict[str, Path] = {}
    # os.walk: one pass over a tree of ten thousand files, where asking for each would be slow on a network drive.
    for place, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if ending.lower() not in VIDEO_ENDINGS or file.startswith("."):
                continue
            path = Path(place) / file
            if stem in found:
                raise SuiteError(f"{str(found[stem])!r} and {str(path)!r} have one name; keep the right one")
            found[stem] = path
    return found
