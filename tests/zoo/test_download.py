"""What a server or a disk may do to a download: the target is the whole right file, or it is not there."""

import errno
import hashlib
import json
import os
import socket

import pytest

from tests.zoo.loopback import cut, good, in_turn, longer, ranged, redirecting, serving, stalling, trickling
from zoo import download as module
from zoo.download import DownloadError, Rules, check_address, download

BODY = bytes(range(256)) * 1200
HALF = len(BODY) // 2
RULES = Rules(timeout_s=0.3, allow_loopback=True, progress=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "weights.pth"


def check(path):
    if path.read_bytes() != BODY:
        raise DownloadError("another file came")


def get(server, target, route, *, rules=RULES, path="/weights.pth"):
    server.routes[path] = route
    download(server.url(path), target, check=check, rules=rules)


def left(target):
    return sorted(it.name for it in target.parent.iterdir())


def test_a_good_file_arrives_and_nothing_else_stays(server, target):
    get(server, target, good(BODY))
    assert target.read_bytes() == BODY
    assert left(target) == ["weights.pth"]


def chunked(handler):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
    handler.close_connection = True


BAD = {
    "cut": (cut(BODY, HALF), f"broke after {HALF:,} of {len(BODY):,} bytes"),
    "longer": (longer(BODY, b"x"), f"sends more than the {len(BODY):,} bytes"),
    "wrong bytes": (good(BODY[::-1]), "another file came"),
    "stalling": (stalling(BODY, HALF), "stopped sending"),
    "silent": (lambda handler: handler.server.released.wait(5), "takes too long to answer"),
    "trickling": (trickling(BODY), "bytes per second"),
    "html": (good(b"<html>Log in</html>", Content_Type="text/html; charset=utf-8"), "a web page"),
    "404": (lambda handler: handler.send_error(404), "404 Not Found"),
    "500": (lambda handler: handler.send_error(500), "500 Internal Server Error"),
    "204": (good(b"", status=204), "204"),
    "no length": (good(BODY, length="none"), "does not say how long"),
    "compressed": (good(BODY, Content_Encoding="gzip"), r"compressed \(gzip\)"),
    "unasked range": (good(BODY, status=206, Content_Range="bytes 0-9/10"), "another range"),
    "no http": (lambda handler: handler.wfile.write(b"hello\r\n"), "not reachable"),
    "to file:": (redirecting("file:///etc/passwd"), "not allowed"),
    "to ftp:": (redirecting("ftp://example.org/weights.pth"), "refused redirect.*not an http"),
    "to itself": (redirecting("/weights.pth"), "302"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_answer_leaves_no_target_and_says_why(server, target, kind, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 1)
    route, reason = BAD[kind]
    with pytest.raises(DownloadError, match=f"(?s){reason}"):
        get(server, target, route)
    assert not target.exists()


@pytest.mark.parametrize("kind", ["longer", "wrong bytes"])
def test_what_is_complete_and_wrong_is_not_resumed(server, target, kind):
    with pytest.raises(DownloadError):
        get(server, target, BAD[kind][0])
    assert left(target) == []


def test_a_chunked_answer_is_taken_when_its_hash_is_known(server, target):
    with pytest.raises(DownloadError, match="does not say how long"):
        get(server, target, chunked)
    get(server, target, chunked, rules=Rules(any_length=True, allow_loopback=True, progress=False))
    assert target.read_bytes() == BODY


def test_a_good_redirect_is_followed(server, target):
    server.routes["/real"] = good(BODY)
    get(server, target, redirecting("/real"))
    assert target.read_bytes() == BODY


def test_a_redirect_into_a_private_network_is_refused(server, target, monkeypatch):
    # The first address is let through, as if it were public.
    monkeypatch.setattr(module, "_is_public", lambda host: host == "127.0.0.1")
    with pytest.raises(DownloadError, match=r"refused redirect.*private network"):
        get(server, target, redirecting("http://10.0.0.1/weights.pth"), rules=Rules(timeout_s=0.3, progress=False))


def test_a_server_in_trouble_gets_another_chance(server, target):
    get(server, target, in_turn(lambda it: it.send_error(500), lambda it: it.send_error(429), good(BODY)))
    assert target.read_bytes() == BODY
    assert len(server.asked) == 3


def test_a_missing_file_is_asked_for_once(server, target):
    with pytest.raises(DownloadError):
        get(server, target, lambda handler: handler.send_error(404))
    assert len(server.asked) == 1


def test_a_cut_download_goes_on_where_it_stopped(server, target):
    get(server, target, in_turn(cut(BODY, HALF), ranged(BODY)))
    assert target.read_bytes() == BODY
    assert [headers.get("Range") for _, headers in server.asked] == [None, f"bytes={HALF}-"]
    assert server.asked[1][1]["If-Range"] == '"v1"'


def test_a_later_call_goes_on_too(server, target):
    with pytest.raises(DownloadError):
        get(server, target, cut(BODY, HALF))
    server.asked.clear()
    get(server, target, ranged(BODY))
    assert [headers.get("Range") for _, headers in server.asked] == [f"bytes={HALF}-"]
    assert target.read_bytes() == BODY


def test_a_server_that_ignores_ranges_starts_again(server, target):
    get(server, target, in_turn(cut(BODY, HALF), good(BODY)))
    assert server.asked[1][1]["Range"]
    assert target.read_bytes() == BODY


def test_a_file_that_changed_meanwhile_is_not_patched_together(server, target):
    other = bytes(len(BODY))
    get(server, target, in_turn(cut(other, HALF), ranged(BODY, etag='"v2"')))
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("etag", ['W/"v1"', ""])
def test_without_a_strong_validator_nothing_is_resumed(server, target, etag):
    headers = {"ETag": etag} if etag else {}
    get(server, target, in_turn(good(BODY[:HALF], length=len(BODY), **headers), ranged(BODY)))
    assert [headers.get("Range") for _, headers in server.asked] == [None, None]
    assert target.read_bytes() == BODY


def test_another_range_than_the_one_wanted_is_refused(server, target):
    shifted = good(BODY[HALF:], status=206, Content_Range=f"bytes 0-{HALF - 1}/{len(BODY)}")
    with pytest.raises(DownloadError, match="another range"):
        get(server, target, in_turn(cut(BODY, HALF), shifted))
    assert not target.exists()


@pytest.mark.parametrize("refusal", ["416", "another range"])
def test_a_server_that_cannot_go_on_is_asked_for_the_whole_file(server, target, refusal):
    def route(handler):
        if "Range" not in handler.headers:
            return handler.answer(BODY, ETag='"v1"')
        if refusal == "416":
            return handler.send_error(416)
        return handler.answer(BODY[:9], status=206, Content_Range=f"bytes 0-8/{len(BODY)}")

    get(server, target, in_turn(cut(BODY, HALF), route))
    assert target.read_bytes() == BODY
    assert left(target) == [target.name]


def test_attempts_that_get_further_are_not_counted(server, target):
    def a_little_more(handler):
        start = int(handler.headers.get("Range", "bytes=0-")[6:-1])
        place = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        end = start + len(BODY) // 8
        status = {"status": 206, "Content_Range": place} if start else {}
        handler.answer(BODY[start:end], length=len(BODY) - start, ETag='"v1"', **status)

    get(server, target, a_little_more)
    assert target.read_bytes() == BODY
    assert len(server.asked) > module.ATTEMPTS


@pytest.mark.parametrize("note", ['{"validator": 3, "total": "x"}', "[]", "{", '{"validator": "v", "total": 5}'])
def test_a_damaged_note_means_a_new_start(server, target, note):
    part = target.with_name(f".weights.pth.{hashlib.sha256(server.url('/weights.pth').encode()).hexdigest()[:10]}.part")
    part.write_bytes(b"nonsense")
    part.with_name(part.name + ".json").write_text(note)
    get(server, target, ranged(BODY))
    assert target.read_bytes() == BODY
    assert left(target) == ["weights.pth"]


def test_a_part_that_is_complete_is_checked_and_not_fetched_again(server, target, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(module, "write_json", _plain_write_json)
        with pytest.raises(KeyboardInterrupt):
            get(server, target, ranged(BODY))
    assert not target.exists()
    server.asked.clear()
    get(server, target, ranged(BODY))
    assert (target.read_bytes(), server.asked) == (BODY, [])


def _plain_write_json(path, values):
    path.write_text(json.dumps(values))


def test_a_full_disk_is_told_before_the_download(server, target, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(DownloadError, match="0 MB are to come and 0 MB are free"):
        get(server, target, good(BODY))
    assert not target.exists()


def test_a_disk_that_fills_up_is_told_with_the_way_out(server, target, monkeypatch):
    part = hashlib.sha256(server.url("/weights.pth").encode()).hexdigest()[:10]
    opened = open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, chunk):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def open_(path, mode="r", *args, **options):
        file = opened(path, mode, *args, **options)
        return Full(file) if mode == "ab" and part in str(path) else file

    monkeypatch.setattr(module, "open", open_, raising=False)
    with pytest.raises(DownloadError, match=r"cannot be written \(No space left on device\).*ZOO_CACHE"):
        get(server, target, good(BODY))
    assert not target.exists()


def test_a_short_write_is_completed(server, target, monkeypatch):
    class Short:
        def __init__(self):
            self.bytes = b""

        def write(self, chunk):
            self.bytes += bytes(chunk[:3])
            return min(3, len(chunk))

    file = Short()
    module._write(file, b"0123456789", target)
    assert file.bytes == b"0123456789"


def test_nobody_there_is_unreachable(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/weights.pth"
        with pytest.raises(DownloadError, match="not reachable") as caught:
            download(url, target, check=check, rules=RULES)
    assert caught.value.unreachable


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.pth",
        "data:,x",
        "weights.pth",
        "",
        "http://",
        "http://[::1/a",
        "http://localhost/a.pth",
        "http://a.localhost./a.pth",
        "http://127.0.0.1/a.pth",
        "http://127.1/a.pth",
        "http://2130706433/a.pth",
        "http://0x7f.1/a.pth",
        "http://[::1]/a.pth",
        "http://[fe80::1%25eth0]/a.pth",
        "https://192.168.1.2/a.pth",
        "http://169.254.169.254/latest",
    ],
)
def test_addresses_that_are_not_of_the_public_web_are_refused(url, target):
    with pytest.raises(DownloadError, match=r"not an http|private network"):
        download(url, target, check=check, rules=Rules(progress=False))


def test_addresses_of_the_public_web_are_accepted():
    for url in ("https://dl.fbaipublicfiles.com/a.pth", "http://8.8.8.8/a.pth", "https://example.org:8443/a.pth"):
        check_address(url)


def test_the_bar_goes_to_standard_error_only(server, target, capsys):
    get(server, target, good(BODY), rules=Rules(allow_loopback=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert "weights.pth" in err
