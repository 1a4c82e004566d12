"""Which file of a card is the trusted one."""

import hashlib
import json
import logging
import os
import re

import pytest

from zoo import weight_cache
from zoo.card import Source, Weights
from zoo.weight_cache import digests, expected, mismatch, read_record, remember
from zoo.weight_files import CheckpointError

NAME = "vit_pico.toy"
SHA = hashlib.sha256(b"weights").hexdigest()
MD5 = hashlib.md5(b"weights").hexdigest()  # noqa: S324 - what authors print


def weights(**options):
    return Weights(sources=(Source(url="https://example.org/a.pth"),), **options)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    return path


def test_digests_are_those_of_the_bytes_on_disk_and_follow_changes(file):
    assert digests(file) == (SHA, MD5)
    file.write_bytes(b"weightz")
    os.utime(file, ns=(1, 1))
    assert digests(file).sha256 == hashlib.sha256(b"weightz").hexdigest()


def test_a_renamed_file_is_not_read_again(file, tmp_path, monkeypatch):
    digests(file)
    monkeypatch.setattr(weight_cache.hashlib, "sha256", None)
    assert digests(file.rename(tmp_path / "b.pth")) == (SHA, MD5)


def test_nothing_is_expected_of_a_file_that_nobody_knows(file, tmp_path):
    wanted = expected(weights(), NAME, tmp_path)
    assert (wanted.sha256, wanted.md5_prefix) == ("", "")
    assert mismatch(file, wanted) == ""


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sha256": SHA.upper()}, ""),
        ({"md5_prefix": MD5[:8].upper()}, ""),
        ({"sha256": "0" * 64}, f"its sha256 is {SHA}, and the card says {'0' * 64}"),
        ({"md5_prefix": "00"}, "its MD5 is .*, and the authors say 00"),
    ],
)
def test_pins_of_the_card_are_compared(file, tmp_path, options, reason):
    found = mismatch(file, expected(weights(**options), NAME, tmp_path))
    assert bool(found) == bool(reason)
    assert re.fullmatch(f"{reason}.*", found)


def test_the_first_trusted_file_is_recorded_and_another_one_is_refused(file, tmp_path):
    remember(NAME, file, cache=tmp_path)
    assert read_record(NAME, tmp_path) == {"sha256": SHA, "size": 7, "file": "a.pth"}
    remember(NAME, file, cache=tmp_path)
    assert mismatch(file, expected(weights(), NAME, tmp_path)) == ""
    other = tmp_path / "b.pth"
    other.write_bytes(b"other")
    assert "verified.json says" in mismatch(other, expected(weights(), NAME, tmp_path))
    with pytest.raises(CheckpointError, match=r"b\.pth.*verified\.json says"):
        remember(NAME, other, cache=tmp_path)
    assert read_record(NAME, tmp_path)["sha256"] == SHA


def test_a_record_that_contradicts_the_card_is_named(file, tmp_path):
    remember(NAME, file, cache=tmp_path)
    with pytest.raises(CheckpointError, match=r"verified\.json.*the card of vit_pico\.toy says 000"):
        expected(weights(sha256="0" * 64), NAME, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 3}', '{"sha256": "abc"}', "[" * 10_000])
def test_a_damaged_record_is_named_and_not_ignored(tmp_path, text):
    path = tmp_path / "weights" / NAME / "verified.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"verified\.json"):
        expected(weights(), NAME, tmp_path)


def test_a_cache_that_cannot_be_written_is_no_reason_to_refuse_weights(file, tmp_path, caplog):
    (tmp_path / "weights").write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        remember(NAME, file, cache=tmp_path)
    assert "is not recorded" in caplog.text


def test_a_record_is_whole_or_absent(file, tmp_path, monkeypatch):
    monkeypatch.setattr(json, "dump", lambda values, file, **_: (file.write('{"sha'), 1 / 0))
    with pytest.raises(ZeroDivisionError):
        remember(NAME, file, cache=tmp_path)
    assert list((tmp_path / "weights" / NAME).iterdir()) == []
