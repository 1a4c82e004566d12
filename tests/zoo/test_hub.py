"""The hub's answers in our words."""

import hashlib

import huggingface_hub
import pytest
from huggingface_hub import errors

from zoo import hub
from zoo.card import Source
from zoo.download import DownloadError

SOURCE = Source(hf_repo="OpenGVLab/VideoMamba", hf_file="a.pth", hf_revision="abc")


def answer(error_type):
    """An error of the hub without the request that it usually comes with."""
    return error_type.__new__(error_type, "first line\nsecond line")


@pytest.mark.parametrize(
    ("error_type", "reason", "unreachable"),
    [
        (errors.GatedRepoError, "gated: accept its terms at https://huggingface.co/OpenGVLab/VideoMamba", False),
        (errors.RepositoryNotFoundError, "no such repository, or it is private", False),
        (errors.RevisionNotFoundError, "no revision 'abc'", False),
        (errors.EntryNotFoundError, r"no file 'a\.pth' at 'abc'", False),
        (errors.LocalEntryNotFoundError, "not reachable", True),
        (errors.HfHubHTTPError, "^HfHubHTTPError$", False),
        (ConnectionError, "ConnectionError: first line$", True),
    ],
)
def test_every_error_of_the_hub_says_what_to_do(monkeypatch, error_type, reason, unreachable):
    def download(*_, **__):
        raise answer(error_type)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(DownloadError, match=reason) as caught:
        hub.hub_file(SOURCE)
    assert caught.value.unreachable == unreachable


def test_repository_file_and_revision_are_asked_for(monkeypatch, tmp_path):
    asked = []

    def download(repo, file, *, revision):
        asked.append((repo, file, revision))
        return str(tmp_path / "a.pth")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub.hub_file(SOURCE) == tmp_path / "a.pth"
    assert asked == [("OpenGVLab/VideoMamba", "a.pth", "abc")]


def test_ctrl_c_is_not_an_error_of_the_hub(monkeypatch):
    def download(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(KeyboardInterrupt):
        hub.hub_file(SOURCE)


def in_hub_cache(folder, body, name=""):
    """A file as the hub's cache keeps it."""
    repo = folder / "models--OpenGVLab--VideoMamba"
    blob = repo / "blobs" / (name or hashlib.sha256(body).hexdigest())
    link = repo / "snapshots" / ("0" * 40) / "a.pth"
    for path in (blob, link, repo / "refs" / "abc"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(body)
    link.symlink_to(blob)
    (repo / "refs" / "abc").write_text("0" * 40)
    return link


def test_the_cache_is_looked_up_without_the_network(monkeypatch, tmp_path):
    link = in_hub_cache(tmp_path, b"weights")
    looked = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda *a, revision: looked(*a, revision=revision, cache_dir=tmp_path),
    )
    assert hub.cached_hub_file(SOURCE) == link
    assert hub.cached_hub_file(SOURCE._replace(hf_file="b.pth")) is None


def test_large_files_are_named_by_their_hash_and_small_ones_are_not(tmp_path):
    sha = hashlib.sha256(b"weights").hexdigest()
    assert hub.sha256_of_blob(in_hub_cache(tmp_path / "large", b"weights")) == sha
    assert hub.sha256_of_blob(in_hub_cache(tmp_path / "small", b"weights", "a" * 40)) == ""
