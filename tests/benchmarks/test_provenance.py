import subprocess
import sys
from datetime import datetime, timedelta, timezone
from importlib import metadata

from benchmarks.provenance import commit, installed, now, provenance


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_commit_is_marked_when_tracked_files_differ(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "--short=12", "HEAD").strip()
    assert commit(tmp_path) == head
    (tmp_path / "b").write_text("untracked")
    assert commit(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert commit(tmp_path) == f"{head}+changes"


def test_outside_a_checkout_there_is_no_commit(tmp_path):
    assert commit(tmp_path) == ""


def test_missing_packages_are_left_out_of_the_versions():
    assert installed(("torch", "no-such-package")) == {"torch": metadata.version("torch")}


def test_the_command_is_quoted_so_that_it_can_be_pasted(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/zoo", "compare", "a b", "--out", "x"])
    told = provenance(threads=1)
    assert told.command == "zoo compare 'a b' --out x"
    assert "1 thread per run" in told.device
    assert told.versions["python"].startswith("3.")


def test_times_are_in_utc():
    age = datetime.now(timezone.utc) - datetime.fromisoformat(now())
    assert timedelta(seconds=-1) < age < timedelta(seconds=5)
