"""Lists and annotation files beside prepared videos, with the names of the copies."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.data_tools.listing import Listing
from benchmarks.data_tools.options import DataError
from benchmarks.listed import ListedVideos
from zoo.data.records import Record

# What annotations are written in; anything else below the root is not copied.
ANNOTATIONS = (".csv", ".json", ".txt", ".tsv")

# Larger files are no annotations; those of Kinetics 700 are about 100 MB.
LARGEST_BYTES = 1 << 29


def copy_lists(listing: Listing, places: Mapping[str, Path], out: Path, *, force: bool) -> list[Path]:
    """Write lists that name the copies: plain lists, or a suite's annotation files as they lie below its folder.

    Videos whose copy failed stay listed, so that rows and their order are those of the original lists.

    Args:
        listing: the lists.
        places: name -> file of each copy.
        out: folder of the copies.
        force: replace files that are there with another content.

    Returns:
        The files that were written or were there already.

    Raises:
        DataError: a file is there with another content.
    """
    if listing.suite is None:
        texts = {
            out / file.name: _renamed_list(listing, records, file, places, out)
            for file, records in zip(listing.files, listing.lists.values(), strict=True)
        }
    else:
        endings = _endings(places)
        texts = {
            out / file.relative_to(listing.root): _renamed_text(file.read_bytes(), endings)
            for file in _annotations(listing.root, out)
        }
    for file, text in texts.items():
        _write(file, text, force=force)
    return list(texts)


def _renamed_list(
    listing: Listing, records: Sequence[Record], file: Path, places: Mapping[str, Path], out: Path
) -> bytes:
    """A plain list with the names of the copies, below `out`, delimiter and order as they were."""
    first = next(line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()).strip()
    delimiter = "," if re.search(r",\s*[0-9]+$", first) else " "
    lines = []
    for record in records:
        name = places[listing.name_of(record.path)].relative_to(out).as_posix()
        lines.append(f"{_quoted(name)}{delimiter}{record.label}\n")
    return "".join(lines).encode()


def _quoted(name: str) -> str:
    """A name as `read_list` takes it: one that begins with a quote is quoted."""
    return '"' + name.replace('"', '""') + '"' if name.startswith('"') else name


def _endings(places: Mapping[str, Path]) -> dict[str, str]:
    """File name -> file name of its copy, where they differ; without folders."""
    split = [os.path.splitext(os.path.basename(name)) for name in places]
    return {stem + ending: stem + ".mp4" for stem, ending in split if ending != ".mp4"}


def _renamed_text(text: bytes, endings: Mapping[str, str]) -> bytes:
    """Annotations in which every name of a video is that of its copy; names without an ending stay as they are."""
    suffixes = {os.path.splitext(name)[1] for name in endings}
    if not suffixes:
        return text
    # A name ends with its ending, and begins after a delimiter, a quote, a slash or, if need be, a blank.
    pattern = re.compile(r"([^,;\"'/\\\t\r\n]+?)(" + "|".join(re.escape(it) for it in sorted(suffixes)) + r")(?![\w.])")
    decoded = text.decode("utf-8", "surrogateescape")
    return pattern.sub(lambda found: _renamed(found.group(), endings), decoded).encode("utf-8", "surrogateescape")


def _renamed(text: str, endings: Mapping[str, str]) -> str:
    """A text whose end is the longest name of a video, if it is one, with the name of the copy."""
    for start in [0, *(blank.end() for blank in re.finditer(r" ", text))]:
        if text[start:] in endings:
            return text[:start] + endings[text[start:]]
    return text


def _annotations(root: Path, out: Path) -> list[Path]:
    """Annotation files below a folder, without those of the copies where they lie below it too."""
    inside = out.resolve()
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in ANNOTATIONS
        and path.is_file()
        and path.stat().st_size < LARGEST_BYTES
        and not path.resolve().is_relative_to(inside)
    ]


def _write(file: Path, text: bytes, *, force: bool) -> None:
    if file.exists():
        if file.read_bytes() == text:
            return
        if not force:
            raise DataError(f"{str(file)!r} is there with another content; move it away, or replace it with --force")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(text)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def reads_as(listing: Listing, places: Mapping[str, Path], out: Path) -> str:
    """Whether a suite reads the copies where it read the originals; in words what differs, empty where nothing does."""
    if listing.suite is None or not isinstance(listing.videos, ListedVideos):
        return ""
    try:
        copies = listing.suite.prepare(out, False)
        for (task, split), records in listing.lists.items():
            right = [record._replace(path=places[listing.name_of(record.path)].absolute()) for record in records]
            found = [record._replace(path=record.path.absolute()) for record in copies.records(task, split)]
            if found != right:
                return f"the list {task}/{split} names other videos there"
    except (ValueError, OSError) as error:
        return str(error)
    return ""
