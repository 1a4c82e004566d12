"""Nothing half-written, wrong or foreign is ever handed out as the file of a card."""

import hashlib
import io
import logging
import multiprocessing
import os
import pickle
import signal
import time

import pytest
import torch

from tests.zoo.loopback import cut, good, in_turn, ranged, redirecting, serving, stalling
from tests.zoo.test_hub import in_hub_cache
from zoo import download as downloads
from zoo import fetch as module
from zoo.card import Card, ClipSpec, Source, Weights
from zoo.download import DownloadError
from zoo.fetch import FetchError, direct_url, fetch, file_name, find
from zoo.weight_cache import remember
from zoo.weight_files import CheckpointError

NAME = "vit_pico.toy"


def torch_bytes(value):
    buffer = io.BytesIO()
    torch.save({"weight": torch.full((50_000,), float(value))}, buffer)
    return buffer.getvalue()


BODY, OTHER = torch_bytes(1), torch_bytes(2)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "PAUSE_S", 0.001)
    for name in ("HF_HUB_OFFLINE", "ZOO_OFFLINE", "ZOO_WEIGHTS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "cached_hub_file", lambda source: None)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    with serving() as server:
        yield server


def weights(server, *paths, **options):
    return Weights(sources=tuple(Source(url=server.url(path)) for path in paths or ("/a.pth",)), **options)


def get(wanted, **options):
    return fetch(wanted, NAME, progress=False, allow_loopback=True, timeout_s=0.5, **options)


def files(folder):
    return sorted(it.name for it in folder.rglob("*") if it.is_file() and not it.name.endswith(".lock"))


def test_a_file_is_downloaded_once_and_then_found(server, cache):
    server.routes["/a.pth"] = good(BODY)
    path = get(weights(server))
    assert path == cache / "weights" / NAME / "a.pth"
    assert path.read_bytes() == BODY
    assert get(weights(server)) == path
    assert len(server.asked) == 1
    assert files(cache) == ["a.pth"]


def test_another_cache_can_be_named(server, tmp_path):
    server.routes["/a.pth"] = good(BODY)
    assert get(weights(server), cache=tmp_path / "mine").is_relative_to(tmp_path / "mine")


@pytest.mark.parametrize(
    "first",
    [
        cut(BODY, 1000),
        good(OTHER),
        good(b"<!DOCTYPE html><p>Sign in"),
        good(b""),
        good(b"version https://git-lfs.github.com/spec/v1\n"),
        redirecting("file:///etc/passwd"),
        lambda handler: handler.send_error(404),
    ],
    ids=["cut", "other", "html", "empty", "lfs", "redirect", "404"],
)
def test_a_source_that_fails_makes_way_for_the_next(server, cache, first):
    server.routes.update({"/a.pth": first, "/mirror/a.pth": good(BODY)})
    assert get(weights(server, "/a.pth", "/mirror/a.pth", sha256=SHA)).read_bytes() == BODY


def test_when_all_sources_fail_each_is_named_with_what_it_said(server, cache):
    server.routes.update({"/a.pth": lambda handler: handler.send_error(404), "/mirror/a.pth": good(OTHER)})
    with pytest.raises(FetchError) as caught:
        get(weights(server, "/a.pth", "/mirror/a.pth", sha256=SHA))
    text = str(caught.value)
    assert f"cannot get the weights {NAME!r}" in text
    assert f"{server.url('/a.pth')}: the server answers 404 Not Found" in text
    assert (
        f"{server.url('/mirror/a.pth')}: another file came: its sha256 is {hashlib.sha256(OTHER).hexdigest()}" in text
    )
    assert "Download 'a.pth' by hand and put it into the folder" in text
    assert not caught.value.unreachable
    assert files(cache) == []
    assert str(pickle.loads(pickle.dumps(caught.value))) == text  # noqa: S301 - made a line above


def test_without_a_server_it_says_that_nobody_was_reached(server, cache):
    server.shutdown()
    server.server_close()
    with pytest.raises(FetchError, match="not reachable") as caught:
        get(weights(server))
    assert caught.value.unreachable


def test_servers_on_this_machine_need_to_be_asked_for(server):
    server.routes["/a.pth"] = good(BODY)
    with pytest.raises(FetchError, match="this machine or a private network"):
        fetch(weights(server), NAME, progress=False)
    assert server.asked == []


def test_a_card_without_sources_is_told(cache):
    with pytest.raises(FetchError, match=r"names no source(?s:.*)'vit_pico\.toy\.pth' by hand") as caught:
        get(Weights(sources=()))
    assert not caught.value.unreachable


def test_a_download_must_be_the_file_that_was_trusted_before(server, cache):
    server.routes["/a.pth"] = in_turn(good(BODY), good(OTHER))
    path = get(weights(server))
    remember(NAME, path)
    path.unlink()
    with pytest.raises(FetchError, match=rf"another file came.*verified\.json says {SHA}"):
        get(weights(server))
    assert not path.exists()


def test_a_download_must_have_the_authors_md5(server):
    server.routes["/a.pth"] = good(BODY)
    with pytest.raises(FetchError, match="the authors say 0000"):
        get(weights(server, md5_prefix="0000"))


@pytest.mark.parametrize("pinned", [True, False])
def test_a_cached_file_that_has_changed_is_refused_by_name_and_left_alone(server, pinned):
    server.routes["/a.pth"] = good(BODY)
    wanted = weights(server, sha256=SHA if pinned else None)
    path = get(wanted)
    remember(NAME, path)
    damaged = bytearray(BODY)
    damaged[len(BODY) // 2] ^= 1
    path.write_bytes(damaged)
    os.utime(path, ns=(1, 1))
    with pytest.raises(FetchError, match=r"a\.pth' is refused: its sha256 is"):
        get(wanted)
    assert path.read_bytes() == damaged
    assert len(server.asked) == 1


def test_parts_of_a_download_are_never_handed_out(server, cache):
    server.routes["/a.pth"] = cut(BODY, len(BODY) // 2)
    with pytest.raises(FetchError, match="the connection broke"):
        get(weights(server))
    assert [it.endswith((".part", ".part.json")) for it in files(cache)] == [True, True]
    assert find(weights(server), NAME) is None
    with pytest.raises(FetchError):
        get(weights(server), local=cache / "weights" / NAME)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "ZOO_OFFLINE"])
def test_offline_means_the_cache_or_a_clear_error(server, monkeypatch, variable):
    server.routes["/a.pth"] = good(BODY)
    monkeypatch.setenv(variable, "true")
    with pytest.raises(FetchError, match=rf"{variable}=true forbids(?s:.*){server.url('/a.pth')}") as caught:
        get(weights(server))
    assert (server.asked, caught.value.unreachable) == ([], True)
    monkeypatch.setenv(variable, "0")
    path = get(weights(server))
    monkeypatch.setenv(variable, "1")
    assert get(weights(server)) == path
    assert len(server.asked) == 1


def test_a_read_only_cache_is_told_with_the_way_out_and_read_nevertheless(server, cache, monkeypatch):
    server.routes["/a.pth"] = good(BODY)
    path = get(weights(server))
    (cache / "weights" / NAME / ".a.pth.lock").unlink(missing_ok=True)

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    # Permission bits do not stop root, under whom tests may run.
    monkeypatch.setattr(module, "_alone", closed)
    assert get(weights(server)) == path
    path.unlink()
    with pytest.raises(FetchError, match=r"cannot be written \(Permission denied\).*ZOO_CACHE"):
        get(weights(server))


def test_a_file_where_the_cache_should_be_is_told(server, cache):
    cache.write_text("")
    with pytest.raises(FetchError, match="cannot be written"):
        get(weights(server))


def test_a_local_file_takes_the_place_of_every_source(server, tmp_path):
    path = tmp_path / "mine.pth"
    path.write_bytes(BODY)
    assert get(weights(server, sha256=SHA), local=path) == path
    assert server.asked == []
    with pytest.raises(FetchError, match=r"mine\.pth' is refused.*the card says 000"):
        get(weights(server, sha256="0" * 64), local=path)
    path.write_text("<html>")
    with pytest.raises(CheckpointError, match=r"mine\.pth.*web page"):
        get(weights(server), local=path)
    with pytest.raises(CheckpointError, match=r"none\.pth.*no such file"):
        get(weights(server), local=tmp_path / "none.pth")


@pytest.mark.parametrize("place", ["a.pth", f"{NAME}/a.pth", f"{NAME}.pth", f"{NAME}.safetensors"])
@pytest.mark.parametrize("by_variable", [True, False])
def test_a_folder_is_searched_for_the_file(server, tmp_path, monkeypatch, place, by_variable):
    path = tmp_path / "downloads" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    if by_variable:
        monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "downloads"))
    assert get(weights(server), local=None if by_variable else tmp_path / "downloads") == path
    assert server.asked == []


def test_a_named_folder_without_the_file_is_an_error_and_a_searched_one_is_not(server, tmp_path, monkeypatch):
    server.routes["/a.pth"] = good(BODY)
    with pytest.raises(FetchError, match=rf"has none of {NAME}/a\.pth, a\.pth, {NAME}\.pth, {NAME}\.safet"):
        get(weights(server, "/a.pth", "/mirror/a.pth"), local=tmp_path)
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    assert get(weights(server)).read_bytes() == BODY
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(FetchError, match=r"ZOO_WEIGHTS names .*no folder"):
        get(weights(server))


def test_a_file_name_that_two_cards_share_needs_the_folder_of_its_card(server, tmp_path, monkeypatch):
    def card(tag, path):
        return Card(
            architecture="vit_pico",
            tag=tag,
            weights=weights(server, path),
            clip=ClipSpec(num_frames=8, sampling="uniform", img_size=32),
        )

    monkeypatch.setattr("zoo.cards.CARDS", (card("toy", "/large/a.pth"), card("other", "/huge/a.pth")))
    server.routes["/large/a.pth"] = good(BODY)
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))
    (tmp_path / "a.pth").write_bytes(OTHER)
    assert get(weights(server, "/large/a.pth")).read_bytes() == BODY
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "a.pth").write_bytes(OTHER)
    assert get(weights(server, "/large/a.pth")).read_bytes() == OTHER


HUB = Weights(sources=(Source(hf_repo="a/b", hf_file="sub/model.safetensors", hf_revision="v1"),))


def test_files_of_the_hub_are_checked_like_all_others(server, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(BODY)
    monkeypatch.setattr(module, "hub_file", lambda source: path)
    assert get(HUB) == path
    path.write_text("<html>")
    with pytest.raises(FetchError, match=r"hf:a/b/sub/model\.safetensors@v1: it is a web page"):
        get(HUB)


def test_when_the_hub_fails_the_url_is_asked(server, monkeypatch, caplog):
    def refuse(source):
        raise DownloadError("the repository is gated")

    monkeypatch.setattr(module, "hub_file", refuse)
    server.routes["/a.pth"] = good(BODY)
    with caplog.at_level(logging.WARNING):
        assert get(Weights(sources=(*HUB.sources, Source(url=server.url("/a.pth"))))).read_bytes() == BODY
    assert "gated" in caplog.text


def test_the_hubs_cache_is_used_and_a_damaged_blob_refused(tmp_path, monkeypatch):
    link = in_hub_cache(tmp_path, BODY)
    monkeypatch.setattr(module, "cached_hub_file", lambda source: link)
    assert get(HUB) == link
    damaged = in_hub_cache(tmp_path / "other", OTHER, SHA)
    monkeypatch.setattr(module, "cached_hub_file", lambda source: damaged)
    with pytest.raises(FetchError, match=f"is refused: .*the Hugging Face hub says {SHA}"):
        get(HUB)


def test_a_blob_that_came_damaged_from_the_hub_makes_way_for_the_url(server, tmp_path, monkeypatch):
    damaged = in_hub_cache(tmp_path, OTHER, SHA)
    monkeypatch.setattr(module, "hub_file", lambda source: damaged)
    with pytest.raises(FetchError, match=f"is damaged: .*the Hugging Face hub says {SHA}"):
        get(HUB)
    server.routes["/a.pth"] = good(BODY)
    assert get(Weights(sources=(*HUB.sources, Source(url=server.url("/a.pth"))))).read_bytes() == BODY


def test_a_server_that_does_not_say_the_length_needs_a_known_hash(server):
    def chunked(handler):
        handler.answer(BODY, length="none", Connection="close")

    server.routes["/a.pth"] = chunked
    with pytest.raises(FetchError, match="does not say how long the file is"):
        get(weights(server, "/a.pth"))
    assert get(weights(server, "/a.pth", sha256=SHA)).read_bytes() == BODY


@pytest.mark.parametrize(
    "url",
    [
        "https://drive.google.com/file/d/1AbC_d-E/view?usp=sharing",
        "https://drive.google.com/open?id=1AbC_d-E",
        "https://drive.google.com/uc?export=download&id=1AbC_d-E",
    ],
)
def test_links_to_google_drive_become_direct_ones(url):
    assert direct_url(url).startswith("https://drive.usercontent.google.com/download?id=1AbC_d-E&")
    assert file_name(Source(url=url), NAME) == f"{NAME}.pth"


def test_google_drives_page_is_answered_with_what_to_do(server, monkeypatch):
    server.routes["/page"] = good(b"<html>Google Drive can't scan this file for viruses", Content_Type="text/html")
    monkeypatch.setattr(module, "direct_url", lambda url: server.url("/page"))
    with pytest.raises(FetchError, match=r"web page.*download it with a browser(?s:.*)'vit_pico\.toy\.pth' by hand"):
        get(Weights(sources=(Source(url="https://drive.google.com/file/d/1AbC/view"),)))


def test_names_of_files_come_from_the_source_and_never_lead_away():
    assert file_name(Source(url="https://a.org/x/b%20c.pth?download=1"), NAME) == "b c.pth"
    assert file_name(Source(url="https://a.org/"), NAME) == f"{NAME}.pth"
    assert file_name(Source(url="https://a.org/..%2f..%2fetc%2fpasswd"), NAME) == "passwd"
    assert file_name(HUB.sources[0], NAME) == "model.safetensors"


FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
PROCESSES = multiprocessing.get_context("fork")


def client(url, answers):
    """Another process that wants the same file."""
    path = get(Weights(sources=(Source(url=url),)))
    answers.put((os.getpid(), hashlib.sha256(path.read_bytes()).hexdigest()))


def slowly(body):
    def route(handler):
        handler.answer(body[:1000], length=len(body), ETag='"v1"')
        time.sleep(0.2)
        handler.wfile.write(body[1000:])

    return route


@FORKS
def test_two_processes_at_once_download_once_and_both_get_the_file(server):
    server.routes["/a.pth"] = slowly(BODY)
    answers = PROCESSES.Queue()
    clients = [PROCESSES.Process(target=client, args=(server.url("/a.pth"), answers)) for _ in range(2)]
    for process in clients:
        process.start()
    found = [answers.get(timeout=20) for _ in clients]
    for process in clients:
        process.join(20)
    assert {digest for _, digest in found} == {SHA}
    assert len({pid for pid, _ in found}) == 2
    assert len(server.asked) == 1


@FORKS
@pytest.mark.parametrize("resumes", [True, False])
def test_a_client_killed_in_the_middle_leaves_nothing_that_is_loaded(server, cache, resumes):
    half = len(BODY) // 2
    server.routes["/a.pth"] = in_turn(stalling(BODY, half), ranged(BODY) if resumes else good(BODY))
    process = PROCESSES.Process(target=client, args=(server.url("/a.pth"), PROCESSES.Queue()))
    process.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not any(it.stat().st_size == half for it in cache.rglob("*.part")):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert find(weights(server), NAME) is None
    with pytest.raises(FetchError):
        get(weights(server), local=cache / "weights" / NAME)
    # The lock of the dead does not hold anybody up, and what it left is either used or written over.
    assert get(weights(server)).read_bytes() == BODY
    assert server.asked[-1][1]["Range"] == f"bytes={half}-"
    assert files(cache) == ["a.pth"]
