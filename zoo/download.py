"""One file from one address over http(s): whole and checked, or not there at all.

The bytes go to a hidden `.part` file beside the target, named after the address too. A small file beside it keeps what
the server said (length, ETag), so that a broken download goes on where it stopped, if the server still has the same
file. Only a part of the announced length that passes the caller's check is flushed to disk and renamed.
The caller holds a lock, so that nobody else writes the same part.
"""

import hashlib
import ipaddress
import os
import shutil
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from zoo.weight_cache import read_json, write_json
from zoo.weight_files import CheckpointError

CHUNK = 2**20
TIMEOUT_S = 30.0  # without a byte, or with fewer than SLOWEST per second
SLOWEST = 1000.0  # bytes per second
ATTEMPTS = 3  # without a step forward
PAUSE_S = 1.0  # before the second attempt; doubled for each further one
NO_SUCH_RANGE = 416
AGAIN = (408, 425, 429)  # answers of a server that asks for patience; so are all from 500 on


class DownloadError(RuntimeError):
    """Why one address did not give the file.

    Attributes:
        unreachable: the server was not reached, so that nothing is known about the file.
        again: it may work the next time.
    """

    def __init__(self, reason: str, *, unreachable: bool = False, again: bool = False) -> None:
        super().__init__(reason)
        self.unreachable = unreachable
        self.again = again


class _RangeError(DownloadError):
    """The server cannot go on where the part ends."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How careful a download is.

    Attributes:
        timeout_s: seconds without progress after which a connection is given up.
        allow_loopback: accept servers on this machine and in private networks; for tests.
        any_length: accept a server that does not say how long the file is, because its hash is known.
        progress: show a bar on standard error.
    """

    timeout_s: float = TIMEOUT_S
    allow_loopback: bool = False
    any_length: bool = False
    progress: bool = True


def download(url: str, target: Path, *, check: Callable[[Path], None], rules: Rules | None = None) -> None:
    """Fetch a file that must not be there yet.

    Args:
        url: its address.
        target: its place; the folder exists.
        check: is shown the complete file before it gets its name, and raises DownloadError if that is the wrong one.
        rules: how careful to be.

    Raises:
        DownloadError: saying what the server did, or what the disk said.
    """
    rules = rules or Rules()
    check_address(url, allow_loopback=rules.allow_loopback)
    part = target.with_name(f".{target.name}.{hashlib.sha256(url.encode()).hexdigest()[:10]}.part")
    with _bar(target.name, rules) as bar:
        _repeat(lambda: _attempt(url, part, rules, bar), part)
    try:
        check(part)
    except DownloadError:
        # It is complete and wrong: no later attempt can make it right.
        _forget(part)
        raise
    try:
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise _disk_error(part, error) from None
    _forget(part)


def _repeat(attempt: Callable[[], None], part: Path) -> None:
    """Try again while there is hope; attempts that bring the file further do not count."""
    failures, best = 0, _size(part)
    while True:
        try:
            return attempt()
        except DownloadError as error:
            if isinstance(error, _RangeError):
                # The next attempt, in this call or a later one, begins at the beginning.
                _forget(part)
            failures = 0 if _size(part) > best else failures + 1
            best = max(best, _size(part))
            if not error.again or failures >= ATTEMPTS:
                raise
        time.sleep(PAUSE_S * 2 ** max(0, failures - 1))


def check_address(url: str, *, allow_loopback: bool = False) -> None:
    """Refuse addresses that are not of the public web.

    Raises:
        DownloadError: for another scheme than http and https, and for hosts on this machine or in private networks.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in ("http", "https") or not host:
        raise DownloadError(f"{url!r} is not an http(s) address")
    if not allow_loopback and not _is_public(host):
        raise DownloadError(f"{url!r} leads to this machine or a private network, where no released weights are")


def _is_public(host: str) -> bool:
    """Whether a host may be on the public web; names are not resolved."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        pass
    # What is left of numbers are the odd spellings of addresses: 127.1, 0x7f000001.
    last = host.rstrip(".").rpartition(".")[2].lower()
    return last != "localhost" and not last[:1].isdigit()


class _Redirects(HTTPRedirectHandler):
    """Follows to other public http(s) addresses only, and never from https to http."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """The request to go on with; called by urllib."""
        try:
            check_address(newurl, allow_loopback=self.rules.allow_loopback)
            if req.type == "https" and urlsplit(newurl).scheme != "https":
                raise DownloadError("the server leads from https to http")
        except DownloadError as error:
            fp.close()
            raise DownloadError(f"refused redirect: {error}") from None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _attempt(url: str, part: Path, rules: Rules, bar: "_Bar") -> None:
    """One connection: from the beginning, or from where the part ends."""
    known = _known(part)
    done, total = _size(part), known.get("total")
    if not known.get("validator") or total is None or done > total:
        done = 0
    if total is not None and done == total:
        return
    # Servers count compressed bytes, and no file of weights gets smaller by it.
    request = Request(url, headers={"User-Agent": "video-backbone-zoo", "Accept-Encoding": "identity"})  # noqa: S310
    if done:
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", known["validator"])
    with _open(request, rules) as response:
        _refuse_pages(response)
        done, total = _place(response, done, total)
        if total is None and not rules.any_length:
            raise DownloadError("the server does not say how long the file is, so that a cut one would not be noticed")
        _prepare(part, response, done, total)
        bar.begin(done, total)
        _receive(response, part, done, total, rules, bar)


def _open(request: Request, rules: Rules) -> HTTPResponse:
    """The server's answer, if it is a file.

    Raises:
        DownloadError: for every other answer, and for none.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        HTTPErrorProcessor(),
        _Redirects(rules),
    ):
        opener.add_handler(handler)
    try:
        response: HTTPResponse = opener.open(request, timeout=rules.timeout_s)
    except HTTPError as error:
        error.close()
        again = error.code in AGAIN or error.code >= 500
        if error.code == NO_SUCH_RANGE and request.has_header("Range"):
            raise _RangeError("the server has no such range of the file", again=True) from None
        raise DownloadError(f"the server answers {error.code} {error.reason}", again=again) from None
    except (URLError, HTTPException, OSError) as error:
        raise _connection_error(error) from None
    return response


def _connection_error(error: Exception) -> DownloadError:
    reason = error.reason if isinstance(error, URLError) else error
    hopeless = isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError)
    text = "it takes too long to answer" if isinstance(reason, TimeoutError) else f"not reachable ({reason})"
    return DownloadError(text, unreachable=True, again=not hopeless)


def _refuse_pages(response: HTTPResponse) -> None:
    """Refuse web pages and compressed answers.

    Raises:
        DownloadError: saying which.
    """
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise DownloadError("the server answers with a web page in place of the file")
    if (encoding := response.headers.get("Content-Encoding", "identity").lower()) not in ("identity", ""):
        raise DownloadError(f"the server sends it compressed ({encoding}), so that its length is not known")


def _place(response: HTTPResponse, done: int, total: int | None) -> tuple[int, int | None]:
    """Where the body begins in the file, and how long the file is; None when the server does not say.

    Raises:
        DownloadError: for a range nobody asked for.
    """
    length = response.headers.get("Content-Length", "").strip()
    if response.status == 206:
        wanted = f"bytes {done}-{(total or 0) - 1}/{total}"
        if not done or response.headers.get("Content-Range", "").strip().lower() != wanted:
            raise _RangeError(f"the server sends another range than {wanted!r}", again=bool(done))
        return done, total
    if response.status != 200:
        raise DownloadError(f"the server answers {response.status} {response.reason}")
    return 0, int(length) if length.isdigit() else None


def _prepare(part: Path, response: HTTPResponse, done: int, total: int | None) -> None:
    """Make the part and the note beside it agree with what comes.

    Raises:
        DownloadError: when the disk is full or closed.
    """
    try:
        if not done:
            # First the bytes, then the note: a crash in between leaves an old note with no bytes, which is harmless.
            open(part, "wb").close()
            etag, date = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
            # A weak ETag does not promise equal bytes, so that no range may hang on it (RFC 9110, 13.1.5).
            validator = (etag if not etag.startswith("W/") else "") or date
            write_json(_note(part), {"validator": validator, "total": total})
        free = shutil.disk_usage(part.parent).free
    except OSError as error:
        raise _disk_error(part, error) from None
    if total is not None and total - done > free:
        raise DownloadError(f"{(total - done) / 1e6:,.0f} MB are to come and {free / 1e6:,.0f} MB are free on the disk")


def _receive(response: HTTPResponse, part: Path, done: int, total: int | None, rules: Rules, bar: "_Bar") -> None:
    """Append the body to the part.

    Raises:
        DownloadError: when it is shorter or longer than announced, when it stalls, and when it cannot be written.
    """
    announces_end = total is not None and response.will_close
    if announces_end:
        # Python's reader stops at the announced length; only the end of the connection tells that no more was sent.
        response.length = None
    watch = _Watch(rules.timeout_s)
    with open(part, "ab", buffering=0) as file:
        while total is None or done < total:
            chunk = _read(response, CHUNK if total is None else min(CHUNK, total - done))
            if not chunk:
                break
            _write(file, chunk, part)
            done += len(chunk)
            watch.tell(len(chunk))
            bar.advance(len(chunk))
    if total is not None and done < total:
        raise DownloadError(f"the connection broke after {done:,} of {total:,} bytes", again=True)
    if announces_end and _sends_more(response):
        _forget(part)
        raise DownloadError(f"the server sends more than the {total:,} bytes that it announced")


def _read(response: HTTPResponse, count: int) -> bytes:
    try:
        return response.read1(count)
    except TimeoutError:
        raise DownloadError("the server stopped sending", again=True) from None
    except (HTTPException, OSError) as error:
        raise DownloadError(f"the connection broke ({error or type(error).__name__})", again=True) from None


def _sends_more(response: HTTPResponse) -> bool:
    try:
        return bool(response.read1(1))
    except (HTTPException, OSError):
        return False


def _write(file: Any, chunk: bytes, part: Path) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _disk_error(part, error) from None


class _Watch:
    """Gives up a connection that trickles."""

    def __init__(self, window_s: float) -> None:
        self.window_s, self.since, self.count = window_s, time.monotonic(), 0

    def tell(self, count: int) -> None:
        """Note received bytes.

        Raises:
            DownloadError: when too few came in a whole window.
        """
        self.count += count
        passed = time.monotonic() - self.since
        if passed < self.window_s:
            return
        if self.count < SLOWEST * passed:
            raise DownloadError(f"the server sends {self.count / passed:.0f} bytes per second", again=True)
        self.since, self.count = time.monotonic(), 0


class _Bar:
    """One line of progress on standard error."""

    def __init__(self, progress: Progress, name: str) -> None:
        self.progress, self.task = progress, progress.add_task(name, total=None)

    def __enter__(self) -> "_Bar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, done: int, total: int | None) -> None:
        """A connection starts at byte `done`."""
        self.progress.update(self.task, completed=done, total=total)

    def advance(self, count: int) -> None:
        """Some bytes have come."""
        self.progress.update(self.task, advance=count)


def _bar(name: str, rules: Rules) -> _Bar:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    return _Bar(Progress(*columns, TimeRemainingColumn(), console=console, disable=not rules.progress), name)


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _known(part: Path) -> dict[str, Any]:
    """What the server said about the part that is there; empty when nothing sound is known."""
    try:
        note = read_json(_note(part)) or {}
    except CheckpointError:
        return {}
    sound = isinstance(note.get("validator"), str) and isinstance(note.get("total"), int)
    return note if sound and part.exists() else {}


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _disk_error(part: Path, error: OSError) -> DownloadError:
    free = shutil.disk_usage(part.parent).free / 1e6 if part.parent.is_dir() else 0.0
    text = f"{part.parent} cannot be written ({error.strerror or error}); {free:,.0f} MB are free there"
    return DownloadError(f"{text}. The environment variable ZOO_CACHE names another folder")
