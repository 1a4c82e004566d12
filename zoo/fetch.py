"""The file of a card: found on this machine, or fetched from the first source that gives the right one.

Order: the `local` argument; the folder that $ZOO_WEIGHTS names; the caches of the zoo and of the Hugging Face hub; the
card's sources. Nothing that is found or fetched is used before its kind and, as far as known, its hash are right, and
nothing of the user's is deleted or replaced.
"""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from zoo import cards
from zoo.card import Source, Weights
from zoo.download import TIMEOUT_S, DownloadError, Rules, download
from zoo.folders import weights_folder
from zoo.hub import cached_hub_file, hub_file, sha256_of_blob
from zoo.weight_cache import Expected, expected, mismatch
from zoo.weight_files import CheckpointError, sniff

FOLDER_VARIABLE = "ZOO_WEIGHTS"
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "ZOO_OFFLINE")
SUFFIXES = (".pth", ".safetensors", ".pt", ".bin")  # of files that a person names after the card
_DRIVE = re.compile(r"https://drive\.google\.com/(?:file/d/([\w-]+)|(?:open|uc)\?(?:.*&)?id=([\w-]+))")
_logger = logging.getLogger(__name__)


class FetchError(CheckpointError):
    """Released weights that cannot be had.

    Attributes:
        unreachable: no source could even be asked, as without a network.
    """

    unreachable: bool = False

    def __str__(self) -> str:
        return f"cannot get the weights {self.path!r}: {self.reason}"


def fetch(
    weights: Weights,
    name: str,
    *,
    local: str | Path | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
    timeout_s: float = TIMEOUT_S,
    allow_loopback: bool = False,
) -> Path:
    """Path of a card's file, with the right kind and the right hash as far as one is known.

    Args:
        weights: the file.
        name: of the card, `architecture.tag`.
        local: this file, or the file of that name in this folder, in place of every source.
        cache: folder in place of `zoo.folders.cache_root()`.
        progress: show a bar while downloading.
        timeout_s: seconds without a byte after which a server is given up.
        allow_loopback: accept servers on this machine; for tests.

    Raises:
        FetchError: naming every source and what it said, or the file whose hash is wrong.
        CheckpointError: when the local file is no file of weights.
    """
    wanted = expected(weights, name, cache)
    found = _given(weights, name, local) if local is not None else find(weights, name, cache=cache)
    if found is not None:
        _check_found(found, name, wanted)
        return found
    if variable := offline():
        raise _error(weights, name, [f"it is not on this machine, and {variable} forbids to look elsewhere"], True)
    rules = Rules(timeout_s=timeout_s, allow_loopback=allow_loopback, any_length=bool(wanted.sha256), progress=progress)
    reasons, unreachable = [], True
    for source in weights.sources:
        try:
            return _get(source, name, weights_folder(name, cache), wanted, rules)
        except DownloadError as error:
            _logger.warning("%s: %s: %s", name, words(source), error)
            reasons.append(f"{words(source)}: {error}")
            unreachable &= error.unreachable
    raise _error(weights, name, reasons or ["the card names no source"], bool(reasons) and unreachable)


def offline() -> str:
    """The setting that forbids to use the network, such as "HF_HUB_OFFLINE=1"; empty when none does."""
    values = {name: os.environ.get(name, "") for name in OFFLINE_VARIABLES}
    return next((f"{name}={it}" for name, it in values.items() if it.upper() in ("1", "ON", "YES", "TRUE")), "")


def find(weights: Weights, name: str, *, cache: str | Path | None = None) -> Path | None:
    """The card's file on this machine, unchecked; None when it is nowhere.

    Raises:
        FetchError: when $ZOO_WEIGHTS is no folder.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        given = Path(os.path.expanduser(folder))
        if not given.is_dir():
            raise FetchError(name, f"{FOLDER_VARIABLE} names {folder!r}, which is no folder")
        if found := _in_folder(given, weights, name):
            return found
    own = (weights_folder(name, cache) / file_name(source, name) for source in weights.sources)
    hub = (cached_hub_file(source) for source in weights.sources if source.hf_repo)
    return next((path for path in (*own, *hub) if path is not None and path.exists()), None)


def file_name(source: Source, name: str) -> str:
    """What a source calls the file; the card's name where that is not known."""
    path = source.hf_file if source.hf_repo else unquote(urlsplit(source.url).path)
    return (PurePosixPath(path).name if not _DRIVE.match(source.url) else "") or f"{name}.pth"


def words(source: Source) -> str:
    """A source in one line."""
    return f"hf:{source.hf_repo}/{source.hf_file}@{source.hf_revision}" if source.hf_repo else source.url


def _given(weights: Weights, name: str, local: str | Path) -> Path:
    """The file that the user means.

    Raises:
        FetchError: when a folder does not have it.
    """
    path = Path(os.path.expanduser(local))
    if not path.is_dir():
        return path
    if found := _in_folder(path, weights, name):
        return found
    tried = ", ".join(dict.fromkeys(it.relative_to(path).as_posix() for it in _candidates(path, weights, name)))
    raise FetchError(name, f"the folder {str(local)!r} has none of {tried}")


def _in_folder(folder: Path, weights: Weights, name: str) -> Path | None:
    return next((path for path in _candidates(folder, weights, name) if path.is_file()), None)


def _candidates(folder: Path, weights: Weights, name: str) -> Iterator[Path]:
    """Where a folder of downloads may have the file; names that several released files share need their folder."""
    for source in weights.sources:
        file = file_name(source, name)
        yield folder / name / file
        if not _shared(file, source):
            yield folder / file
    for suffix in SUFFIXES:
        yield folder / f"{name}{suffix}"


def _shared(file: str, source: Source) -> bool:
    """Whether another released file has this name too, such as "k400-probe.pth.tar"."""
    every = ((it, card.name) for card in cards.CARDS for it in card.weights.sources)
    mine = [card.name for card in cards.CARDS if source in card.weights.sources]
    return any(file_name(it, card) == file and it != source and card not in mine for it, card in every)


def _check_found(path: Path, name: str, wanted: Expected) -> None:
    """Refuse a file that is none of weights or not the one that the card or an earlier load knows.

    Raises:
        CheckpointError: naming the file.
    """
    sniff(path)
    try:
        wrong = mismatch(path, wanted) or _blob_mismatch(path)
    except OSError as error:
        raise CheckpointError(path, f"it cannot be read ({error.strerror})") from None
    if wrong:
        advice = "it is damaged, or another file. Move it away to have it downloaded again"
        raise FetchError(name, f"{str(path)!r} is refused: {wrong}: {advice}")


def _blob_mismatch(path: Path) -> str:
    """How a file in the hub's cache differs from the hash that the hub gave; empty for all others."""
    wanted = sha256_of_blob(path)
    return mismatch(path, Expected(wanted, "", "the Hugging Face hub")) if wanted else ""


def _get(source: Source, name: str, folder: Path, wanted: Expected, rules: Rules) -> Path:
    """The file from one source.

    Raises:
        DownloadError: when the source does not give it.
    """

    def check(path: Path) -> None:
        try:
            sniff(path)
            wrong = mismatch(path, wanted)
        except CheckpointError as error:
            raise DownloadError(error.reason) from None
        except OSError as error:
            raise DownloadError(f"what came cannot be read again ({error.strerror})") from None
        if wrong:
            raise DownloadError(f"another file came: {wrong}")

    if source.hf_repo:
        path = hub_file(source)
        check(path)
        if wrong := _blob_mismatch(path):
            raise DownloadError(f"{str(path)!r} is damaged: {wrong}")
        return path
    target = folder / file_name(source, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{target.name}.lock"):
            if not target.exists():
                download(direct_url(source.url), target, check=check, rules=rules)
            else:
                # Another process was faster.
                check(target)
    except OSError as error:
        advice = "the environment variable ZOO_CACHE names another folder"
        raise DownloadError(f"{folder} cannot be written ({error.strerror or error}); {advice}") from None
    except DownloadError as error:
        if _DRIVE.match(source.url):
            by_hand = "Google Drive gives large files to people only: download it with a browser"
            raise DownloadError(f"{error}. {by_hand}", unreachable=error.unreachable) from None
        raise
    return target


def direct_url(url: str) -> str:
    """Google's page about a file turned into the address of the file itself; every other address as it is."""
    match = _DRIVE.match(url)
    if not match:
        return url
    # "confirm" answers the page that asks whether to go on without a search for viruses.
    return f"https://drive.usercontent.google.com/download?id={match[1] or match[2]}&export=download&confirm=t"


def _alone(path: Path) -> FileLock:
    """A lock that one process holds at a time; the system frees it when a process dies."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        _logger.warning("another process is downloading to %s; waiting for it", path.parent)
    return lock


def _error(weights: Weights, name: str, reasons: list[str], unreachable: bool) -> FetchError:
    """The one error for all sources."""
    lines = "".join(f"\n  {reason}" for reason in reasons)
    files = " or ".join(dict.fromkeys(repr(file_name(it, name)) for it in weights.sources)) or repr(f"{name}.pth")
    if offline():
        lines += "".join(f"\n  a source is {words(source)}" for source in weights.sources)
    error = FetchError(
        name,
        f"{lines}\nDownload {files} by hand and put it into the folder {name!r} of a folder that the environment "
        f"variable {FOLDER_VARIABLE} names; create_model takes it as checkpoint_path beside pretrained=True too",
    )
    error.unreachable = unreachable
    return error
