"""Items that hang or kill their process are blamed; all others are answered."""

import io
import os
import signal
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from rich.console import Console

import tests.benchmarks.data_tools.videos  # noqa: F401 - one server of processes for all tests
from benchmarks.data_tools import pool
from benchmarks.data_tools.pool import each, shown


def behave(item):
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "exit":
        os._exit(3)
    if item == "hang":
        time.sleep(60)
    if item == "raise":
        raise ValueError("no good")
    return item * 2


def wait_for_the_end(folder):
    """Leaves a file behind unless `finally` is run."""
    mark = f"{folder}/mark"
    try:
        with open(mark, "w"):
            time.sleep(60)
    finally:
        os.unlink(mark)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(pool, "GRACE_S", 0.5)


def test_what_hangs_or_kills_its_process_is_blamed_and_the_rest_goes_on():
    items = ["a", "die", "b", "hang", "c", "raise", "exit", "d"]
    answers = {it.item: it for it in each(behave, items, jobs=2, limit_s=lambda item: 0.3 if item == "hang" else 60.0)}
    assert sorted(answers) == sorted(items)
    assert {item: answers[item].made for item in "abcd"} == {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
    assert answers["die"].lost == "it killed the process that read it: SIGKILL (out of memory?)"
    assert answers["exit"].lost == "it ended the process that read it, with exit code 3"
    assert answers["hang"].lost == "not done within the limit of 0.3 s; its process was ended"
    assert answers["raise"].lost == "ValueError: no good"


def test_leaving_early_ends_the_processes_and_lets_them_tidy_up(tmp_path):
    answers = each(wait_for_the_end, ["x", str(tmp_path)], jobs=2, limit_s=lambda item: 60.0)
    with closing(answers):
        assert next(answers).item == "x"  # there is no such folder
        until = time.monotonic() + 20
        while not (tmp_path / "mark").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert (tmp_path / "mark").exists()
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


def test_no_items_start_no_process(monkeypatch):
    monkeypatch.setattr(pool, "_Worker", None)
    assert list(each(behave, [], jobs=2, limit_s=lambda item: 1.0)) == []


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(pool, "PLAIN_EVERY_S", -1.0)
    text = io.StringIO()
    answers = (pool.Answer(item, item) for item in "abc")
    assert len(list(shown(answers, total=5, done=2, words="doing", console=Console(file=text)))) == 3
    assert text.getvalue().splitlines()[0].startswith("doing: 3 of 5, about ")


def test_on_a_terminal_there_is_a_bar():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    list(shown((pool.Answer(item, item) for item in "ab"), total=2, done=0, words="doing", console=console))
    assert "doing" in text.getvalue()


def test_a_pause_of_the_machine_is_not_the_fault_of_the_item(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    worker = object.__new__(pool._Worker)
    worker.pipe = SimpleNamespace(poll=lambda: False, send=lambda item: None)
    worker.start("x", 60.0)
    now = 3600.0
    assert worker.hear() is None
    answers = []
    while not answers or answers[-1] is None:
        now += 1.0
        answers.append(worker.hear())
    assert "not done within the limit of 60 s" in answers[-1].lost
    assert len(answers) == int(60 + pool.GRACE_S) - 10 + 1  # the pause counted as ten seconds
