import json

import pytest

from benchmarks.data_tools import journal as module
from benchmarks.data_tools.journal import Journal, read_journal
from benchmarks.data_tools.options import DataError

HEAD = {"kind": "test", "root": "/a"}


def test_what_was_written_is_there_again(tmp_path):
    path = tmp_path / "new" / "a.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"path": "ü\n\udcff", "n": 1})
        journal.append({"path": "b"})
    with Journal(path, HEAD) as journal:
        assert journal.entries == [{"path": "ü\n\udcff", "n": 1}, {"path": "b"}]
        assert journal.torn == 0
    assert len(path.read_bytes().splitlines()) == 3
    assert read_journal(path, "test") == (HEAD, journal.entries)


def test_a_torn_line_is_passed_over_and_swallows_nothing(tmp_path):
    path = tmp_path / "a.jsonl"
    with Journal(path, HEAD) as journal:
        journal.append({"path": "a"})
        journal.append({"path": "b"})
    path.write_bytes(path.read_bytes()[:-4])
    with Journal(path, HEAD) as journal:
        assert journal.entries == [{"path": "a"}]
        assert journal.torn == 1
        journal.append({"path": "c"})
    with Journal(path, HEAD) as journal:
        assert journal.entries == [{"path": "a"}, {"path": "c"}]


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("my notes\n", "was not written by test; choose another --out"),
        ('{"kind": "other"}\n', "was not written by test"),
        ('{"kind": "test", "root": "/b"}\n', "has root '/b', not '/a'"),
    ],
)
def test_a_file_that_is_something_else_is_left_alone(tmp_path, content, hint):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=hint):
        Journal(path, HEAD)
    assert path.read_text() == content


def test_reading_what_is_no_journal_is_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_journal(tmp_path / "none", "test")
    (tmp_path / "a").write_text(json.dumps(["no object"]))
    with pytest.raises(DataError, match="was not written by test"):
        read_journal(tmp_path / "a", "test")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*file/a.jsonl.*choose another --out"):
        Journal(tmp_path / "file" / "a.jsonl", HEAD)


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    with Journal(tmp_path / "a.jsonl", HEAD) as journal:
        monkeypatch.setattr(module.os, "write", lambda handle, line: len(line) - 1)
        with pytest.raises(DataError, match="no space left"):
            journal.append({})
